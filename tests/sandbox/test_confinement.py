"""Confined commands, as real processes: what they cannot touch, and what still works."""

import os
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from pathlib import Path
from shlex import join
from typing import Literal

import attrs
import pytest
import trio

from tests.errors import raises_code
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import Unavailable
from turnlog.protocol.settings import SandboxPolicy
from turnlog.runtime.launcher import kin
from turnlog.runtime.processes.command import CommandResult, Running, run_command
from turnlog.runtime.processes.family import read_process, read_processes
from turnlog.runtime.processes.launch import attended
from turnlog.runtime.processes.spawner import Spawner
from turnlog.runtime.sandbox.confinement import (
    LIMITS,
    MECHANISMS,
    Confined,
    Confinement,
    Mechanism,
    Sandbox,
)
from turnlog.runtime.sandbox.layout import Kept

ENV = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
READ_ONLY = SandboxPolicy()
# The tests' folders are below /tmp.
WRITE = SandboxPolicy(mode="workspace-write", exclude_slash_tmp=True)
ONLINE = SandboxPolicy(mode="workspace-write", exclude_slash_tmp=True, network_access=True)
PLAIN = SandboxPolicy(mode="danger-full-access")


def why_not(mechanism: Mechanism) -> str:
    """Return why `mechanism` does not work on this machine; nothing if it does."""

    async def probe() -> str:
        async with Spawner() as spawner:
            try:
                await Sandbox(spawner, prefer=mechanism).probe()
            except Unavailable as error:
                return str(error)
            return ""

    return trio.run(probe)


REASONS: dict[Mechanism, str] = {mechanism: why_not(mechanism) for mechanism in MECHANISMS}
MARKS = {
    mechanism: pytest.mark.skipif(bool(reason), reason=reason)
    for mechanism, reason in REASONS.items()
}
ALL = [pytest.param(mechanism, marks=mark) for mechanism, mark in MARKS.items()]
MOUNTING = [each for each in ALL if each.values != ("landlock",)]
LANDLOCK = MARKS["landlock"]


@attrs.frozen
class Ground:
    """A workspace, a folder beside it, and a sandbox that hides the store."""

    spawner: Spawner
    sandbox: Sandbox
    workspace: Path
    outside: Path
    store: Path

    async def run(self, script: str, policy: SandboxPolicy) -> CommandResult:
        return await self.run_program(["bash", "-c", script], policy)

    async def run_program(
        self,
        argv: Sequence[str],
        policy: SandboxPolicy,
        *,
        cwd: Path | None = None,
        writable_extra: Sequence[str] = (),
        on_started: Callable[[Running], None] | None = None,
        on_output: Callable[[bytes], None] | None = None,
    ) -> CommandResult:
        folder = str(cwd or self.workspace)
        with trio.fail_after(240):  # the machine may be slow
            async with self.sandbox.confined(
                argv,
                cwd=folder,
                workspace=str(self.workspace),
                policy=policy,
                env=ENV,
                writable_extra=writable_extra,
            ) as command:
                return await run_command(
                    self.spawner,
                    command.line,
                    cwd=folder,
                    env=command.env,
                    on_started=on_started,
                    on_output=on_output,
                )


async def ground(prefer: Mechanism, tmp_path: Path) -> AsyncGenerator[Ground]:
    folders = [tmp_path / name for name in ("workspace", "outside", "store")]
    for folder in folders:
        folder.mkdir()
    workspace, outside, store = folders
    (outside / "file").write_text("kept")
    (store / "log").write_text("secret")
    (workspace / "top").write_text("old")
    (workspace / "below").mkdir()
    async with Spawner() as spawner:
        sandbox = Sandbox(spawner, Kept(hidden=(str(store),)), prefer)
        yield Ground(spawner, sandbox, workspace, outside, store)


@pytest.fixture(params=ALL)
async def confined(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Ground]:
    async for each in ground(request.param, tmp_path):
        yield each


@pytest.fixture(params=MOUNTING)
async def mounted(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Ground]:
    async for each in ground(request.param, tmp_path):
        yield each


