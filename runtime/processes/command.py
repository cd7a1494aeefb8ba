"""Runs one command to its end: output streamed and bounded, nothing left running."""

import os
import select
import signal
import subprocess
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

import attrs
import trio
from msgspec import Struct

from turnlog.runtime.processes.family import Mark, end_family
from turnlog.runtime.processes.output import HeadTailBuffer
from turnlog.runtime.processes.spawner import Spawner

PIPE_GRACE: Final = 0.25  # seconds that a background child may go on printing after the command
_CHUNK: Final = 65536  # bytes; what a pipe holds by default


class CommandResult(Struct, frozen=True):
    """How a command ended."""

    exit_code: int  # 128 + n for signal n
    output: bytes  # stdout and stderr as they came; head and tail if it was too long
    omitted_bytes: int  # left out of `output`
    duration_seconds: float
    timed_out: bool
    survivors: tuple[int, ...] = ()  # pids that even SIGKILL did not end; normally none


@attrs.define(eq=False)
class Running:
    """A command that was started. Readable at any time, also after it was cancelled."""

    pid: int
    _started: float
    _buffer: HeadTailBuffer = attrs.field(factory=HeadTailBuffer)
    _ended: float | None = None

    def output(self) -> bytes:
        """Return what it printed until now, bounded to 1 MiB."""
        return self._buffer.value()

    @property
    def omitted_bytes(self) -> int:
        """How much of the output is left out of `output()`."""
        return self._buffer.omitted_bytes

    def elapsed(self) -> float:
        """Return the seconds that it has run, or ran. Inside trio only while it runs."""
        return (trio.current_time() if self._ended is None else self._ended) - self._started

    def take(self, chunk: bytes) -> None:
        self._buffer.append(chunk)

    def end(self) -> None:
        self._ended = trio.current_time()


async def run_command(
    spawner: Spawner,
    argv: Sequence[str],
    *,
    cwd: str,
    env: Mapping[str, str],
    stdin: bytes = b"",
    timeout_ms: int | None = None,
    on_started: Callable[[Running], None] | None = None,
    on_output: Callable[[bytes], None] | None = None,
) -> CommandResult:
    """Run `argv` and return when it and everything that it started are gone.

    It ends when its leader has ended. A child left in the background may print for another
    `PIPE_GRACE`; then it is ended, as it would be with the sandbox around it. Cancelling and the
    timeout end the whole family with SIGTERM, then SIGKILL, before this returns or raises. Memory
    is bounded, whatever it prints.

    Args:
        argv: as `Spawner.start`.
        cwd: as `Spawner.start`.
        env: as `Spawner.start`; one variable is added, by which its processes are found.
        stdin: what it reads; nothing by default.
        timeout_ms: from its start; None for no limit.
        on_started: called once; what it is given shows partial output if this call is cancelled.
        on_output: called with each piece of output, in order, 1 to 65,536 bytes.

    Raises:
        CommandNotStarted: nothing ran.
    """
    source, sink = os.pipe()
    mark = Mark.make(sink)
    os.set_blocking(source, False)
    try:
        try:
            with _standard_input(stdin) as descriptor:
                process = await spawner.start(
                    argv, cwd=cwd, env=mark.put_on(env), stdin=descriptor, output=sink
                )
        finally:
            os.close(sink)
        return await _attend(process, mark, source, timeout_ms, on_started, on_output)
    finally:
        os.close(source)


async def _attend(
    process: subprocess.Popen[bytes],
    mark: Mark,
    source: int,
    timeout_ms: int | None,
    on_started: Callable[[Running], None] | None,
    on_output: Callable[[bytes], None] | None,
) -> CommandResult:
    running = Running(process.pid, trio.current_time())
    survivors: list[int] = []
    try:
        with trio.move_on_after(float("inf") if timeout_ms is None else timeout_ms / 1000) as limit:
            if on_started is not None:
                on_started(running)
            await _follow(process.pid, source, running, on_output)
    finally:
        survivors = await end_family(process.pid, mark)
        last_words = _drain(source)
        running.take(last_words)
        running.end()
        process.poll()
    if last_words and on_output is not None:
        on_output(last_words)
    return CommandResult(
        exit_code=_exit_code(process.returncode),
        output=running.output(),
        omitted_bytes=running.omitted_bytes,
        duration_seconds=running.elapsed(),
        timed_out=limit.cancelled_caught,
        survivors=tuple(survivors),
    )


async def _follow(
    pid: int, source: int, running: Running, on_output: Callable[[bytes], None] | None
) -> None:
    """Read until the leader has ended and the pipe is at its end, or the grace is over.

    The exit and the output are waited for together, in one task: an error of a callback arrives
    as it was raised.
    """
    leader = os.pidfd_open(pid)
    with _closing(leader), select.epoll() as both, trio.CancelScope() as grace:
        both.register(leader, select.EPOLLIN)
        both.register(source, select.EPOLLIN)
        open_ends = 2
        while open_ends:
            await trio.lowlevel.wait_readable(both.fileno())
            for descriptor, _ in both.poll(0):
                if descriptor == leader:
                    grace.deadline = trio.current_time() + PIPE_GRACE
                elif chunk := os.read(source, _CHUNK):
                    running.take(chunk)
                    if on_output is not None:
                        on_output(chunk)
                    continue
                both.unregister(descriptor)
                open_ends -= 1


def _drain(source: int) -> bytes:
    """Return what still is in the pipe: at most what a pipe holds."""
    try:
        return os.read(source, _CHUNK)
    except BlockingIOError:
        return b""


@contextmanager
def _standard_input(content: bytes) -> Generator[int]:
    """Give `content` as a file in memory: no task has to feed it, whatever its size."""
    if not content:
        yield subprocess.DEVNULL
        return
    descriptor = os.memfd_create("turnlog-stdin")
    with _closing(descriptor), open(descriptor, "wb", closefd=False) as file:
        file.write(content)
        file.seek(0)
        yield descriptor


@contextmanager
def _closing(descriptor: int) -> Generator[None]:
    try:
        yield
    finally:
        os.close(descriptor)


def _exit_code(returncode: int | None) -> int:
    if returncode is None:  # it survived SIGKILL: in an uninterruptible wait
        return 128 + signal.SIGKILL
    return returncode if returncode >= 0 else 128 - returncode
