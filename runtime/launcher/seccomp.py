"""The seccomp filter: which sockets a command may open, and that it leaves its engine alone.

Source: seccomp(2), bpf(4), and each machine's table of system calls.
"""

import ctypes
import os
import struct

from .system import call

AF_INET, AF_INET6, AF_NETLINK = 2, 10, 16

# machine -> (AUDIT_ARCH, its table, has a second table of system calls)
_MACHINES = {
    "x86_64": (0xC000003E, 0, True),
    "aarch64": (0xC00000B7, 1, False),
    "riscv64": (0xC00000F3, 1, False),
}
# name -> its number in the table of x86_64, and in that of the other machines
_NUMBERS = {
    "fcntl": (72, 25),
    "io_uring_setup": (425, 425),
    "ioctl": (16, 29),
    "ioprio_set": (251, 30),
    "kill": (62, 129),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "prlimit64": (302, 261),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "setpriority": (141, 140),
    "socket": (41, 198),
    "tgkill": (234, 131),
    "tkill": (200, 130),
}
# Calls that can change another process of the same user. They stay allowed for the caller
# itself, which is named by zeros: (name, what each of its first arguments must be).
_FOR_ITSELF = (
    ("prlimit64", (0,)),
    ("sched_setaffinity", (0,)),
    ("sched_setattr", (0,)),
    ("sched_setparam", (0,)),
    ("sched_setscheduler", (0,)),
    ("migrate_pages", (0,)),
    ("move_pages", (0,)),
    ("setpriority", (0, 0)),  # PRIO_PROCESS
    ("ioprio_set", (1, 0)),  # IOPRIO_WHO_PROCESS
)
_BY_PID = ("kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_open")
_OWNERS = (  # they have the kernel send a signal to whom they name
    ("fcntl", (8, 15)),  # F_SETOWN, F_SETOWN_EX
    ("ioctl", (0x8901, 0x8902)),  # FIOSETOWN, SIOCSPGRP
)
_X32 = 0x40000000
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # BPF_LD|W|ABS, JEQ, JGE, RET
_ALLOW, _EPERM, _KILL_PROCESS = 0x7FFF0000, 0x00050001, 0x80000000
_NR, _ARCH, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data, little endian
_ALL = 0xFFFFFFFF

_SET_SECCOMP = 22  # sys/prctl.h
_SECCOMP_MODE_FILTER = 2

_Instruction = tuple[int, int, "int | str | None", "int | str | None"]


def is_known(machine: str) -> bool:
    """Say whether the numbers of this machine's system calls are known here."""
    return machine in _MACHINES


def program(
    machine: str,
    *,
    families: tuple[int, ...] | None,
    for_itself: bool = False,
    spared: tuple[int, ...] = (),
) -> bytes:
    """Return the BPF program that refuses (EPERM) what a command may not call.

    System calls of another architecture than `machine` end the process.

    Args:
        families: the families of sockets that it may open; None: all. Socket pairs stay.
        for_itself: refuse to change the limits and the scheduling of any process but the
            caller, for where the engine can be seen.
        spared: pids that no signal may be sent to, for where the kernel cannot see to it.
    """
    arch, table, has_x32 = _MACHINES[machine]

    def number(name: str) -> int:
        return _NUMBERS[name][table]

    code: list[_Instruction] = [
        (_LOAD, _ARCH, None, None),
        (_EQUAL, arch, None, "kill"),
        (_LOAD, _NR, None, None),
    ]
    if has_x32:
        code.append((_AT_LEAST, _X32, "refuse", None))
    if families is not None:
        code.append((_EQUAL, number("io_uring_setup"), "refuse", None))
        code += _call_block(number("socket"), [(0, families)])
    if for_itself:
        for name, wanted in _FOR_ITSELF:
            code += _call_block(number(name), [(at, (value,)) for at, value in enumerate(wanted)])
    if spared:
        unwanted = (*spared, *(_ALL + 1 - pid for pid in spared), _ALL)  # pids, groups, everyone
        for name in _BY_PID:
            code += _call_block(number(name), [(0, unwanted)], refuse_these=True)
        code.append((_EQUAL, number("pidfd_send_signal"), "refuse", None))
        for name, commands in _OWNERS:
            code += _call_block(number(name), [(1, commands)], refuse_these=True)
    code.append((_RETURN, _ALLOW, None, None))
    code.append((_RETURN, _EPERM, None, None))
    code.append((_RETURN, _KILL_PROCESS, None, None))
    return _encoded(code)


def _call_block(
    number: int, checks: list[tuple[int, tuple[int, ...]]], *, refuse_these: bool = False
) -> list[_Instruction]:
    """Return what judges one system call: each argument of `checks` must be one of its values.

    With `refuse_these`, it must be none of them. The number is loaded before and after.
    """
    body: list[_Instruction] = []
    for index, (argument, values) in enumerate(checks):
        body.append((_LOAD, _ARGUMENTS + 8 * argument, None, None))
        is_last = index == len(checks) - 1
        if refuse_these:
            body += [(_EQUAL, value, "refuse", None) for value in values]
        else:
            for at, value in enumerate(values):
                good = "allow" if is_last else len(values) - at - 1
                body.append((_EQUAL, value, good, None if at + 1 < len(values) else "refuse"))
            if not values:
                body.append((_EQUAL, 0, "refuse", "refuse"))
    if refuse_these:
        body.append((_EQUAL, 0, "allow", "allow"))
    return [(_EQUAL, number, None, len(body)), *body]


def _encoded(code: list[_Instruction]) -> bytes:
    """Return the program with its jumps: names mean the last three instructions."""
    named = {"allow": len(code) - 3, "refuse": len(code) - 2, "kill": len(code) - 1}
    encoded = b""
    for index, (operation, operand, if_true, if_false) in enumerate(code):
        jumps = (
            named[to] - index - 1 if isinstance(to, str) else to or 0 for to in (if_true, if_false)
        )
        encoded += struct.pack("=HBBI", operation, *jumps, operand)
    return encoded


def install(code: bytes) -> None:
    """Put the filter on this process and all that it starts, for ever. No new privileges first.

    Raises:
        OSError: it could not be.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    instructions = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("@HP", len(code) // 8, ctypes.addressof(instructions))
    call("prctl(PR_SET_SECCOMP)", libc.prctl, _SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0)


def this_machine() -> str:
    """Return the name of this machine's architecture.

    Raises:
        OSError: its system calls are not known here.
    """
    machine = os.uname().machine
    if not is_known(machine):
        raise OSError(f"the system calls of {machine} are not known here")
    return machine
