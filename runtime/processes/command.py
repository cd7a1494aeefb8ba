"""Runs one command to its end: output streamed and bounded, nothing left running."""

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Final, Literal

import attrs
import trio
from msgspec import Struct

from turnlog.protocol.calls import Leftover
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import Unavailable
from turnlog.runtime.launcher import kin
from turnlog.runtime.launcher.attend import KILL_PATIENCE, TERM_GRACE
from turnlog.runtime.launcher.messages import STOP, VARIABLE, Ended, Refused, Started
from turnlog.runtime.processes.channel import CHUNK, Channel, open_channel
from turnlog.runtime.processes.family import Mark, end_family, reap_session
from turnlog.runtime.processes.launch import LaunchLine
from turnlog.runtime.processes.output import HeadTailBuffer
from turnlog.runtime.processes.spawner import Spawner, explain

_NAMESPACE: Final = kin.namespace()
# Seconds from the request to stop until an attendant that does not answer is killed.
_STOP_PATIENCE: Final = TERM_GRACE + KILL_PATIENCE + 2


class CommandResult(Struct, frozen=True):
    """How a command ended."""

    exit_code: int  # 128 + n for signal n
    output: bytes  # stdout and stderr as they came; head and tail if it was too long
    omitted_bytes: int  # left out of `output`
    duration_seconds: float
    timed_out: bool
    left: Leftover | None = None  # None: nothing of it ran any more


@attrs.define(eq=False)
class Running:
    """A command that was started. Readable at any time, also after it was cancelled."""

    pid: int
    _started: float
    _buffer: HeadTailBuffer = attrs.field(factory=HeadTailBuffer)
    left: Leftover | None = None  # once it has ended; None: nothing of it ran any more
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
        """Keep a piece of output."""
        self._buffer.append(chunk)

    def end(self) -> None:
        """Note the time of the end."""
        self._ended = trio.current_time()


async def run_command(
    spawner: Spawner,
    line: LaunchLine,
    *,
    cwd: str,
    env: Mapping[str, str],
    stdin: bytes = b"",
    timeout_ms: int | None = None,
    on_started: Callable[[Running], None] | None = None,
    on_output: Callable[[bytes], None] | None = None,
) -> CommandResult:
    """Run a command and return when it and everything that it started are gone.

    It is over when its leader has ended and its own pipeline has done its work; what it has left
    in the background is ended then. See `turnlog.runtime.launcher.attend`. Cancelling and the
    timeout end all of it with SIGTERM, then SIGKILL, before this returns or raises. Memory is
    bounded, whatever it prints.

    Args:
        line: from `attended`, or from the sandbox.
        cwd: an existing folder.
        env: the whole environment of the command; one variable is added, which names the engine.
        stdin: what it reads; nothing by default.
        timeout_ms: from its start; None for no limit.
        on_started: called once; what it is given shows partial output if this call is cancelled.
        on_output: called with each piece of output, in order.

    Raises:
        Unavailable: nothing ran.
    """
    with ExitStack() as stack:
        try:
            channel = stack.enter_context(open_channel(stdin))
        except OSError as error:
            raise Unavailable(
                ErrorCode.COMMAND_NOT_STARTED, explain(line[0], cwd, error)
            ) from error
        mark = Mark.make(channel.output_of_command)
        try:
            process, pidfd = await spawner.start(
                line,
                cwd=cwd,
                env={**mark.put_on(env), VARIABLE: str(channel.control_of_command)},
                stdin=channel.stdin_of_command,
                output=channel.output_of_command,
                control=channel.control_of_command,
            )
        finally:
            channel.release()
        stack.callback(os.close, pidfd)
        command = _Command(
            spawner, channel, process, pidfd, mark, Running(process.pid, trio.current_time())
        )
        return await command.run(timeout_ms, on_started, on_output)


