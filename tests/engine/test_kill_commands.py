"""kill -9 of an engine whose command has started daemons: they are gone when it is told so."""

import sys
from pathlib import Path
from shlex import join

import pytest
import trio

from tests.engine.agents import eventually
from tests.engine.kill_child import config
from tests.engine.killing import start_child
from tests.engine.kit import of, shell, until
from turnlog.protocol.events import CallSettled
from turnlog.protocol.ids import SessionId
from turnlog.protocol.settings import SandboxMode
from turnlog.runtime.assembly import open_assembly
from turnlog.runtime.processes.family import read_processes
from turnlog.runtime.scripted_model.script import Response, Script, message
from turnlog.runtime.scripted_model.server import serve_script

# A daemon that writes for ever, without environment and output, in a session of its own.
DAEMON = """
import os, sys, time
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
null = os.open("/dev/null", os.O_RDWR)
for number in range(3):
    os.dup2(null, number)
if "again" not in sys.argv:
    os.execve(sys.executable, ["python", __file__, "again"], {})
file = open("below/written", "a")
while True:
    file.write("x")
    file.flush()
    time.sleep(0.001)
"""
MODES: list[SandboxMode] = ["danger-full-access", "workspace-write"]


@pytest.mark.parametrize("sandbox", MODES)
async def test_a_daemon_writes_nothing_more_once_its_command_is_said_to_be_stopped(
    sandbox: SandboxMode, tmp_path: Path
) -> None:
    home, folder = tmp_path / "home", tmp_path / "work"
    written = folder / "below" / "written"
    written.parent.mkdir(parents=True)
    source = folder / "daemon.py"
    source.write_text(DAEMON)
    command = shell(f"{join([sys.executable, str(source)])}; sleep 600")
    script = Script([Response(items=[command]), Response(items=[message("done")])])
    async with serve_script(script) as server:
        name = await _kill_once_written(home, folder, server.base_url, sandbox, written)
        async with open_assembly(home=home, config=config(server.base_url, sandbox)) as assembly:
            session = await assembly.engine.resume(name)
            with trio.fail_after(60):
                await until(session, CallSettled, after=0)
            size = written.stat().st_size
            left = _running(str(source))
            records = await assembly.log.read(name, limit=10_000)
    assert (left, [event.outcome for event in of(CallSettled, records)]) == ([], ["stopped"])
    assert written.stat().st_size == size > 0


async def _kill_once_written(
    home: Path, folder: Path, url: str, sandbox: SandboxMode, written: Path
) -> SessionId:
    confined = [] if sandbox == "danger-full-access" else ["confined"]
    with start_child(home, folder, url, *confined) as process:
        try:
            async with process.output() as output:
                with trio.fail_after(60):
                    said = await output.receive_some()
                    await eventually(lambda: written.exists() and written.stat().st_size > 0)
        finally:
            process.kill()
    return SessionId(said.decode().partition("\n")[0])


def _running(argument: str) -> list[int]:
    """Return the pids of the processes with this argument."""
    word, found = argument.encode(), list[int]()
    for pid in read_processes():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if word in words:
            found.append(pid)
    return found
