"""The seccomp filter, run by a small machine of our own."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from turnlog.runtime.launcher.seccomp import is_known, program

ALLOWED, REFUSED, KILLED = 0x7FFF0000, 0x00050001, 0x80000000
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7, "riscv64": 0xC00000F3}
SOCKET = {"x86_64": 41, "aarch64": 198, "riscv64": 198}
LIMITS = {"x86_64": 302, "aarch64": 261, "riscv64": 261}
PRIORITY = {"x86_64": 141, "aarch64": 140, "riscv64": 140}
KILL = {"x86_64": 62, "aarch64": 129, "riscv64": 129}
FCNTL = {"x86_64": 72, "aarch64": 25, "riscv64": 25}
SEND_BY_DESCRIPTOR = 424
MACHINES = st.sampled_from(sorted(ARCHITECTURES))
INTEGERS = st.integers(min_value=0, max_value=2**32 - 1)
PIDS = st.integers(min_value=-5, max_value=5)
EVERYONE = 2**32 - 1


def verdict(code: bytes, *, arch: int, number: int, arguments: tuple[int, ...] = ()) -> int:
    """Run a classic BPF program over one system call. Source: bpf(4), struct seccomp_data."""
    padded = [argument % 2**64 for argument in (*arguments, *[0] * (6 - len(arguments)))]
    data = struct.pack("<IIQ6Q", number, arch, 0, *padded)
    instructions = list(struct.iter_unpack("=HBBI", code))
    at = value = 0
    while True:
        operation, if_true, if_false, operand = instructions[at]
        at += 1
        match operation:
            case 0x20:
                (value,) = struct.unpack_from("<I", data, operand)
            case 0x15:
                at += if_true if value == operand else if_false
            case 0x35:
                at += if_true if value >= operand else if_false
            case 0x06:
                return int(operand)
            case _:
                raise AssertionError(f"unknown instruction {operation:#x}")


@given(
    machine=MACHINES,
    arch=st.sampled_from(list(ARCHITECTURES.values())) | INTEGERS,
    number=st.sampled_from([41, 53, 198, 199, 425, 0x40000000 + 41]) | INTEGERS,
    family=st.integers(min_value=0, max_value=45),
    families=st.none() | st.lists(st.integers(1, 45), max_size=3, unique=True),
)
def test_the_filter_lets_all_pass_but_other_sockets(
    machine: str, arch: int, number: int, family: int, families: list[int] | None
) -> None:
    if arch != ARCHITECTURES[machine]:
        expected = KILLED
    elif machine == "x86_64" and number >= 0x40000000:
        expected = REFUSED
    elif families is None:
        expected = ALLOWED
    elif number == 425:
        expected = REFUSED
    elif number == SOCKET[machine]:
        expected = ALLOWED if family in families else REFUSED
    else:
        expected = ALLOWED
    # A family is a C int: what is in the other half of the argument does not count.
    argument = family | 7 << 32
    code = program(machine, families=None if families is None else tuple(families))
    assert verdict(code, arch=arch, number=number, arguments=(argument,)) == expected


@given(MACHINES, PIDS, PIDS)
def test_only_its_own_limits_and_scheduling_can_be_changed(
    machine: str, first: int, second: int
) -> None:
    arch = ARCHITECTURES[machine]
    code = program(machine, families=None, for_itself=True)
    limits = verdict(code, arch=arch, number=LIMITS[machine], arguments=(first, second))
    assert limits == (ALLOWED if first == 0 else REFUSED)
    priority = verdict(code, arch=arch, number=PRIORITY[machine], arguments=(first, second))
    assert priority == (ALLOWED if (first, second) == (0, 0) else REFUSED)
    plain = program(machine, families=None)
    assert verdict(plain, arch=arch, number=LIMITS[machine], arguments=(first,)) == ALLOWED


@given(MACHINES, PIDS, st.lists(st.integers(2, 5), min_size=1, max_size=3, unique=True))
def test_those_who_are_spared_get_no_signal(machine: str, pid: int, spared: list[int]) -> None:
    arch = ARCHITECTURES[machine]
    code = program(machine, families=None, for_itself=True, spared=tuple(spared))
    is_refused = pid == -1 or abs(pid) in spared
    killed = verdict(code, arch=arch, number=KILL[machine], arguments=(pid, 9))
    assert killed == (REFUSED if is_refused else ALLOWED)
    for command, expected in ((8, REFUSED), (15, REFUSED), (4, ALLOWED)):
        asked = verdict(code, arch=arch, number=FCNTL[machine], arguments=(3, command, pid))
        assert asked == expected
    by_descriptor = verdict(code, arch=arch, number=SEND_BY_DESCRIPTOR, arguments=(3, 9))
    assert by_descriptor == REFUSED


def test_a_machine_that_is_not_known_is_told() -> None:
    assert [is_known(machine) for machine in (*ARCHITECTURES, "vax")] == [True, True, True, False]
