"""Attends one command: starts it, waits for it, and ends everything that it has started.

All orphans of the command become children of the attendant, whatever sessions they make and
whatever descriptors they close. So the processes of a command are known by their parents, and the
command has ended when the kernel says that no child is left.

    running    until its leader has ended
    finishing  until its own pipeline has done its work; what prints, or is about to end by itself,
               may continue for PIPE_GRACE
    ending     SIGTERM, TERM_GRACE, SIGKILL until nothing is left

The engine may say `stop` (go to ending) and `kill` (no grace) at any time. An engine that is gone
means stop. SIGTERM, SIGINT and SIGHUP to the attendant mean stop, too, and SIGQUIT means kill.
"""

from __future__ import annotations

import os
import select
import time

from . import kin, pipelines, system
from .messages import (
    KILL,
    MAX_MESSAGE,
    MOST_NAMED,
    STOP,
    VARIABLE,
    Ended,
    Refused,
    Started,
    clean,
    encode,
)
from .start import FAILED, CommandRefused, start_command

__all__ = ["FAILED", "KILL_PATIENCE", "TERM_GRACE", "leave", "run"]

TYPE_CHECKING = False
if TYPE_CHECKING:  # the launcher's start does not pay for typing
    import signal
    from collections.abc import Callable, Iterable
    from typing import NoReturn
else:
    import _signal as signal  # what `signal` wraps in enumerations, for 5 ms

PIPE_GRACE = 0.25  # seconds that a background child may continue after the command
TERM_GRACE = 0.5  # seconds from SIGTERM to SIGKILL
KILL_PATIENCE = 5.0  # seconds, after which processes that SIGKILL has not ended are reported
_ASKED_BY_SIGNAL: dict[int, bytes] = {
    signal.SIGTERM: STOP,
    signal.SIGINT: STOP,
    signal.SIGHUP: STOP,
    signal.SIGQUIT: KILL,
}
_LOOK, _LONGEST_LOOK = 0.005, 0.2  # seconds between two looks at a pipeline: at first, at most
_KILL_PERIOD, _SURVIVOR_PERIOD = 0.002, 1.0  # seconds between two rounds of SIGKILL


def run(argv: list[str], *, confine: Callable[[], None] | None = None) -> int:
    """Run `argv` and return its exit code, 128 + n for signal n, when nothing of it is left.

    125, 126 and 127 also mean that it was not run. The reason goes to the engine, or to stderr.

    Args:
        argv: the command; its program is sought on the PATH.
        confine: called in the command's process before it runs; what it raises keeps it from it.
    """
    engine = Engine.of_environment()
    try:
        attendant = Attendant(engine)
        attendant.start(argv, confine)
    except CommandRefused as error:
        engine.tell(Refused(str(error)))
        return error.code
    except StoppedBefore:
        code = 128 + signal.SIGTERM
        engine.tell(Ended(code))
        return code
    return attendant.attend()


def leave(code: int, why: str) -> NoReturn:
    """End the launcher before it has started a command, and say why."""
    Engine.of_environment().tell(Refused(why))
    os._exit(code)


class Engine:
    """The engine, at the other end of a socket. Without one, stderr is told what is refused."""

    def __init__(self, descriptor: int | None) -> None:
        self.descriptor = descriptor

    @classmethod
    def of_environment(cls) -> Engine:
        """Take the descriptor that the environment names, and keep it from the command."""
        value = os.environ.pop(VARIABLE, None)
        if value is None:
            return cls(None)
        os.set_inheritable(int(value), False)
        return cls(int(value))

    def tell(self, message: Started | Refused | Ended) -> None:
        try:
            if self.descriptor is not None:
                os.write(self.descriptor, encode(message))
            elif isinstance(message, Refused):
                os.write(2, f"turnlog: {message.why}\n".encode("utf-8", "replace"))
        except OSError:  # nobody is left who could be told
            pass

    def hear(self) -> bytes:
        """Return the message that is there; nothing if the engine is gone."""
        assert self.descriptor is not None
        try:
            return os.read(self.descriptor, MAX_MESSAGE)
        except OSError:
            return b""