@pytest.fixture
async def landlocked(tmp_path: Path) -> AsyncGenerator[Ground]:
    async for each in ground("landlock", tmp_path):
        yield each


async def test_a_read_only_command_reads_and_writes_nothing(confined: Ground) -> None:
    result = await confined.run("cat ../outside/file; touch mine || echo no", READ_ONLY)
    assert result.output.startswith(b"kept")
    assert result.output.endswith(b"no\n")
    assert sorted(os.listdir(confined.workspace)) == ["below", "top"]


FILE_WORK = "mkdir a b && echo text > a/f && mv a/f b/g && rmdir a && ln b/g hard && cat b/g"


async def test_a_command_writes_in_the_workspace(confined: Ground) -> None:
    result = await confined.run(f"echo new > top && cd below && {FILE_WORK}; pwd", WRITE)
    said = f"text\n{confined.workspace}/below\n"
    assert (result.exit_code, result.output) == (0, said.encode())
    assert sorted(os.listdir(confined.workspace / "below")) == ["b", "hard"]
    assert (confined.workspace / "top").read_text() == "new\n"
    assert sorted(os.listdir(confined.workspace)) == ["below", "top"]


async def test_a_command_makes_files_in_the_workspace_where_there_are_mounts(
    mounted: Ground,
) -> None:
    result = await mounted.run(f"{FILE_WORK}; rm top", WRITE)
    assert result.exit_code == 0
    assert sorted(os.listdir(mounted.workspace)) == ["b", "below", "hard"]


OUTWARD = {
    "directly": "echo lost > ../outside/file",
    "by a new file": "touch ../outside/new",
    "by removing": "rm -f ../outside/file",
    "by moving out": "echo lost > below/f; mv below/f ../outside/file",
    "by moving in": "mv ../outside/file below/here",
    "by truncating": "truncate --size 0 ../outside/file",
    "through a symbolic link": "ln -s ../../outside/file below/link; echo lost > below/link",
    "through a linked folder": "ln -s ../../outside below/link; touch below/link/new",
    "through a hard link": "ln ../outside/file below/link && echo lost > below/link",
    "through another's root folder": f"echo lost > /proc/{os.getpid()}/root$PWD/../outside/file",
    "after a remount": "mount -o remount,rw,bind / ; mount -o remount,rw / ; touch ../outside/new",
    "in a namespace of its own": (
        "unshare --user --map-root-user --mount sh -c "
        "'mount -o remount,rw,bind /; umount -l /; touch ../outside/new'"
    ),
}


@pytest.mark.parametrize("script", OUTWARD.values(), ids=OUTWARD.keys())
@pytest.mark.parametrize("policy", [READ_ONLY, WRITE], ids=["read-only", "workspace-write"])
async def test_a_command_writes_nothing_outside(
    confined: Ground, policy: SandboxPolicy, script: str
) -> None:
    result = await confined.run(f"{{ {script}\n}} 2>&1", policy)
    assert result.exit_code != 0
    assert os.listdir(confined.outside) == ["file"]
    assert (confined.outside / "file").read_text() == "kept"


async def test_the_same_scripts_do_harm_when_nothing_confines_them(confined: Ground) -> None:
    await confined.run("ln ../outside/file link && echo lost > link", PLAIN)
    assert (confined.outside / "file").read_text() == "lost\n"


async def test_a_writable_root_and_an_extra_folder_are_writable(confined: Ground) -> None:
    policy = SandboxPolicy(
        mode="workspace-write",
        writable_roots=(str(confined.outside),),
        exclude_slash_tmp=True,
    )
    assert (await confined.run("echo new > ../outside/file", policy)).exit_code == 0
    extra = [str(confined.outside)]
    (confined.outside / "below").mkdir()
    made = ["touch", "../outside/below/made"]
    result = await confined.run_program(made, READ_ONLY, writable_extra=extra)
    assert result.exit_code == 0
    assert sorted(os.listdir(confined.outside / "below")) == ["made"]