@attrs.define(eq=False)
class _Command:
    """A command that was started, seen through its attendant."""

    spawner: Spawner
    channel: Channel
    process: subprocess.Popen[bytes]  # the attendant, or the sandbox around it
    pidfd: int
    mark: Mark
    running: Running
    _has_exited: bool = False
    _leader: int | None = None  # its pid, where that is visible
    _refused: Refused | None = None
    _ended: Ended | None = None

    async def run(
        self,
        timeout_ms: int | None,
        on_started: Callable[[Running], None] | None,
        on_output: Callable[[bytes], None] | None,
    ) -> CommandResult:
        try:
            self.channel.follow(self.pidfd)
            seconds = float("inf") if timeout_ms is None else timeout_ms / 1000
            with trio.move_on_after(seconds) as limit:
                if on_started is not None:
                    on_started(self.running)
                await self._follow(on_output)
            if limit.cancelled_caught:
                await self._stop(on_output)
        finally:
            await self._stop(None)
            last_words = await self._settle()
        if self._refused is not None:
            raise Unavailable(ErrorCode.COMMAND_NOT_STARTED, self._refused.why)
        if last_words and on_output is not None:
            on_output(last_words)
        return self._result(timed_out=limit.cancelled_caught)

    def _result(self, *, timed_out: bool) -> CommandResult:
        ended = self._ended
        return CommandResult(
            exit_code=_exit_code(self.process.returncode) if ended is None else ended.code,
            output=self.running.output(),
            omitted_bytes=self.running.omitted_bytes,
            duration_seconds=self.running.elapsed(),
            timed_out=timed_out,
            left=self.running.left,
        )

    def _left(self, survivors: tuple[int, ...]) -> Leftover | None:
        ended = self._ended
        # In a pid namespace of its own an attendant may be killed: all dies with the namespace.
        is_lost = ended is None and self._leader is not None
        if not survivors and not is_lost and (ended is None or not ended.ended):
            return None
        if ended is None:
            return Leftover(survivors=survivors, lost=is_lost)
        return Leftover(ended.ended, ended.names, survivors)

    @property
    def _is_over(self) -> bool:
        """Whether nothing more is to be waited for; not for survivors, which may take for ever."""
        return self._has_exited or (self._ended is not None and bool(self._ended.survivors))

    async def _follow(self, on_output: Callable[[bytes], None] | None) -> None:
        """Read what the command prints and its attendant says, until it is over.

        All is waited for in one task: an error of a callback arrives as it was raised.
        """
        while not self._is_over:
            for descriptor in await self.channel.wait():
                if descriptor == self.pidfd:
                    self._has_exited = True
                elif self.channel.is_control(descriptor):
                    if self._hear() == "end":
                        self.channel.forget(descriptor)
                elif chunk := os.read(descriptor, CHUNK):
                    self._take(chunk, on_output)
                else:
                    self.channel.forget(descriptor)

    def _take(self, chunk: bytes, on_output: Callable[[bytes], None] | None) -> None:
        self.running.take(chunk)
        if chunk and on_output is not None:
            on_output(chunk)

    def _hear(self) -> Literal["more", "end"]:
        """Note what the attendant has said; say whether it may say more."""
        try:
            while (message := self.channel.hear()) is not None:
                match message:
                    case Started():
                        if (message.namespace, message.attendant) == (_NAMESPACE, self.process.pid):
                            self._leader = message.leader
                    case Refused():
                        self._refused = message
                    case Ended():
                        self._ended = message
        except EOFError:
            return "end"
        return "more"

    async def _stop(self, on_output: Callable[[bytes], None] | None) -> None:
        """End the command, unless it is over. Not cancellable."""
        for ask, patience in ((self._ask_to_stop, _STOP_PATIENCE), (self._kill, KILL_PATIENCE)):
            if not self._is_over:
                ask()
                with trio.move_on_after(patience, shield=True):
                    await self._follow(on_output)

    def _ask_to_stop(self) -> None:
        self.channel.tell(STOP)
        self._send(signal.SIGCONT)  # a command without a sandbox may have stopped its attendant

    def _kill(self) -> None:
        """Kill the attendant, which does not answer. Its children become ours."""
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(self.pidfd, number)

    async def _settle(self) -> bytes:
        """End what an attendant has left that was killed; reap it. Return the last output."""
        self._hear()
        survivors: Sequence[int] = ()
        if self._ended is not None:
            survivors = self._ended.survivors
        elif self._refused is None:
            survivors = await end_family(self.process.pid, self._leader, self.mark)
        if self._has_exited:
            await reap_session(self.process.pid)
        self.running.left = self._left(tuple(survivors))
        last_words = self.channel.drain()
        self.running.take(last_words)
        self.running.end()
        self.spawner.reap(self.process)
        return last_words


def _exit_code(returncode: int | None) -> int:
    if returncode is None:  # it survived SIGKILL: in an uninterruptible wait
        return 128 + signal.SIGKILL
    return returncode if returncode >= 0 else 128 - returncode
