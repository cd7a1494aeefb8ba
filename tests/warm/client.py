"""Starting programs in forks of the warm interpreter. It is started once, for the first of them."""

import atexit
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Final

import attrs
import trio

from tests.warm.request import Given, Program, decode_code, receive_process, send_request

_ROOT: Final = Path(__file__).parents[2]
_OF_A_START: Final = ("PYTHON", "LC_", "LANG")  # variables that an interpreter reads at its start
_ONE_AT_A_TIME: Final = threading.Lock()


@attrs.frozen
class Ended:
    """A process that has ended."""

    code: int  # -N after signal N
    out: bytes
    err: bytes


@attrs.define(eq=False)
class Fork:
    """A program in a fork. It is used as a `subprocess.Popen` is."""

    pid: int
    stdin: IO[bytes] | None  # None: it was given another one than a pipe
    stdout: IO[bytes] | None
    stderr: IO[bytes] | None
    _process: int  # a descriptor, so that no other process ever gets our signals
    _end: IO[bytes]
    _code: int | None = None

    def __enter__(self) -> "Fork":
        return self

    def __exit__(self, *_: object) -> None:
        """Close its pipes, and wait for its end."""
        for pipe in (self.stdin, self.stdout, self.stderr):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        self.wait()

    def output(self) -> trio.lowlevel.FdStream:
        """Return its stdout as a stream of its own, which is to be closed."""
        assert self.stdout is not None
        return trio.lowlevel.FdStream(os.dup(self.stdout.fileno()))

    async def ended(self) -> int:
        """Wait as `wait` does, but let other tasks run meanwhile."""
        if self._code is None:
            await trio.lowlevel.wait_readable(self._end)
        return self.wait()

    def wait(self) -> int:
        """Wait for its end; return its exit code, or -N after signal N."""
        if self._code is None:
            self._code = decode_code(self._end.read())
            self._end.close()
            os.close(self._process)
        return self._code

    def send_signal(self, sig: int, /) -> None:
        """Send a signal. A process that has ended gets none."""
        if self._code is None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._process, sig)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def of_a_start() -> dict[str, str]:
    """Return the variables that an interpreter reads at its start: a fork has to have them."""
    return {name: text for name, text in os.environ.items() if name.startswith(_OF_A_START)}


def start(
    program: Program,
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
) -> Fork:
    """Start a program in a fork, and return once it runs. Threads may call this.

    Args:
        stdin, stdout, stderr: `subprocess.DEVNULL`, `subprocess.PIPE`, or a descriptor.
    """
    feed, reader = _pipe(stdin, writes=True)
    out, out_end = _pipe(stdout)
    err, err_end = _pipe(stderr)
    end, end_end = os.pipe()
    given = Given(reader, out_end, err_end, end_end)
    try:
        with _ONE_AT_A_TIME:
            pid, process = _server().fork(program, given)
    finally:
        for descriptor in given:
            os.close(descriptor)
    return Fork(pid, feed, out, err, process, open(end, "rb"))


def _pipe(kind: int, *, writes: bool = False) -> tuple[IO[bytes] | None, int]:
    """Return our end of a stream, if we have one, and a descriptor that the program gets."""
    if kind == subprocess.DEVNULL:
        return None, os.open(os.devnull, os.O_RDWR)
    if kind != subprocess.PIPE:
        return None, os.dup(kind)
    reader, writer = os.pipe()
    return (open(writer, "wb"), reader) if writes else (open(reader, "rb"), writer)


async def run(program: Program, *, stdin: bytes = b"") -> Ended:
    """Run a program to its end, in a fork if it can be one. It is killed if this is cancelled."""
    if not _can_be_forked(program):
        return await _run_again(program, stdin)
    with start(program, stdin=subprocess.PIPE) as process:
        try:
            async with trio.open_nursery() as nursery:
                out = _read_all(nursery, process.stdout)
                err = _read_all(nursery, process.stderr)
                nursery.start_soon(_write_all, process.stdin, stdin)
            return Ended(await process.ended(), bytes(out), bytes(err))
        finally:
            process.kill()


def _can_be_forked(program: Program) -> bool:
    """Say whether an interpreter would find at its start what the warm one has found."""
    return all(
        program.environment.get(name) == os.environ.get(name)
        for name in {*program.environment, *os.environ}
        if name.startswith(_OF_A_START)
    )


async def _run_again(program: Program, stdin: bytes) -> Ended:
    """Run a module in a new process."""
    plain = Program(program.folder, program.environment, program.words, program.module)
    assert program == plain, "only a fork can have the rest"
    done = await trio.run_process(
        [sys.executable, "-m", program.module, *program.words],
        stdin=stdin,
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        cwd=program.folder,
        env=program.environment,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def _read_all(nursery: trio.Nursery, pipe: IO[bytes] | None) -> bytearray:
    """Return what will hold all that comes, once the nursery is done."""
    found = bytearray()

    async def read() -> None:
        assert pipe is not None
        async with trio.lowlevel.FdStream(os.dup(pipe.fileno())) as stream:
            async for chunk in stream:
                found.extend(chunk)

    nursery.start_soon(read)
    return found


async def _write_all(pipe: IO[bytes] | None, data: bytes) -> None:
    assert pipe is not None
    with pipe:
        ours = os.dup(pipe.fileno())
    async with trio.lowlevel.FdStream(ours) as stream:
        with suppress(trio.BrokenResourceError):  # it does not read all
            await stream.send_all(data)


@attrs.frozen
class _Server:
    """The warm interpreter."""

    _control: socket.socket
    _process: "subprocess.Popen[bytes]"

    @classmethod
    def begin(cls) -> "_Server":
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.warm.server", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                cwd=_ROOT,
            )
        server = cls(ours, process)
        atexit.register(server.end)
        return server

    def fork(self, program: Program, given: Given) -> tuple[int, int]:
        """Return the id of the process that runs the program, and a descriptor of it."""
        send_request(self._control, program, given)
        return receive_process(self._control)

    def end(self) -> None:
        self._control.close()
        self._process.wait()


_server: Final = cache(_Server.begin)
