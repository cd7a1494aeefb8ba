"""One thread, as old as the engine, starts every process.

The kernel ties PR_SET_PDEATHSIG (`bwrap --die-with-parent`, the landlock launcher) to the thread
that forked, and trio's worker threads end when they have been idle for ten seconds: a process
started from one is killed in the middle of its work.
"""

import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from queue import SimpleQueue
from types import TracebackType
from typing import ClassVar, Self

import attrs
import trio

from turnlog.protocol.errors import TurnlogError
from turnlog.runtime.processes.family import become_subreaper


class CommandNotStarted(TurnlogError):
    """The system did not start a program.

    Check that the program and its folder exist; the text has the system's reason.
    """

    code: ClassVar[str] = "command_not_started"


@attrs.define(eq=False)
class _Order:
    """One process to start, and what came of it."""

    argv: Sequence[str]
    cwd: str
    env: Mapping[str, str]
    stdin: int  # a file descriptor, or subprocess.DEVNULL
    output: int  # stdout and stderr
    token: trio.lowlevel.TrioToken
    done: trio.Event = attrs.field(factory=trio.Event)
    process: subprocess.Popen[bytes] | None = None
    error: OSError | ValueError | None = None

    def carry_out(self) -> None:
        try:
            self.process = subprocess.Popen(
                list(self.argv),
                cwd=self.cwd,
                env=dict(self.env),
                stdin=self.stdin,
                stdout=self.output,
                stderr=self.output,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            self.error = error
        try:
            self.token.run_sync_soon(self.done.set)
        except trio.RunFinishedError:  # nobody is left to own it
            if self.process is not None:
                self.process.kill()
                self.process.wait()


@attrs.define(eq=False)
class Spawner:
    """Starts processes for as long as its block runs. One for each engine.

    It makes this process a child subreaper, so that whatever a command leaves behind becomes
    our child and can be found and ended.
    """

    _orders: SimpleQueue[_Order | None] = attrs.field(
        factory=SimpleQueue["_Order | None"], init=False
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
        stdin: int = subprocess.DEVNULL,
    ) -> subprocess.Popen[bytes]:
        """Start a program in a session of its own and return it. About a millisecond.

        A cancelled scope does not stop it half way: the caller always gets the process, and is
        cancelled at its own next checkpoint.

        Args:
            argv: at least the program, sought on the `PATH` in `env`.
            cwd: an existing folder.
            env: the whole environment of the program.
            output: a file descriptor for stdout and stderr; it stays the caller's.
            stdin: a file descriptor, or nothing.

        Raises:
            CommandNotStarted: nothing runs.
        """
        if self._thread is None:
            raise RuntimeError("a Spawner starts processes only inside its `async with` block")
        if not argv:
            raise CommandNotStarted("an empty command cannot be run; name a program.")
        token = trio.lowlevel.current_trio_token()
        order = _Order(argv, cwd, env, stdin, output, token)
        with trio.CancelScope(shield=True):
            self._orders.put(order)
            await order.done.wait()
        if order.process is None:
            raise CommandNotStarted(_explain(argv[0], cwd, order.error)) from order.error
        return order.process

    def _serve(self) -> None:
        while (order := self._orders.get()) is not None:
            order.carry_out()


def _explain(program: str, cwd: str, error: OSError | ValueError | None) -> str:
    if not os.path.isdir(cwd):
        return f"cannot run {program!r} in {cwd!r}: this is not an existing folder."
    match error:
        case FileNotFoundError():
            return f"cannot run {program!r}: there is no such program on the command's PATH."
        case PermissionError():
            return f"cannot run {program!r} in {cwd!r}: permission denied. Is it executable?"
        case OSError():
            return f"cannot run {program!r} in {cwd!r}: {error.strerror}."
        case _:
            return f"cannot run {program!r}: {error}."