async def test_the_folder_that_a_command_starts_in_is_not_opened_by_that(
    confined: Ground,
) -> None:
    made = ["touch", "made"]
    assert (await confined.run_program(made, WRITE, cwd=confined.outside)).exit_code == 1
    assert os.listdir(confined.outside) == ["file"]


async def test_the_store_can_be_neither_read_nor_written(confined: Ground) -> None:
    script = (
        "cat ../store/log; ln -s ../../store/log below/l; cat below/l; echo x > ../store/log; "
        "touch ../store/n"
    )
    result = await confined.run(script, WRITE)
    assert b"secret" not in result.output
    assert os.listdir(confined.store) == ["log"]
    assert (confined.store / "log").read_text() == "secret"


async def test_redirections_and_devices_work(confined: Ground) -> None:
    script = "echo gone > /dev/null; echo err > /dev/stderr; head -c 4 /dev/zero | wc -c; cat <<<in"
    result = await confined.run(script, READ_ONLY)
    assert (result.exit_code, result.output) == (0, b"err\n4\nin\n")


async def test_the_exit_code_is_the_commands(confined: Ground) -> None:
    codes = [
        (await confined.run(script, READ_ONLY)).exit_code
        for script in ("exit 3", "kill -9 $$", "no-such-program")
    ]
    assert codes == [3, 137, 127]


async def test_a_confined_command_leaves_no_process_to_be_reaped(confined: Ground) -> None:
    await confined.run("true", READ_ONLY)  # probes, too
    before = kin.children(os.getpid())
    for _ in range(8):
        await confined.run("true", READ_ONLY)
    assert kin.children(os.getpid()) == before


async def test_no_privilege_can_be_gained(confined: Ground) -> None:
    result = await confined.run("grep -E '^(NoNewPrivs|CapEff)' /proc/self/status", READ_ONLY)
    fields = dict(line.split(b":\t") for line in result.output.splitlines())
    assert fields[b"NoNewPrivs"] == b"1"
    kept = 0b1011011 if os.geteuid() == 0 else 0  # changing owners and modes of files, at most
    assert int(fields[b"CapEff"], 16) & ~kept == 0


async def reach_tcp(confined: Ground, policy: SandboxPolicy) -> CommandResult:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        return await confined.run(f"exec 3<>/dev/tcp/127.0.0.1/{port} && echo reached", policy)


@pytest.mark.parametrize("policy", [READ_ONLY, WRITE], ids=["read-only", "workspace-write"])
async def test_a_loopback_listener_cannot_be_reached(
    confined: Ground, policy: SandboxPolicy
) -> None:
    result = await reach_tcp(confined, policy)
    assert result.exit_code == 1
    assert b"reached" not in result.output


async def test_network_access_opens_the_network(confined: Ground) -> None:
    result = await reach_tcp(confined, ONLINE)
    assert (result.exit_code, result.output) == (0, b"reached\n")


async def test_read_only_has_no_network_whatever_else_is_set(confined: Ground) -> None:
    assert (await reach_tcp(confined, SandboxPolicy(network_access=True))).exit_code == 1


async def test_no_datagram_leaves(confined: Ground) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.setblocking(False)
        await confined.run(f"echo out > /dev/udp/127.0.0.1/{receiver.getsockname()[1]}", WRITE)
        with pytest.raises(BlockingIOError):
            receiver.recv(10)


SOCKETS = """
import socket, sys
for kind in (socket.socketpair, lambda: socket.socket(socket.AF_UNIX), lambda: socket.socket(40)):
    try:
        kind()
        print("made")
    except OSError as error:
        print(error.strerror)
"""


async def test_unix_and_other_sockets_cannot_be_made_but_pairs_can(confined: Ground) -> None:
    """A unix socket may lead to the container daemon, and so out of every sandbox."""
    result = await confined.run_program([sys.executable, "-I", "-S", "-c", SOCKETS], WRITE)
    refused = b"Operation not permitted\n"
    assert (result.exit_code, result.output) == (0, b"made\n" + refused + refused)


