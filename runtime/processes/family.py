"""The command of an attendant that was killed: everything that it started, and how it is ended.

An attendant finds all by parentage. Without it its children become ours (we are a child subreaper),
and a process belongs to its command when it

* is in the session or group of the command's leader, or
* descends from a process that belongs to it, or
* became our child, and still carries what the command was given: the mark in its environment, or
  the pipe for its output. That finds a process that called `setsid`.

A process is not found if it has left the session, outlived its parents, cleared its environment and
closed its output, all four. So the result says that its attendant was lost.
"""

import os
import secrets
import signal
from collections.abc import Callable, Collection, Container, Iterable, Mapping
from contextlib import suppress
from typing import Final, NamedTuple

import attrs
import trio

from turnlog.runtime.launcher import kin
from turnlog.runtime.launcher.attend import KILL_PATIENCE

_VARIABLE: Final = "TURNLOG_COMMAND_ID"


@attrs.frozen
class Mark:
    """What all processes of a command carry, whatever session they are in."""

    number: str  # value of an environment variable: our name, and one for each command
    pipe: str  # how the kernel names what its output goes to

    @classmethod
    def make(cls, output: int) -> "Mark":
        """Return a new mark for a command that prints to the descriptor `output`."""
        number = "-".join((*map(str, this_engine()), secrets.token_hex(8)))
        return cls(number, os.readlink(f"/proc/self/fd/{output}"))

    def put_on(self, env: Mapping[str, str]) -> dict[str, str]:
        """Return `env` with the mark."""
        return {**env, _VARIABLE: self.number}

    def is_on(self, pid: int) -> bool:
        """Say whether a process carries the mark, or prints to the command's pipe."""
        variable = f"{_VARIABLE}={self.number}".encode()
        if variable in _read(f"/proc/{pid}/environ").split(b"\0"):
            return True
        with suppress(OSError):  # it ended meanwhile, or is another user's
            return self.pipe in (os.readlink(f"/proc/{pid}/fd/{number}") for number in (1, 2))
        return False


class EngineName(NamedTuple):
    """What tells an engine's process from all others on this machine."""

    namespace: int  # of its pid: a container has pids of its own
    pid: int
    started: int  # clock ticks since boot


def this_engine() -> EngineName:
    """Return the name of this process."""
    process = read_process(os.getpid())
    assert process is not None  # it is us
    return EngineName(os.stat("/proc/self/ns/pid").st_ino, process.pid, process.started)


def engine_of(pid: int) -> EngineName | None:
    """Return the engine that started the command which a process belongs to, by its environment."""
    begin = f"{_VARIABLE}=".encode()
    for variable in _read(f"/proc/{pid}/environ").split(b"\0"):
        if variable.startswith(begin):
            numbers = variable[len(begin) :].split(b"-")[:3]
            if len(numbers) == 3 and all(number.isdigit() for number in numbers):
                return EngineName(*map(int, numbers))
    return None


class Process(NamedTuple):
    """One line of the process table. Source: proc_pid_stat(5)."""

    pid: int
    state: str
    parent: int
    group: int
    session: int
    started: int  # clock ticks since boot; with `pid`, it names a process for ever

    @property
    def is_alive(self) -> bool:
        """Whether it still runs: it is not a zombie."""
        return self.state not in "ZX"


def read_process(pid: int) -> Process | None:
    """Return the process, a zombie too; None once it has been reaped."""
    stat = _read(f"/proc/{pid}/stat")
    if not stat:
        return None
    fields = stat[stat.rindex(b")") + 2 :].split(None, 20)  # a name may hold spaces and brackets
    return Process(pid, fields[0].decode(), *(int(fields[index]) for index in (1, 2, 3, 19)))


def read_processes() -> dict[int, Process]:
    """Return every process, by pid. About 20 us for each."""
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())
    return {process.pid: process for pid in pids if (process := read_process(pid)) is not None}


def family(
    roots: Container[int],
    table: Mapping[int, Process],
    *,
    engine: int,
    is_ours: Callable[[int], bool],
) -> list[Process]:
    """Return the command's processes in `table`, in no particular order. Pure.

    Args:
        roots: pids of those that the command's sessions are named after.
        table: the processes there are.
        engine: our pid: the parent of orphans.
        is_ours: whether a process has the command's mark.
    """

    def belongs(process: Process) -> bool:
        if process.pid in roots or process.group in roots or process.session in roots:
            return True
        return process.parent == engine and process.is_alive and is_ours(process.pid)

    found = [process for process in table.values() if belongs(process)]
    return found + descendants({process.pid for process in found}, table.values())


def descendants(
    ancestors: Collection[int],
    table: Iterable[Process],
    counts: Callable[[Process], bool] = lambda process: True,
) -> list[Process]:
    """Return the processes below some others, which are not among them. Pure.

    Args:
        ancestors: pids.
        table: the processes there are.
        counts: whether a process counts. What is below one that does not is left out, too.
    """
    children: dict[int, list[Process]] = {}
    for process in table:
        children.setdefault(process.parent, []).append(process)
    found: list[Process] = []
    seen, unseen = set(ancestors), list(ancestors)
    while unseen:
        for child in children.get(unseen.pop(), ()):
            if child.pid not in seen and counts(child):
                seen.add(child.pid)
                unseen.append(child.pid)
                found.append(child)
    return found


async def end_family(attendant: int, leader: int | None, mark: Mark) -> list[int]:
    """Kill every process of a command whose attendant has ended, but is not reaped yet.

    Not cancellable.

    Args:
        attendant: its pid; it is reaped by who started it.
        leader: the pid of the command's first process, where it is known.
        mark: the command's.

    Returns:
        The pids that still run after `KILL_PATIENCE`: processes in an uninterruptible wait, or of
        another user. Normally none.
    """
    roots = {attendant} if leader is None else {attendant, leader}
    living: list[Process] = []
    with trio.move_on_after(KILL_PATIENCE, shield=True):
        while True:
            members = family(roots, read_processes(), engine=os.getpid(), is_ours=mark.is_on)
            living = [process for process in members if process.is_alive]
            for process in living:
                send_signal(process, signal.SIGKILL)
            for process in living:
                await wait_for_exit(process.pid)
            for process in members:
                if process.pid != attendant:
                    _reap(process.pid)
            if not living:
                break
    return [process.pid for process in living]


async def reap_session(attendant: int) -> None:
    """Reap the children of ours in the session of an attendant that has ended, but is not reaped.

    bwrap ends as soon as it knows the exit code, and leaves us the first process of the namespace,
    which is about to end too. Waits for `KILL_PATIENCE` at most. Not cancellable.
    """
    with trio.move_on_after(KILL_PATIENCE, shield=True):
        for pid in kin.children(os.getpid()):
            process = read_process(pid)
            if pid != attendant and process is not None and process.session == attendant:
                await wait_for_exit(pid)
                _reap(pid)


async def wait_for_exit(pid: int) -> None:
    """Wait until a process has ended, and leave it to be reaped. Source: pidfd_open(2)."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        await trio.lowlevel.wait_readable(descriptor)
    finally:
        os.close(descriptor)


def _reap(pid: int) -> None:
    """Reap a process if it has ended, and is a child of ours."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def send_signal(process: Process, number: signal.Signals) -> bool:
    """Signal one process, unless it has ended. Return whether that is permitted."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        now = read_process(process.pid)
        if now is not None and now.started == process.started:  # else the pid is another's now
            signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        pass
    except PermissionError:
        return False
    finally:
        os.close(descriptor)
    return True


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:  # it ended meanwhile, or is another user's
        return b""
