"""Confines the calling process by landlock and seccomp. The filter is also given to bubblewrap.

Source: landlock(7) and linux/landlock.h for numbers, seccomp(2) and bpf(4) for the filter,
capabilities(7) for what root keeps.
"""

import ctypes
import os
import stat
import struct

from .system import call

MINIMUM_ABI = 3  # before it (Linux 6.2), a file could be truncated anywhere
KEPT_CAPABILITIES = {"CAP_CHOWN": 0, "CAP_DAC_OVERRIDE": 1, "CAP_FOWNER": 3, "CAP_FSETID": 4}

AF_INET, AF_INET6, AF_NETLINK = 2, 10, 16

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

# sys/prctl.h and linux/capability.h
_SET_SECCOMP, _SET_NO_NEW_PRIVS = 22, 38
_SECCOMP_MODE_FILTER = 2
_CAPABILITY_VERSION_3 = 0x20080522

# machine -> (AUDIT_ARCH, socket, has a second table of system calls)
_MACHINES = {
    "x86_64": (0xC000003E, 41, True),
    "aarch64": (0xC00000B7, 198, False),
    "riscv64": (0xC00000F3, 198, False),
}
_IO_URING_SETUP = 425  # could open sockets unseen
_X32 = 0x40000000
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # BPF_LD|W|ABS, JEQ, JGE, RET
_ALLOW, _EPERM, _KILL_PROCESS = 0x7FFF0000, 0x00050001, 0x80000000
_NR, _ARCH, _ARGUMENT_0 = 0, 4, 16  # offsets in struct seccomp_data, little endian


def socket_filter(machine: str, families: tuple[int, ...]) -> bytes | None:
    """Return the BPF program that refuses (EPERM) every socket but those of `families`.

    Socket pairs stay. System calls of another architecture than `machine` end the process.
    None: the system call numbers of this machine are not known here.
    """
    if machine not in _MACHINES:
        return None
    arch, socket, has_x32 = _MACHINES[machine]
    # (code, operand, target if true, target if false); None falls through
    program: list[tuple[int, int, str | None, str | None]] = [
        (_LOAD, _ARCH, None, None),
        (_EQUAL, arch, None, "kill"),
        (_LOAD, _NR, None, None),
    ]
    if has_x32:
        program.append((_AT_LEAST, _X32, "refuse", None))
    program += [
        (_EQUAL, _IO_URING_SETUP, "refuse", None),
        (_EQUAL, socket, None, "allow"),
        (_LOAD, _ARGUMENT_0, None, None),
        *((_EQUAL, family, "allow", None) for family in families),
    ]
    refuse = len(program)
    targets = {"refuse": refuse, "allow": refuse + 1, "kill": refuse + 2}
    program += [
        (_RETURN, _EPERM, None, None),
        (_RETURN, _ALLOW, None, None),
        (_RETURN, _KILL_PROCESS, None, None),
    ]
    encoded = b""
    for index, (code, operand, if_true, if_false) in enumerate(program):
        jumps = (targets[to] - index - 1 if to is not None else 0 for to in (if_true, if_false))
        encoded += struct.pack("=HBBI", code, *jumps, operand)
    return encoded


def readable_around(hidden: list[str]) -> list[str]:
    """Return paths that cover all that is not `hidden`: the siblings on the way to each of them.

    Landlock can only grant, and a grant holds for everything below it.
    """
    ancestors: set[str] = set()
    for path in hidden:
        folder: str = path
        while folder != "/":
            folder = os.path.dirname(folder)
            ancestors.add(folder)
    covered: list[str] = []
    for folder in sorted(ancestors):
        try:
            entries = list(os.scandir(folder))
        except OSError:
            continue
        covered += [
            entry.path
            for entry in entries
            if entry.path not in ancestors and entry.path not in hidden and not entry.is_symlink()
        ]
    return covered


def confine(writable: list[str], hidden: list[str], *, network: bool) -> None:
    """Confine this process and all that it starts, for ever.

    Args:
        writable: what may be written, with all that is below.
        hidden: what may not be read.
        network: whether it may use sockets.

    Raises:
        OSError: a step failed. The process may be confined in part: it must not go on.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    call("prctl(PR_SET_NO_NEW_PRIVS)", libc.prctl, _SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _restrict_files(libc, writable, hidden, network)
    if not network:
        _restrict_sockets(libc)
    if os.geteuid() == 0:
        _drop_capabilities(libc)


def _restrict_files(
    libc: ctypes.CDLL, writable: list[str], hidden: list[str], network: bool
) -> None:
    abi = libc.syscall(_CREATE_RULESET, None, ctypes.c_long(0), ctypes.c_long(1))
    if abi < MINIMUM_ABI:
        raise OSError(
            f"landlock is missing or old (ABI {abi}; {MINIMUM_ABI}, of Linux 6.2, is needed)"
        )
    everything = (_IOCTL_DEV if abi >= 5 else _TRUNCATE) * 2 - 1
    handled = everything & ~(_EXECUTE | _READ_DIR | (0 if hidden else _READ_FILE))
    tcp = 0 if network else _BIND_TCP | _CONNECT_TCP
    attributes = struct.pack("=QQQ", handled, tcp, _SCOPE_ABSTRACT_UNIX | _SCOPE_SIGNAL)
    known = 8 if abi < 4 else 16 if abi < 6 else 24  # bytes of it that this kernel knows
    ruleset = call(
        "landlock_create_ruleset", libc.syscall, _CREATE_RULESET, attributes[:known], known, 0
    )
    for path in writable:
        _grant(libc, ruleset, path, handled & ~_DEVICES)
    for path in _WRITABLE_DEVICES:
        _grant(libc, ruleset, path, handled & _OF_FILES)
    if hidden:
        for path in readable_around(hidden):
            _grant(libc, ruleset, path, _READ_FILE)
    call("landlock_restrict_self", libc.syscall, _RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _grant(libc: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # what is not there needs no right
        return
    if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
        rights &= _OF_FILES
    rule = struct.pack("=Qi", rights, descriptor)
    what = f"landlock_add_rule({path})"
    call(what, libc.syscall, _ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0)
    os.close(descriptor)


def _restrict_sockets(libc: ctypes.CDLL) -> None:
    machine = os.uname().machine
    program = socket_filter(machine, ())
    if program is None:
        raise OSError(f"the network cannot be closed on {machine}")
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    call("prctl(PR_SET_SECCOMP)", libc.prctl, _SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0)


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    current = ctypes.create_string_buffer(24)
    call("capget", libc.capget, header, current)
    permitted = struct.unpack("=6I", current.raw)[1]
    kept = permitted & sum(1 << number for number in KEPT_CAPABILITIES.values())
    call("capset", libc.capset, header, struct.pack("=6I", kept, kept, 0, 0, 0, 0))
