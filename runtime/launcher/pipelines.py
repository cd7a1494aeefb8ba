"""Which processes still do a command's own work after its leader has ended. `working` is pure.

A shell waits for its last pipeline, but not for `>(...)`, nor for a process through which a script
sends its output (`exec > >(tee log)`). Such a process reads a pipe, and works until the pipe is
empty and it has finished. A process in the background reads /dev/null instead.

A reader works if nothing in the background feeds it: of `tail -f log | grep x &` neither does.
"""

from __future__ import annotations

import os
import stat

from . import kin


class Member:
    """One process of a command.

    Args:
        pid: its pid.
        parent: its parent's.
        reads: the pipe on its standard input, as the kernel names it; None if that is no pipe.
        writes: the pipes that it can write to.
        is_leaving: it has closed its standard input, as one does that is about to end.
    """

    def __init__(
        self,
        pid: int,
        parent: int,
        reads: str | None = None,
        writes: frozenset[str] = frozenset(),
        *,
        is_leaving: bool = False,
    ) -> None:
        self.pid = pid
        self.parent = parent
        self.reads = reads
        self.writes = writes
        self.is_leaving = is_leaving


def look(ignored: str) -> list[Member]:
    """Return this process's descendants that run, parents before children.

    Args:
        ignored: the standard input that all of them were given; it feeds no pipeline.
    """
    found: list[Member] = []
    for pid in kin.descendants(os.getpid()):
        known = kin.status(pid)
        if known is None or known[0] in kin.ENDED:
            continue
        try:
            targets, written = _descriptors(pid)
        except PermissionError:  # another user's: it is none of our pipeline
            found.append(Member(pid, known[1]))
            continue
        reads = targets.get("0", "")
        is_pipe = reads.startswith("pipe:") and reads != ignored
        found.append(
            Member(pid, known[1], reads if is_pipe else None, written, is_leaving=not reads)
        )
    return found


def _descriptors(pid: int) -> tuple[dict[str, str], frozenset[str]]:
    """Return where each descriptor of a process leads, and the pipes that it can write to.

    Raises:
        PermissionError: they are not ours to see.
    """
    folder = f"/proc/{pid}/fd"
    targets: dict[str, str] = {}
    written: set[str] = set()
    try:
        numbers = os.listdir(folder)
    except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
        return {}, frozenset()
    for number in numbers:
        try:
            target = targets[number] = os.readlink(f"{folder}/{number}")
            if target.startswith("pipe:") and os.lstat(f"{folder}/{number}").st_mode & stat.S_IWUSR:
                written.add(target)
        except (FileNotFoundError, ProcessLookupError):  # it was closed meanwhile
            continue
    return targets, frozenset(written)


def in_a_pipeline(members: list[Member]) -> set[int]:
    """Return the pids of those that read a pipe, and of what descends from them."""
    found: set[int] = set()
    for member in members:
        if member.reads is not None or member.parent in found:
            found.add(member.pid)
    return found


def working(members: list[Member]) -> set[int]:
    """Return the pids of those that are doing the command's work.

    Args:
        members: the command's processes, parents before children.
    """
    idle = {member.pid for member in members} - in_a_pipeline(members)
    while True:
        # By whom each pipe may still be filled, though nobody waits for it.
        fed = {pipe for member in members if member.pid in idle for pipe in member.writes}
        more = {
            member.pid
            for member in members
            if member.pid not in idle and (member.reads in fed or member.parent in idle)
        }
        if not more:
            return {member.pid for member in members} - idle
        idle |= more