class StoppedBefore(Exception):
    """The engine is gone, or wants the command to stop, and the command has not begun."""


class Attendant:
    """One command, from its start to its end."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._wakeup = _signals_as_bytes()
        self._poll = select.poll()
        self._poll.register(self._wakeup, select.POLLIN)
        if engine.descriptor is not None:
            self._poll.register(engine.descriptor, select.POLLIN)
        self._input = _target_of(0)
        self._outputs = {_target_of(1), _target_of(2)}
        self._argv: list[str] = []
        self._leader = 0  # its pid
        self._code: int | None = None  # its exit code, once it has ended
        self._has_children = False
        self._ended: list[str] = []  # names of what was ended because the command was over
        self._killed: set[int] = set()  # children that have got SIGKILL and are not reaped
        self._asked = b""  # of us: nothing, STOP or KILL

    def start(self, argv: list[str], confine: Callable[[], None] | None) -> None:
        """Start the command.

        Raises:
            CommandRefused: nothing was run.
            StoppedBefore: nothing was run, since it has to stop.
        """
        system.become_subreaper()
        system.end_with_parent(signal.SIGTERM)
        self._listen(0)
        if self._asked:
            raise StoppedBefore
        self._argv, self._leader = argv, start_command(argv, self._announced(confine))
        self._has_children = True
        _let_go_of_standard_streams()

    def _announced(self, confine: Callable[[], None] | None) -> Callable[[], None]:
        """Let the engine know the leader before the command runs, which may kill its attendant."""
        attendant = os.getpid()

        def announce() -> None:
            self._engine.tell(Started(kin.namespace(), attendant, os.getpid()))
            if confine is not None:
                confine()

        return announce

    def attend(self) -> int:
        """Wait for the command; return its exit code when nothing of it is left."""
        while self._code is None and not self._asked:
            self._wait(None)
        self._finish()
        if self._asked == STOP:
            _signal(kin.descendants(os.getpid()), signal.SIGTERM)
            self._wait_for_all(TERM_GRACE)
        self._kill_all()
        self._report()
        return self._exit_code()

    # --- finishing ------------------------------------------------------------------------------

    def _finish(self) -> None:
        """Wait for the command's own pipeline, then end what runs beside it."""
        members = self._wait_for_pipeline()
        self._ended = [self._name(pid) for pid in sorted(member.pid for member in members)]
        fed = pipelines.in_a_pipeline(members)
        unfed = [member.pid for member in members if member.pid not in fed]
        # What fills a pipe is ended first, so that its reader ends by itself.
        stages = [(unfed, signal.SIGTERM)]
        if fed:
            stages += [(unfed, signal.SIGKILL), (list(fed), signal.SIGTERM)]
        for pids, number in stages:
            if self._has_children and not self._asked:
                still_ours = set(kin.descendants(os.getpid()))
                _signal([pid for pid in pids if pid in still_ours], number)
                self._wait_for_all(TERM_GRACE)

    def _name(self, pid: int) -> str:
        """Return the name of a process for people who read the command's output."""
        words = kin.command_line(pid).decode("utf-8", "replace").rstrip("\0").split("\0")
        line = "a subshell" if words == self._argv else " ".join(words)
        return f"{clean(line) or 'unknown'} (pid {pid})"

    def _wait_for_pipeline(self) -> list[pipelines.Member]:
        """Wait until nothing works for the command; return what runs then."""
        pause, deadline = _LOOK, None
        while self._has_children and not self._asked:
            members = pipelines.look(self._input)
            if pipelines.working(members):
                deadline = None
            elif not any(each.is_leaving or each.writes & self._outputs for each in members):
                return members
            elif deadline is None:
                deadline = time.monotonic() + PIPE_GRACE
            elif time.monotonic() >= deadline:
                return members
            self._wait(pause)
            pause = min(2 * pause, _LONGEST_LOOK)
        return []

    # --- ending ---------------------------------------------------------------------------------

    def _wait_for_all(self, seconds: float) -> None:
        """Wait until no child is left, for `seconds`, or until we are asked for something new."""
        asked, deadline = self._asked, time.monotonic() + seconds
        while self._has_children and self._asked == asked:
            left = deadline - time.monotonic()
            if left <= 0:
                return
            self._wait(left)

    def _kill_all(self) -> None:
        """Kill until no child is left. Report what does not end in time, then wait for it."""
        deadline, period = time.monotonic() + KILL_PATIENCE, _KILL_PERIOD
        while self._has_children:
            self._kill_round()
            self._wait(period)
            if period == _KILL_PERIOD and time.monotonic() >= deadline:
                self._report()
                period = _SURVIVOR_PERIOD

    def _kill_round(self) -> None:
        """Send SIGKILL to all that have not got it. A process that has got it starts no other one.

        A process that was started just before is found as soon as it has lost its parent: then it
        is a child of ours.
        """
        if os.getpid() == 1:  # of a namespace of our own
            kin.send(-1, signal.SIGKILL)
            return
        for child in kin.children(os.getpid()):
            if child not in self._killed:
                for pid in (child, *kin.descendants(child)):
                    kin.send(pid, signal.SIGKILL)
                self._killed.add(child)

    def _report(self) -> None:
        """Report how the command ended, and what is left of it; normally nothing."""
        ended = self._ended
        survivors = tuple(kin.descendants(os.getpid())) if self._has_children else ()
        self._engine.tell(
            Ended(self._exit_code(), len(ended), tuple(ended[:MOST_NAMED]), survivors)
        )

    def _exit_code(self) -> int:
        return 128 + signal.SIGKILL if self._code is None else self._code

    # --- what happens -----------------------------------------------------------------------------

    def _wait(self, seconds: float | None) -> None:
        """Wait until a child ends or somebody asks for something, for `seconds` at most."""
        self._listen(seconds)
        self._reap()

    def _listen(self, seconds: float | None) -> None:
        for descriptor, _ in self._poll.poll(None if seconds is None else 1000 * seconds):
            if descriptor == self._wakeup:
                for number in os.read(self._wakeup, 4096):
                    self._ask(_ASKED_BY_SIGNAL.get(number, b""))
            else:
                asked = self._engine.hear()
                if not asked:
                    self._poll.unregister(descriptor)
                self._ask(asked or STOP)  # without an engine nobody waits for the command

    def _ask(self, asked: bytes) -> None:
        if asked and self._asked != KILL:
            self._asked = asked

    def _reap(self) -> None:
        """Reap every child that has ended; note whether one is left, and the leader's exit code."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                self._killed.discard(pid)  # the next one may get its number
                if pid == self._leader and self._code is None:
                    code = os.waitstatus_to_exitcode(status)
                    self._code = code if code >= 0 else 128 - code
        except ChildProcessError:
            self._has_children = False


def _signal(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        if kin.send(pid, number):
            kin.send(pid, signal.SIGCONT)  # a stopped process would not see it


def _signals_as_bytes() -> int:
    """Return a pipe that gives the number of each signal that comes, as a byte."""
    source, sink = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    for number in (signal.SIGCHLD, *_ASKED_BY_SIGNAL):
        signal.signal(number, _note)
    signal.set_wakeup_fd(sink, warn_on_full_buffer=False)
    return source


def _note(number: int, frame: object) -> None:
    """Do nothing: the byte in the pipe tells it."""


def _target_of(descriptor: int) -> str:
    """Return how the kernel names what a descriptor of ours leads to."""
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:  # it is closed
        return ""


def _let_go_of_standard_streams() -> None:
    """Let the command's pipes end when the command does."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.close(null)
