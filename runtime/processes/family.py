"""Everything that a command started, however far it ran away, and how it is ended.

A process belongs to the command whose leader is `root` when it

* is in the leader's session or group, or
* descends from a process that belongs to it, or
* lost its parents, so became our child (we are a child subreaper), and still has about it what
  the command was given: the mark in its environment, or the pipe for its output. That finds what
  called `setsid` before its parents ended.

Not found: a daemon that left the session, outlived its parents, cleared its environment and closed
its output, all four. The process namespace of the bubblewrap sandbox ends that one too.
"""

import ctypes
import os
import secrets
import signal
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Final, NamedTuple

import attrs
import trio

TERM_GRACE: Final = 0.5  # seconds from SIGTERM to SIGKILL
KILL_PATIENCE: Final = 5.0  # seconds; a process in an uninterruptible wait may outlast them

_VARIABLE: Final = "TURNLOG_COMMAND_ID"
_PR_SET_CHILD_SUBREAPER: Final = 36


@attrs.frozen
class Mark:
    """What a command's processes have about them, wherever they went."""

    number: str  # value of an environment variable: our name, and one for each command
    pipe: str  # how the kernel names what its output goes to

    @classmethod
    def make(cls, output: int) -> "Mark":
        """Return a new mark for a command that prints to the descriptor `output`."""
        number = "-".join((*map(str, this_engine()), secrets.token_hex(8)))
        return cls(number, os.readlink(f"/proc/self/fd/{output}"))

    def put_on(self, env: Mapping[str, str]) -> dict[str, str]:
        return {**env, _VARIABLE: self.number}

    def is_on(self, pid: int) -> bool:
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
        return self.state not in "ZX"


def become_subreaper() -> None:
    """Let orphaned descendants become children of this process. Source: prctl(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


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
    root: int,
    table: Mapping[int, Process],
    *,
    engine: int,
    is_ours: Callable[[int], bool],
) -> list[Process]:
    """Return the command's processes in `table`, in no particular order. Pure.

    Args:
        root: pid of the command's leader; it must not have been reaped, or may be another's.
        table: the processes there are.
        engine: our pid: the parent of orphans.
        is_ours: whether a process has the command's mark.
    """
    children: dict[int, list[Process]] = {}
    for process in table.values():
        children.setdefault(process.parent, []).append(process)
    found = {p.pid: p for p in table.values() if root in (p.pid, p.group, p.session)}
    for process in children.get(engine, ()):
        if process.pid not in found and process.is_alive and is_ours(process.pid):
            found[process.pid] = process
    unseen = list(found)
    while unseen:
        for child in children.get(unseen.pop(), ()):
            if child.pid not in found:
                found[child.pid] = child
                unseen.append(child.pid)
    return list(found.values())


def living_family(root: int, mark: Mark) -> list[Process]:
    """Return the command's processes that run. `root` must not have been reaped yet."""
    engine = os.getpid()
    if _has_ended(root) and (children := _children_of_this_process()) is not None:
        # What a dead leader left is among our own few children: no need to read all of /proc.
        near = {pid: process for pid in children if (process := read_process(pid)) is not None}
        if not any(
            process.is_alive and (root in (process.group, process.session) or mark.is_on(pid))
            for pid, process in near.items()
        ):
            _reap_adopted(near.values())
            return []
    table = read_processes()
    _reap_adopted(table.values())
    members = family(root, table, engine=engine, is_ours=mark.is_on)
    return [process for process in members if process.is_alive]


async def end_family(root: int, mark: Mark) -> list[int]:
    """End every process of a command: SIGTERM, a grace, SIGKILL. Not cancellable.

    Returns:
        The pids that still run after `KILL_PATIENCE`: processes in an uninterruptible wait, or of
        another user. Normally none.
    """
    members = living_family(root, mark)
    if not members:
        return []
    with trio.CancelScope(shield=True):
        _signal(root, members, signal.SIGTERM)
        _signal(root, members, signal.SIGCONT)  # a stopped process would not see it
        with trio.move_on_after(TERM_GRACE):
            await _all_ended(members)
        with trio.move_on_after(KILL_PATIENCE):
            while members := _settle(root, mark, members):
                _signal(root, members, signal.SIGKILL)
                await _all_ended(members)
    return [process.pid for process in members]


def _settle(root: int, mark: Mark, signalled: Iterable[Process]) -> list[Process]:
    """Reap those of `signalled` that are dead, and return what runs now."""
    for process in signalled:
        if process.pid != root:  # its owner waits for the leader
            _reap(process.pid)
    return living_family(root, mark)


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


async def _all_ended(members: Iterable[Process]) -> None:
    for process in members:
        await wait_for_exit(process.pid)


def _signal(root: int, members: Iterable[Process], number: signal.Signals) -> None:
    """Signal the leader's group at once, then each process that has left it."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(root, number)
    for process in members:
        if process.group != root:
            send_signal(process, number)


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


def _reap_adopted(processes: Iterable[Process]) -> None:
    """Reap dead children that we did not start.

    A child that we (or a library) started is in our session or leads its own, and its owner waits
    for it. Any other session means that it was adopted, and that nobody else will.
    """
    engine, own_session = os.getpid(), os.getsid(0)
    for process in processes:
        adopted = process.session not in (own_session, process.pid)
        if process.parent == engine and not process.is_alive and adopted:
            _reap(process.pid)


def _reap(pid: int) -> None:
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _has_ended(pid: int) -> bool:
    process = read_process(pid)
    return process is None or not process.is_alive


def _children_of_this_process() -> list[int] | None:
    """Return our children's pids; None where the kernel does not list them (proc_tid_children)."""
    children: list[int] = []
    try:
        for thread in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{thread}/children", "rb") as listing:
                children += map(int, listing.read().split())
    except OSError:
        return None
    return children


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:  # it ended meanwhile, or is another user's
        return b""
