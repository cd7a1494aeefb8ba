"""The launcher: its socket filter, run by a small machine of our own, and what it hides."""

import struct
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from turnlog.runtime.launcher.landlock import readable_around, socket_filter

ALLOWED, REFUSED, KILLED = 0x7FFF0000, 0x00050001, 0x80000000
MACHINES = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198), "riscv64": (0xC00000F3, 198)}
NUMBERS = st.integers(min_value=0, max_value=2**32 - 1)


def verdict(program: bytes, *, arch: int, number: int, argument: int) -> int:
    """Run a classic BPF program over one system call. Source: bpf(4), struct seccomp_data."""
    data = struct.pack("<IIQQ", number, arch, 0, argument)
    instructions = list(struct.iter_unpack("=HBBI", program))
    at = value = 0
    while True:
        code, if_true, if_false, operand = instructions[at]
        at += 1
        match code:
            case 0x20:
                (value,) = struct.unpack_from("<I", data, operand)
            case 0x15:
                at += if_true if value == operand else if_false
            case 0x35:
                at += if_true if value >= operand else if_false
            case 0x06:
                return int(operand)
            case _:
                raise AssertionError(f"unknown instruction {code:#x}")


@given(
    machine=st.sampled_from(sorted(MACHINES)),
    arch=st.sampled_from([each[0] for each in MACHINES.values()]) | NUMBERS,
    number=st.sampled_from([41, 53, 198, 199, 425, 0x40000000 + 41]) | NUMBERS,
    family=st.integers(min_value=0, max_value=45),
    families=st.lists(st.integers(min_value=1, max_value=45), max_size=3, unique=True),
)
def test_the_filter_lets_all_pass_but_other_sockets(
    machine: str, arch: int, number: int, family: int, families: list[int]
) -> None:
    own_arch, socket = MACHINES[machine]
    if arch != own_arch:
        expected = KILLED
    elif number == 425 or (machine == "x86_64" and number >= 0x40000000):
        expected = REFUSED
    elif number == socket:
        expected = ALLOWED if family in families else REFUSED
    else:
        expected = ALLOWED
    # A family is a C int: what stands in the other half of the argument does not count.
    argument = family | 7 << 32
    program = socket_filter(machine, tuple(families))
    assert program is not None
    assert verdict(program, arch=arch, number=number, argument=argument) == expected


def test_no_filter_is_made_for_a_machine_that_is_not_known() -> None:
    assert socket_filter("vax", ()) is None


def test_everything_but_the_hidden_is_covered(tmp_path: Path) -> None:
    for name in ("home/store", "home/work", "home/notes", "other"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "home" / "link").symlink_to("store")
    hidden = str(tmp_path / "home" / "store")
    covered = [path for path in readable_around([hidden]) if path.startswith(f"{tmp_path}/")]
    assert sorted(covered) == [
        str(tmp_path / name) for name in ("home/notes", "home/work", "other")
    ]
    assert not any(hidden.startswith(f"{path}/") for path in readable_around([hidden]))
