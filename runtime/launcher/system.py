"""Calls into the kernel that the `os` module does not have."""

from __future__ import annotations

import ctypes
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:  # the launcher's start does not pay for typing
    from collections.abc import Callable

# sys/prctl.h
_SET_PDEATHSIG, _SET_CHILD_SUBREAPER = 1, 36

# openat2(2)
_OPENAT2 = 437  # the same on every machine
_AT_FDCWD, _RESOLVE_NO_SYMLINKS = -100, 0x04


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


def open_plain(path: str) -> int:
    """Return a descriptor that names what is at `path`, without a link anywhere on the way.

    Raises:
        OSError: it is not there, or a part of the path is a link.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    how = struct.pack("=QQQ", os.O_PATH | os.O_CLOEXEC, 0, _RESOLVE_NO_SYMLINKS)
    at = ctypes.c_long(_AT_FDCWD)
    return call(
        f"open {path}", libc.syscall, _OPENAT2, at, os.fsencode(path), how, ctypes.c_long(len(how))
    )


def close_descriptors(null: int) -> None:
    """Close all descriptors. The standard streams are `null` then, which leads nowhere."""
    for number in (0, 1, 2):
        os.dup2(null, number)
    limit = os.sysconf("SC_OPEN_MAX")
    os.closerange(3, limit if limit > 0 else 65_536)
