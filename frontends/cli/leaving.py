"""Leaving without waiting for anything, but with no process left behind."""

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from typing import NoReturn

from turnlog.runtime.processes.family import Process, read_processes

_ROUNDS = 20  # a process that is killed may just have started another


def leave_at_once(code: int) -> NoReturn:
    """Kill every descendant of this process, and end it. The log is whole at any moment.

    We are a child subreaper, so what has lost its parents is among our children, and is found.
    """
    for _ in range(_ROUNDS):
        living = [
            process for process in _descendants(read_processes().values()) if process.is_alive
        ]
        if not living:
            break
        for process in living:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, signal.SIGKILL)
    os._exit(code)


def _descendants(table: Iterable[Process]) -> list[Process]:
    children: dict[int, list[Process]] = {}
    for process in table:
        children.setdefault(process.parent, []).append(process)
    found: list[Process] = []
    unseen = [os.getpid()]
    while unseen:
        below = children.get(unseen.pop(), [])
        found += below
        unseen += [process.pid for process in below]
    return found
