"""Run a program on a machine that seems to lack landlock, or namespaces, or both.

    python -m tests.surroundings.without landlock namespaces -- turnlog demo

A seccomp filter answers the system calls as such a machine does: landlock is not there (ENOSYS),
as on an old kernel; namespaces are forbidden (EPERM), as in most containers. The program and all
that it starts live under it, and nobody can take it off. No privilege is needed.

Source: seccomp(2), bpf(4), landlock_create_ruleset(2), unshare(2), clone(2).
"""

import ctypes
import os
import struct
import sys
from collections.abc import Iterable, Sequence
from typing import Final, NoReturn

LANDLOCK: Final = "landlock"
NAMESPACES: Final = "namespaces"

# machine -> (AUDIT_ARCH, unshare, clone, setns)
_MACHINES: Final = {
    "x86_64": (0xC000003E, 272, 56, 308),
    "aarch64": (0xC00000B7, 97, 220, 268),
    "riscv64": (0xC00000F3, 97, 220, 268),
}
_LANDLOCK_CREATE_RULESET, _CLONE3 = 444, 435  # the same on every machine
_CLONE_NEW: Final = 0x7E020000  # mount, cgroup, uts, ipc, user, pid, network

_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06  # BPF_LD|W|ABS, JEQ, JSET, RET
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_NR, _ARCH, _ARGUMENT_0 = 0, 4, 16  # offsets in struct seccomp_data, little endian
_SET_SECCOMP, _SET_NO_NEW_PRIVS, _FILTER = 22, 38, 2


def filter_without(what: Iterable[str], machine: str) -> bytes:
    """Return the BPF program that takes `what` away.

    Raises:
        KeyError: the system call numbers of this machine are not known here.
    """
    arch, unshare, clone, setns = _MACHINES[machine]
    taken = set(what)
    blocks: list[list[tuple[int, int, int, int]]] = []  # each leaves the number loaded
    if LANDLOCK in taken:
        blocks.append(_answer(_LANDLOCK_CREATE_RULESET, _ENOSYS))
    if NAMESPACES in taken:
        # Its flags are reached by a pointer, which a filter cannot follow. The C library then takes
        # clone, whose flags it can see.
        blocks += [_answer(_CLONE3, _ENOSYS), _answer(setns, _EPERM)]
        blocks += [_answer_new(unshare), _answer_new(clone)]
    program = [(_LOAD, _ARCH, 0, 0), (_EQUAL, arch, 1, 0), (_RETURN, _ALLOW, 0, 0)]
    program += [(_LOAD, _NR, 0, 0)]
    program += [instruction for block in blocks for instruction in block]
    program += [(_RETURN, _ALLOW, 0, 0)]
    return b"".join(
        struct.pack("=HBBI", code, if_true, if_false, operand)
        for code, operand, if_true, if_false in program
    )


def _answer(number: int, error: int) -> list[tuple[int, int, int, int]]:
    return [(_EQUAL, number, 0, 1), (_RETURN, _ERRNO | error, 0, 0)]


def _answer_new(number: int) -> list[tuple[int, int, int, int]]:
    """Refuse the call if its first argument asks for a new namespace."""
    return [
        (_EQUAL, number, 0, 4),
        (_LOAD, _ARGUMENT_0, 0, 0),
        (_ANY_BIT, _CLONE_NEW, 0, 1),
        (_RETURN, _ERRNO | _EPERM, 0, 0),
        (_RETURN, _ALLOW, 0, 0),
    ]


def take_away(what: Iterable[str]) -> None:
    """Put this process, and all that it starts, under the filter.

    Raises:
        OSError: the kernel has no seccomp filters.
    """
    program = filter_without(what, os.uname().machine)
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    _prctl(libc, _SET_NO_NEW_PRIVS, ctypes.c_long(1), ctypes.c_long(0))
    _prctl(libc, _SET_SECCOMP, ctypes.c_long(_FILTER), header)


def _prctl(libc: ctypes.CDLL, option: int, *arguments: object) -> None:
    if libc.prctl(option, *arguments, ctypes.c_long(0), ctypes.c_long(0)) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def main(words: Sequence[str]) -> NoReturn:
    what, argv = _parse(words)
    take_away(what)
    os.execvp(argv[0], argv)


def _parse(words: Sequence[str]) -> tuple[list[str], list[str]]:
    if "--" in words:
        cut = words.index("--")
        what, argv = list(words[:cut]), list(words[cut + 1 :])
        if what and argv and {LANDLOCK, NAMESPACES}.issuperset(what):
            return what, argv
    sys.exit("usage: without.py [landlock] [namespaces] -- PROGRAM ...")


if __name__ == "__main__":
    main(sys.argv[1:])
