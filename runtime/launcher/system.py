"""Calls into the kernel that the `os` module does not have."""

from __future__ import annotations

import ctypes
import os

TYPE_CHECKING = False
if TYPE_CHECKING:  # the launcher's start does not pay for typing
    from collections.abc import Callable

# sys/prctl.h
_SET_PDEATHSIG, _SET_CHILD_SUBREAPER = 1, 36


def call(what: str, function: Callable[..., int], *arguments: object) -> int:
    """Call into the kernel. Numbers are given as longs: ctypes would pass half a register."""
    longs = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result = function(*longs)
    if result < 0:
        raise OSError(f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


def become_subreaper() -> None:
    """Let descendants that lose their parents become children of this process."""
    libc = ctypes.CDLL(None, use_errno=True)
    call("prctl(PR_SET_CHILD_SUBREAPER)", libc.prctl, _SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_with_parent(number: int) -> None:
    """Get signal `number` when the thread that started this process ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    call("prctl(PR_SET_PDEATHSIG)", libc.prctl, _SET_PDEATHSIG, number, 0, 0, 0)
