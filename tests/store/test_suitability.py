"""Where a store may be."""

import ctypes
from pathlib import Path

import pytest

from tests.errors import raises_code
from turnlog.protocol.error_codes import ErrorCode
from turnlog.runtime.store.lmdb.log import open_log
from turnlog.runtime.store.lmdb.suitability import (
    NETWORK_FILE_SYSTEMS,
    file_system_magic,
    network_file_system,
)

LOCAL = {
    "ext4": 0xEF53,
    "xfs": 0x58465342,
    "btrfs": 0x9123683E,
    "tmpfs": 0x01021994,
    "overlay": 0x794C7630,
    "zfs": 0x2FC12FC1,
}


@pytest.mark.parametrize("magic", NETWORK_FILE_SYSTEMS)
def test_network_file_systems_are_known_with_either_sign(magic: int) -> None:
    name = NETWORK_FILE_SYSTEMS[magic]
    assert network_file_system(magic) == name
    assert network_file_system(ctypes.c_int32(magic).value) == name


@pytest.mark.parametrize("name", LOCAL)
def test_local_file_systems_are_let_through(name: str) -> None:
    assert network_file_system(LOCAL[name]) is None


def test_the_magic_is_the_kernels() -> None:
    assert file_system_magic(Path("/proc")) == 0x9FA0
    with pytest.raises(FileNotFoundError):
        file_system_magic(Path("/nowhere"))


def entries(folder: Path) -> list[Path]:
    return [*folder.iterdir()]


async def refusal(path: Path, *, read_only: bool = False) -> str:
    with raises_code(ErrorCode.STORE_UNSUITABLE) as caught:
        async with open_log(path, read_only=read_only):
            pass
    return str(caught.value)


async def test_a_network_file_system_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    magic = file_system_magic(tmp_path)
    monkeypatch.setitem(NETWORK_FILE_SYSTEMS, magic, "a file system far away")
    said = await refusal(tmp_path / "store")
    assert "a file system far away" in said
    assert "TURNLOG_HOME" in said


async def test_a_file_where_a_folder_should_be_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert "is a file" in await refusal(file)
    assert "cannot hold a store" in await refusal(file / "store")
    (tmp_path / "store" / "data.mdb").mkdir(parents=True)
    assert "cannot be opened" in await refusal(tmp_path / "store")


async def test_a_place_that_cannot_be_written_is_refused() -> None:
    said = await refusal(Path("/proc/store"))
    assert "cannot hold a store" in said


async def test_a_read_only_log_makes_nothing(tmp_path: Path) -> None:
    assert "there is no store" in await refusal(tmp_path / "store", read_only=True)
    assert entries(tmp_path) == []