async def test_a_confined_command_can_be_ended_with_all_it_started(confined: Ground) -> None:
    """A marker in its arguments names the runaway, since in there it sees other pids."""
    started: list[Running] = []
    seconds = str(100_000 + os.getpid())
    script = f"(env -i setsid sleep {seconds} &); echo begun; sleep 600"
    with trio.CancelScope() as scope:
        await confined.run_program(
            ["bash", "-c", script],
            READ_ONLY,
            on_started=started.append,
            on_output=lambda _: scope.cancel(),
        )
    assert scope.cancelled_caught
    assert started[0].output() == b"begun\n"
    assert read_process(started[0].pid) is None
    assert not any(seconds in arguments for arguments in command_lines())


def command_lines() -> list[list[str]]:
    found: list[list[str]] = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            found.append(Path(f"/proc/{pid}/cmdline").read_text().split("\0"))
        except OSError:
            continue
    return found


async def test_loopback_of_its_own_can_be_used(mounted: Ground) -> None:
    program = (
        'import socket; s = socket.create_server(("127.0.0.1", 0)); '
        'socket.create_connection(s.getsockname()); print("met")'
    )
    script = join([sys.executable, "-I", "-c", program])
    assert (await mounted.run(script, WRITE)).output == b"met\n"


async def test_other_processes_cannot_be_seen(mounted: Ground) -> None:
    result = await mounted.run(f"test -e /proc/{os.getpid()}/status || echo alone", WRITE)
    assert result.output == b"alone\n"


async def test_a_workspace_inside_a_hidden_folder_is_refused(confined: Ground) -> None:
    inner = confined.store / "tree"
    inner.mkdir()
    env = ENV | {"TMPDIR": str(inner)}
    for workspace in (inner, confined.store):
        complaint = await confined.sandbox.complaint(WRITE, workspace=str(workspace), env=env)
        assert complaint is not None
        assert f"commands cannot work in {workspace}: it is in {confined.store}" in str(complaint)


@LANDLOCK
async def test_landlock_does_not_let_a_command_signal_the_engine(landlocked: Ground) -> None:
    result = await landlocked.run(f"kill -0 {os.getpid()}", WRITE)
    assert result.exit_code == (1 if kernel_at_least(6, 12) else result.exit_code)


def kernel_at_least(major: int, minor: int) -> bool:
    version = os.uname().release.split(".")
    return (int(version[0]), int(version[1])) >= (major, minor)


@pytest.mark.parametrize("prefer", ["auto", "none"])
async def test_full_access_runs_the_command_as_it_is(
    prefer: Literal["auto", "none"], tmp_path: Path
) -> None:
    async with (
        Spawner() as spawner,
        Sandbox(spawner, prefer=prefer).confined(
            ["a", "b"], cwd="/", workspace=str(tmp_path), policy=PLAIN, env={"A": "b"}
        ) as command,
    ):
        assert command == Confined(attended(["a", "b"]), {"A": "b"})


async def test_without_a_sandbox_a_confined_command_is_refused(tmp_path: Path) -> None:
    async with Spawner() as spawner:
        with raises_code(ErrorCode.SANDBOX_UNAVAILABLE) as caught:
            async with Sandbox(spawner, prefer="none").confined(
                ["true"], cwd="/", workspace=str(tmp_path), policy=READ_ONLY, env={}
            ):
                raise AssertionError
    assert str(caught.value).startswith("commands cannot be confined on this machine; nothing was")
    assert "the sandbox is switched off" in str(caught.value)


async def test_a_survey_tells_of_every_mechanism_whichever_is_preferred() -> None:
    async with Spawner() as spawner:
        found = await Sandbox(spawner, prefer="none").survey()
    assert [report.mechanism for report in found] == list(MECHANISMS)
    for report in found:
        assert report.works == (not REASONS[report.mechanism])
        assert report.limits == (LIMITS[report.mechanism] if report.works else ())
        assert bool(report.why_not) != report.works


