"""Confines the calling process by landlock: what it may write, and what it may not read.

Source: landlock(7) and linux/landlock.h for numbers.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct

from .system import call, open_plain

TYPE_CHECKING = False
if TYPE_CHECKING:  # the launcher's start does not pay for typing
    from collections.abc import Iterable, Iterator

MINIMUM_ABI = 3  # before it (Linux 6.2), a file could be truncated anywhere
SCOPES_ABI = 6  # from it (Linux 6.12), signals to processes outside can be refused

# linux/landlock.h
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every machine
_RULE_PATH_BENEATH = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_CHAR, _MAKE_DIR = 1 << 4, 1 << 5, 1 << 6, 1 << 7
_MAKE_REG, _MAKE_SOCK, _MAKE_FIFO, _MAKE_BLOCK = 1 << 8, 1 << 9, 1 << 10, 1 << 11
_MAKE_SYM, _REFER, _TRUNCATE, _IOCTL_DEV = 1 << 12, 1 << 13, 1 << 14, 1 << 15
_BIND_TCP, _CONNECT_TCP = 1 << 0, 1 << 1
_SCOPE_ABSTRACT_UNIX, _SCOPE_SIGNAL = 1 << 0, 1 << 1
_DEVICES = _MAKE_CHAR | _MAKE_BLOCK  # nobody gets to make these
_OF_FILES = _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV  # what a rule for a file may name
_WRITABLE_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


class Rules:
    """What landlock is to grant. It cannot take back: what is granted holds for all below.

    `entries` are folders whose entries are granted one by one, but for those in `kept`: what is
    there can be changed, and nothing can be made or removed directly in such a folder.
    """

    def __init__(
        self,
        *,
        write: Iterable[str] = (),
        entries: Iterable[str] = (),
        kept: Iterable[str] = (),
        hidden: Iterable[str] = (),
        network: bool = False,
    ) -> None:
        self.write: tuple[str, ...] = tuple(write)
        self.entries: tuple[str, ...] = tuple(entries)
        self.hidden: tuple[str, ...] = tuple(hidden)
        self.kept: frozenset[str] = frozenset((*kept, *self.entries, *self.hidden))
        self.network = network

    def writable(self) -> Iterator[str]:
        """Yield what may be written with all that is below. Links are left out."""
        for path in self.write:
            if path not in self.kept:
                yield path
        for folder in self.entries:
            yield from (path for path in plain_entries(folder) if path not in self.kept)


def plain_entries(folder: str) -> list[str]:
    """Return the paths in a folder that are no links; none where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return [entry.path for entry in entries if not entry.is_symlink()]
    except OSError:
        return []


def readable_around(hidden: Iterable[str]) -> list[str]:
    """Return paths that cover all that is not `hidden`: the siblings on the way to each of them.

    Landlock can only grant, and a grant holds for everything below it.
    """
    hidden = frozenset(hidden)
    ancestors: set[str] = set()
    for path in hidden:
        folder: str = path
        while folder != "/":
            folder = os.path.dirname(folder)
            ancestors.add(folder)
    return [
        path
        for folder in sorted(ancestors)
        for path in plain_entries(folder)
        if path not in ancestors and path not in hidden
    ]


def abi() -> int:
    """Return the version of landlock that the kernel has; below 1 where it has none."""
    libc = ctypes.CDLL(None, use_errno=True)
    return int(libc.syscall(_CREATE_RULESET, None, ctypes.c_long(0), ctypes.c_long(1)))


def restrict(rules: Rules) -> None:
    """Confine this process and all that it starts, for ever. No new privileges first.

    Raises:
        OSError: a step failed. The process may be confined in part: it must not continue.
    """
    version = abi()
    if version < MINIMUM_ABI:
        raise OSError(
            f"landlock is missing or old (ABI {version}; {MINIMUM_ABI}, of Linux 6.2, is needed)"
        )
    libc = ctypes.CDLL(None, use_errno=True)
    everything = (_IOCTL_DEV if version >= 5 else _TRUNCATE) * 2 - 1
    handled = everything & ~(_EXECUTE | _READ_DIR | (0 if rules.hidden else _READ_FILE))
    tcp = 0 if rules.network else _BIND_TCP | _CONNECT_TCP
    attributes = struct.pack("=QQQ", handled, tcp, _SCOPE_ABSTRACT_UNIX | _SCOPE_SIGNAL)
    known = 8 if version < 4 else 16 if version < SCOPES_ABI else 24  # that this kernel knows
    ruleset = call(
        "landlock_create_ruleset", libc.syscall, _CREATE_RULESET, attributes[:known], known, 0
    )
    for path in rules.writable():
        _grant(libc, ruleset, path, handled & ~_DEVICES)
    for path in _WRITABLE_DEVICES:
        _grant(libc, ruleset, path, handled & _OF_FILES)
    for path in readable_around(rules.hidden):
        _grant(libc, ruleset, path, handled & _READ_FILE)
    call("landlock_restrict_self", libc.syscall, _RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _grant(libc: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    try:
        descriptor = open_plain(path)
    except OSError:  # what is not there, or is a link now, needs no right
        return
    if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
        rights &= _OF_FILES
    rule = struct.pack("=Qi", rights, descriptor)
    what = f"landlock_add_rule({path})"
    call(what, libc.syscall, _ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0)
    os.close(descriptor)
