"""A user at a command line of their own: an isolated home, real processes, a scripted model."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

import attrs
import trio

from tests.warm.client import Fork, run, start
from tests.warm.request import Program
from turnlog.runtime.processes.family import read_process
from turnlog.runtime.scripted_model.script import Item, Response, Script
from turnlog.runtime.scripted_model.server import ScriptedServer, serve_script

TURNLOG = (sys.executable, "-m", "turnlog")
_CONFIG = """\
model = "scripted"
model_provider = "local"
sandbox_mode = "danger-full-access"

[model_providers.local]
base_url = "{url}"
request_max_retries = {request_retries}
stream_max_retries = {stream_retries}
"""

# Seconds for all that a test does with a model. A machine may be slow; what hangs altogether is
# ended, and shown, by the limit of each test.
_PATIENCE = 240

Line = dict[str, Any]


T = TypeVar("T")


async def in_thread(wait: Callable[[], T]) -> T:
    """Wait for something that another process does, as long as the test may last."""
    return await trio.to_thread.run_sync(wait, abandon_on_cancel=True)


@attrs.frozen
class Outcome:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[Line]:
        """Its stdout as JSON lines. Only a line feed ends one."""
        return [json.loads(line) for line in self.out.split("\n") if line]

    @property
    def thread(self) -> str:
        thread_id: str = self.lines[0]["thread_id"]
        return thread_id


@attrs.frozen
class User:
    """Runs `turnlog` in a home and a folder that nobody else uses."""

    root: Path
    processes: list[Fork] = attrs.field(factory=list[Fork], init=False)

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def cwd(self) -> Path:
        return self.root / "work"

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        kept = ("PATH", "LANG", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV", "COVERAGE_PROCESS_CONFIG")
        return {
            **{name: os.environ[name] for name in kept if name in os.environ},
            "HOME": str(self.root),
            "TURNLOG_HOME": str(self.home),
            **(more or {}),
        }

    def configure(self, text: str) -> None:
        self.home.mkdir(exist_ok=True)
        (self.home / "config.toml").write_text(text)

    @asynccontextmanager
    async def model(
        self,
        *responses: Response | Item | str | list[Item],
        loop: bool = False,
        request_retries: int = 0,
        stream_retries: int = 0,
    ) -> AsyncGenerator[ScriptedServer]:
        """Serve a script, and configure it as this user's model."""
        async with serve_script(Script.of(*responses, loop=loop)) as server:
            self.configure(
                _CONFIG.format(
                    url=server.base_url,
                    request_retries=request_retries,
                    stream_retries=stream_retries,
                )
            )
            with trio.fail_after(_PATIENCE):
                yield server

    async def run(
        self, *words: str, stdin: bytes = b"", env: Mapping[str, str] | None = None
    ) -> Outcome:
        """Run a command to its end."""
        return await self.run_program(self.program(*words, env=env), stdin=stdin)

    async def run_program(self, program: Program, *, stdin: bytes = b"") -> Outcome:
        """Run a program to its end."""
        ended = await run(program, stdin=stdin)
        return Outcome(ended.code, ended.out.decode(), ended.err.decode())

    def start(self, *words: str, stdin: int = subprocess.DEVNULL) -> "Started":
        """Start a command, and let it run."""
        return self._start(self.program(*words)._replace(leads_session=True), stdin)

    def start_program(self, text: str, *words: str) -> "Started":
        """Start a program that uses the library."""
        return self._start(self.program(*words)._replace(text=text))

    def program(self, *words: str, env: Mapping[str, str] | None = None) -> Program:
        """Return a command as a program to be run."""
        return Program(str(self.cwd), self.environment(env), words)

    def _start(self, program: Program, stdin: int = subprocess.DEVNULL) -> "Started":
        process = start(program, stdin=stdin)
        self.processes.append(process)
        return Started(process)

    def leave(self) -> None:
        """Kill what a test that failed has left running."""
        for process in self.processes:
            with process:  # closes its pipes and waits
                process.kill()

    async def show(self, session: str) -> list[Line]:
        """Return the session's events, as `show --json` prints them."""
        return (await self.run("show", session, "--json")).lines

    def pipe(self, name: str = "pipe") -> "Pipe":
        """Make a named pipe below the working folder, for a command to say where it is."""
        path = self.cwd / name
        os.mkfifo(path)
        return Pipe(path)


@attrs.frozen
class Started:
    """A command that runs."""

    process: Fork

    async def read_text(self) -> str:
        """Return the next line of its stdout."""
        assert self.process.stdout is not None
        return (await in_thread(self.process.stdout.readline)).decode()

    async def read_line(self) -> Line:
        """Return the next JSON line of its stdout."""
        line: Line = json.loads(await self.read_text())
        return line

    async def read_until(self, kind: str) -> None:
        """Pass over lines until one of this type has come."""
        while (await self.read_line())["type"] != kind:
            pass

    async def read_note(self) -> str:
        """Return the next line of its stderr."""
        assert self.process.stderr is not None
        return (await in_thread(self.process.stderr.readline)).decode()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    async def exit_code(self) -> int:
        """Wait for its end, and read nothing of what it says meanwhile."""
        code = await in_thread(self.process.wait)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        return code

    async def finished(self) -> Outcome:
        """Wait for its end; return what had not been read yet."""
        rest: dict[str, str] = {}

        async def read(name: str, stream: IO[bytes] | None) -> None:
            assert stream is not None
            # `communicate` would pass over what `readline` has buffered. Where this is cancelled,
            # the thread still reads, and to close the stream would be to wait for it.
            rest[name] = (await in_thread(stream.read)).decode()
            stream.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, "out", self.process.stdout)
            nursery.start_soon(read, "err", self.process.stderr)
        code = await in_thread(self.process.wait)
        return Outcome(code, rest["out"], rest["err"])


@attrs.frozen
class Pipe:
    """A named pipe: `writes_pid` is a piece of shell that says who runs it."""

    path: Path

    @property
    def writes_pid(self) -> str:
        return f"echo $$ > {self.path}"

    async def read_pid(self) -> int:
        """Wait for a command to say its pid."""
        return int(await in_thread(self.path.read_text))


def is_running(pid: int) -> bool:
    process = read_process(pid)
    return process is not None and process.is_alive