@pytest.mark.parametrize("prefer", ["auto", "none"])
async def test_whether_commands_can_be_confined_is_known_before_one_is_run(
    prefer: Literal["auto", "none"], tmp_path: Path
) -> None:
    async with Spawner() as spawner:
        sandbox = Sandbox(spawner, prefer=prefer)
        asked = [
            await sandbox.complaint(policy, workspace=str(tmp_path), env=ENV)
            for policy in (PLAIN, READ_ONLY)
        ]
    is_refused = prefer == "none" or all(REASONS.values())
    assert [each is not None for each in asked] == [False, is_refused]


async def test_bubblewrap_is_not_recommended_where_it_is_and_cannot_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = tmp_path / "bwrap"
    failing.write_text("#!/bin/sh\nexit 1\n")
    failing.chmod(0o755)
    monkeypatch.setattr("turnlog.runtime.sandbox.confinement._BIN", str(tmp_path))
    async with Spawner() as spawner:
        complaint = await Sandbox(spawner, prefer="bubblewrap").complaint(
            READ_ONLY, workspace=str(tmp_path), env=ENV
        )
    assert "nstall bubblewrap" not in str(complaint)
    assert "allow user namespaces" in str(complaint).lower()


async def test_a_bubblewrap_that_fails_is_told_with_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for a machine that forbids user namespaces: bwrap is there and fails."""
    failing = tmp_path / "bwrap"
    failing.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied'\nexit 1\n")
    failing.chmod(0o755)
    monkeypatch.setattr("turnlog.runtime.sandbox.confinement._BIN", str(tmp_path))
    async with Spawner() as spawner:
        with raises_code(ErrorCode.SANDBOX_UNAVAILABLE) as caught:
            await Sandbox(spawner, prefer="bubblewrap").probe()
    said = "exit code 1; it said: bwrap: setting up uid map: Permission denied"
    assert f"bubblewrap ({failing}): {said}" in str(caught.value)


@pytest.mark.parametrize("prefer", ALL)
async def test_the_probe_answers_once_and_for_all(prefer: Mechanism) -> None:
    async with Spawner() as spawner:
        sandbox = Sandbox(spawner, prefer=prefer)
        first = await sandbox.probe()
        assert first is await sandbox.probe()
    assert first == Confinement(prefer, first.program, first.user_namespace, first.tried)
    assert LIMITS[first.mechanism]


ENGINE = """
import os, sys, trio
from turnlog.protocol.settings import SandboxPolicy
from turnlog.runtime.processes.command import run_command
from turnlog.runtime.processes.launch import LaunchLine, attended
from turnlog.runtime.processes.spawner import Spawner
from turnlog.runtime.sandbox.confinement import Sandbox

async def main(prefer, script):
    async with Spawner() as spawner:
        async with Sandbox(spawner, prefer=prefer).confined(
            ["bash", "-c", script], cwd="/", workspace="/", policy=SandboxPolicy(), env=os.environ
        ) as command:
            await run_command(
                spawner,
                command.line,
                cwd="/",
                env=command.env,
                on_output=lambda _: print(flush=True),
            )

trio.run(main, *sys.argv[1:])
"""


@pytest.mark.parametrize("prefer", ALL)
async def test_a_confined_command_dies_with_a_killed_engine(prefer: Mechanism) -> None:
    """The kernel ends it: nobody is left to do it."""
    script = "echo begun; exec sleep 600"
    async with trio.open_nursery() as nursery:
        command = [sys.executable, "-c", ENGINE, prefer, script]
        start = partial(trio.run_process, command, stdout=subprocess.PIPE, check=False)
        engine: trio.Process = await nursery.start(start)
        assert engine.stdout is not None
        with trio.fail_after(240):  # the machine may be slow
            assert await engine.stdout.receive_some(1) == b"\n"
            found = [each for each in read_processes().values() if each.parent == engine.pid]
            (child,) = [each for each in found if each.is_alive]  # the trial may not be reaped yet
            ended = os.pidfd_open(child.pid)
            engine.kill()
            await trio.lowlevel.wait_readable(ended)
            os.close(ended)
