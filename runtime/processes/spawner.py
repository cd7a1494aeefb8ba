"""One thread, which lives as long as the engine, starts every process.

The kernel ties PR_SET_PDEATHSIG (`bwrap --die-with-parent`, the launcher) to the thread that
forked, and trio's worker threads end when they have been idle for ten seconds: a process started
from one is killed in the middle of its work.
"""

import errno
import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from queue import SimpleQueue
from types import TracebackType
from typing import Final, NamedTuple, Self

import attrs
import trio

from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import Unavailable
from turnlog.runtime.launcher.system import become_subreaper

_ADVICE: Final[Mapping[int, str]] = {
    errno.E2BIG: " Give it its input in a file.",
    errno.EMFILE: " This engine has too many files open: run fewer at once, or raise `ulimit -n`.",
    errno.ENFILE: " The machine has too many files open.",
    errno.EAGAIN: " There are too many processes: end some, or raise `ulimit -u`.",
    errno.ENOMEM: " The machine is out of memory.",
}


class Started(NamedTuple):
    """A process that runs, and a descriptor that is readable once it has ended (the caller's)."""

    process: subprocess.Popen[bytes]
    pidfd: int


@attrs.define(eq=False)
class _Order:
    """One process to start, and what came of it."""

    argv: Sequence[str]
    cwd: str
    env: Mapping[str, str]
    stdin: int  # a file descriptor, or subprocess.DEVNULL
    output: int  # stdout and stderr
    control: int  # a further descriptor, under its own number
    token: trio.lowlevel.TrioToken
    done: trio.Event = attrs.field(factory=trio.Event)
    started: Started | None = None
    error: OSError | ValueError | None = None

    def carry_out(self) -> None:
        try:
            self.started = self._start()
        except (OSError, ValueError) as error:
            self.error = error
        try:
            self.token.run_sync_soon(self.done.set)
        except trio.RunFinishedError:  # nobody is left to own it; it hears that and ends
            if self.started is not None:
                os.close(self.started.pidfd)

    def _start(self) -> Started:
        process = subprocess.Popen(
            list(self.argv),
            cwd=self.cwd,
            env=dict(self.env),
            stdin=self.stdin,
            stdout=self.output,
            stderr=self.output,
            start_new_session=True,
            pass_fds=(self.control,),
        )
        try:
            return Started(process, os.pidfd_open(process.pid))
        except OSError:  # no descriptor is left: it is not to run
            process.kill()
            process.wait()
            raise


@attrs.define(eq=False)
class Spawner:
    """Starts processes for as long as its block runs. One for each engine.

    It makes this process a child subreaper. So a process that a command does not end becomes our
    child, and can be found and ended.
    """

    _orders: SimpleQueue[_Order | None] = attrs.field(
        factory=SimpleQueue["_Order | None"], init=False
    )
    _unreaped: list[subprocess.Popen[bytes]] = attrs.field(
        factory=list["subprocess.Popen[bytes]"], init=False
    )
    _thread: threading.Thread | None = attrs.field(default=None, init=False)

    async def __aenter__(self) -> Self:
        become_subreaper()
        self._thread = threading.Thread(target=self._serve, name="turnlog-spawner", daemon=True)
        self._thread.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            self._orders.put(None)
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(thread.join)

    async def start(
        self,
        argv: Sequence[str],
        *,
        cwd: str,
        env: Mapping[str, str],
        output: int,
        control: int,
        stdin: int = subprocess.DEVNULL,
    ) -> Started:
        """Start a program in a session of its own and return it. About a millisecond.

        A cancelled scope does not stop it half way: the caller always gets the process, and is
        cancelled at its own next checkpoint.

        Args:
            argv: at least the program, sought on the `PATH` in `env`.
            cwd: an existing folder.
            env: the whole environment of the program.
            output: a file descriptor for stdout and stderr; it stays the caller's.
            control: a file descriptor that it gets under the same number; it stays the caller's.
            stdin: a file descriptor, or nothing.

        Raises:
            Unavailable: nothing runs.
        """
        if self._thread is None:
            raise RuntimeError("a Spawner starts processes only inside its `async with` block")
        token = trio.lowlevel.current_trio_token()
        order = _Order(argv, cwd, env, stdin, output, control, token)
        with trio.CancelScope(shield=True):
            self._orders.put(order)
            await order.done.wait()
        if order.started is None:
            raise Unavailable(
                ErrorCode.COMMAND_NOT_STARTED, explain(argv[0], cwd, order.error)
            ) from order.error
        return order.started

    def reap(self, process: subprocess.Popen[bytes]) -> None:
        """Reap a process that was started here; one that has not ended yet, as soon as it has."""
        self._unreaped = [each for each in (*self._unreaped, process) if each.poll() is None]

    def _serve(self) -> None:
        while (order := self._orders.get()) is not None:
            order.carry_out()


def explain(program: str, cwd: str, error: OSError | ValueError | None) -> str:
    """Return why a command was not started, and what to do about it.

    Args:
        program: what was to start it: the interpreter, or a sandbox's own program.
        cwd: where.
        error: what the system said.
    """
    if not os.path.isdir(cwd):
        return f"cannot run a command in {cwd!r}: this is not an existing folder."
    if isinstance(error, OSError) and error.errno is not None:
        if isinstance(error, FileNotFoundError | PermissionError):
            return f"cannot run a command in {cwd!r} by {program!r}: {error.strerror}."
        advice = _ADVICE.get(error.errno, "")
        name = errno.errorcode.get(error.errno, error.errno)
        return f"cannot run the command in {cwd!r}: {error.strerror} ({name}).{advice}"
    return f"cannot run the command: {error}."
