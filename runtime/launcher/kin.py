"""Processes and what descends from them, as /proc shows them."""

from __future__ import annotations

import os

ENDED = (b"Z", b"X")  # states of a process that only waits to be reaped


def descendants(ancestor: int) -> list[int]:
    """Return the pids of all descendants, parents before children; zombies too."""
    found = children(ancestor)
    for pid in found:  # it grows while it is read
        found += children(pid)
    return found


def children(pid: int) -> list[int]:
    """Return the pids of a process's children: each of its threads may have some."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as listing:
                found += map(int, listing.read().split())
    except FileNotFoundError:
        if not _LISTS_CHILDREN:
            return _children_by_search(pid)
    except OSError:  # it ended meanwhile, or is hidden from us
        pass
    return found


def _children_by_search(parent: int) -> list[int]:
    """Find the children where the kernel does not list them (CONFIG_PROC_CHILDREN)."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [pid for pid in pids if (stat := status(pid)) is not None and stat[1] == parent]


def status(pid: int) -> tuple[bytes, int] | None:
    """Return a process's state and its parent's pid. Source: proc_pid_stat(5)."""
    stat = read(f"/proc/{pid}/stat")
    fields = stat[stat.rfind(b")") + 2 :].split(None, 2)  # a name may hold spaces and brackets
    return (fields[0], int(fields[1])) if len(fields) > 1 else None


def namespace() -> int:
    """Return what tells the pids that we see from those of another pid namespace."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:  # there is no /proc here
        return 0


def send(pid: int, number: int) -> bool:
    """Send a signal; say whether that was possible: it may have ended, or be another user's."""
    try:
        os.kill(pid, number)
    except OSError:
        return False
    return True


def command_line(pid: int) -> bytes:
    """Return a process's arguments, each with a NUL after it; nothing for a zombie."""
    return read(f"/proc/{pid}/cmdline", 4096)


def read(path: str, limit: int = -1) -> bytes:
    """Return the content of a file of /proc, at most `limit` bytes; nothing without one."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(limit) or b""
    except OSError:  # it ended meanwhile, or is another user's
        return b""


_LISTS_CHILDREN = os.path.exists(f"/proc/self/task/{os.getpid()}/children")
