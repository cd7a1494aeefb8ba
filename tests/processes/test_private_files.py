"""Files and folders with what sessions say: private whatever the umask is."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from turnlog.runtime.private_files import make_private_folder, open_private, write_private


@pytest.fixture(params=[0o000, 0o022, 0o177], autouse=True)
def umask(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    """Run the test under each of these umasks. Its folder is made before, under our own."""
    assert tmp_path.is_dir()
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_a_folder_and_the_parents_that_were_missing_are_private(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_private_folder(tmp_path / "a" / "b")
    make_private_folder(tmp_path / "a" / "b")
    assert [mode(tmp_path / name) for name in (".", "a", "a/b")] == [0o755, 0o700, 0o700]


def test_a_new_file_is_private_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    write_private(tmp_path / "new" / "file", b"text")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file"]
    assert (mode(tmp_path / "new"), mode(tmp_path / "new" / "file")) == (0o700, 0o600)
    assert (tmp_path / "new" / "file").read_bytes() == b"text"


def test_a_file_that_exists_keeps_its_mode_and_a_link_its_target(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"long ago")
    (tmp_path / "file").chmod(0o640)
    (tmp_path / "link").symlink_to("file")
    write_private(tmp_path / "link", b"now")
    assert (mode(tmp_path / "file"), (tmp_path / "file").read_bytes()) == (0o640, b"now")
    assert (tmp_path / "link").is_symlink()


def test_a_device_is_written_to_and_stays_one() -> None:
    write_private(Path("/dev/null"), b"text")
    assert Path("/dev/null").is_char_device()
    with pytest.raises(OSError, match="No space left on device"):
        write_private(Path("/dev/full"), b"text")
    assert Path("/dev/full").is_char_device()


def test_a_file_that_is_opened_to_be_overwritten_is_private_if_it_is_new(tmp_path: Path) -> None:
    for text in (b"one", b"two"):
        with open(tmp_path / "file", "wb", opener=open_private) as stream:
            stream.write(text)
    assert (tmp_path / "file").read_bytes() == b"two"
    assert mode(tmp_path / "file") & 0o177 == 0
