"""What an image holds of whatever can stand at a path."""

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnlog.protocol.files import FileEdit, FileImage, FileMark, digest_of, edits_of, mark_of
from turnlog.runtime.workspace.images import (
    content_of,
    image_in_place,
    image_of,
    images_after,
    images_of,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return Path(os.path.realpath(tmp_path))


def test_a_file_is_kept_as_text_or_else_as_base64(root: Path) -> None:
    (root / "text").write_bytes("ü\r\n\0".encode())
    (root / "binary").write_bytes(b"\xff")
    (root / "binary").chmod(0o4750)
    assert image_of(f"{root}/text") == FileImage(
        f"{root}/text", text="ü\r\n\0", mode=0o644, digest=digest_of("ü\r\n\0".encode())
    )
    assert image_of(f"{root}/binary") == FileImage(
        f"{root}/binary", base64="/w==", mode=0o750, digest=digest_of(b"\xff")
    )


@given(content=st.binary(max_size=50))
def test_the_content_comes_back_whatever_it_is(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(content)
    assert content_of(image_of(str(path))) == content


def test_a_link_is_kept_and_not_followed(root: Path) -> None:
    (root / "link").symlink_to("/etc/passwd")
    assert image_of(f"{root}/link") == FileImage(
        f"{root}/link", link="/etc/passwd", digest=digest_of(b"/etc/passwd")
    )


def test_folders_and_nothing_are_told_apart(root: Path) -> None:
    assert image_of(str(root)) == FileImage(str(root), folder=True, mode=0o700)
    (root / "a").write_text("")
    for missing in (f"{root}/b", f"{root}/a/b"):
        assert image_of(missing) == FileImage(missing, missing=True)


def test_pipes_sockets_and_devices_are_not_opened(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(root / "pipe")
    monkeypatch.chdir(root)  # the path of a socket has to be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
    for path in (f"{root}/pipe", f"{root}/socket", "/dev/zero"):
        assert image_of(path) == FileImage(path, skipped="special")


def test_a_large_file_has_a_digest_up_to_a_limit(root: Path) -> None:
    path = f"{root}/a"
    Path(path).write_bytes(b"12345")
    large = FileImage(path, mode=0o644, digest=digest_of(b"12345"), skipped="too_large")
    assert image_of(path, 5).text == "12345"
    assert image_of(path, 4) == large
    assert image_of(path, 3, digest_limit=4) == FileImage(path, mode=0o644, skipped="too_large")


def test_a_name_that_is_no_utf_8_is_not_kept(root: Path) -> None:
    path = f"{root}/\udcff"
    Path(path).write_bytes(b"x")
    assert image_of(path) == FileImage(f"{root}/?", skipped="name")
    (root / "link").symlink_to("\udcff")
    assert image_of(f"{root}/link") == FileImage(f"{root}/link", skipped="name")


def test_a_path_that_no_file_can_have_is_unreadable(root: Path) -> None:
    for path in (f"{root}/a\0b", f"{root}/{'x' * 300}"):
        assert image_of(path) == FileImage(path, skipped="unreadable")


def test_a_kernel_file_that_says_it_is_empty_is_read_to_the_limit() -> None:
    assert image_of("/proc/self/status", 10, digest_limit=10).skipped == "too_large"


def test_images_cover_missing_folders_and_stand_under_the_path_without_links(root: Path) -> None:
    (root / "real").mkdir()
    (root / "link").symlink_to("real")
    assert images_of([f"{root}/link/d/e/a", f"{root}/real/d/e/a"]) == tuple(
        FileImage(f"{root}/real/{name}", missing=True) for name in ("d", "d/e", "d/e/a")
    )


def test_nothing_is_in_place_where_the_way_leads_through_a_link(root: Path) -> None:
    (root / "real").mkdir()
    (root / "real" / "a").write_text("1")
    (root / "link").symlink_to("real")
    path = f"{root}/link/a"
    assert image_in_place(path) == FileImage(path, missing=True)


def test_an_edit_pairs_what_was_with_what_is(root: Path) -> None:
    (root / "a").write_text("1")
    before = images_of([f"{root}/a", f"{root}/d/b"])
    (root / "a").write_text("2")
    (root / "a").chmod(0o755)
    assert edits_of(before, images_after(before, {f"{root}/a": b"2"})[:2]) == (
        FileEdit(before[0], FileMark("file", digest_of(b"2"), 0o755)),
        FileEdit(before[1], FileMark("missing")),
        FileEdit(before[2], None),
    )


def test_a_file_that_is_neither_as_before_nor_as_written_is_in_doubt(root: Path) -> None:
    for name in ("as_before", "as_written", "neither"):
        (root / name).write_text(name)
    paths = [f"{root}/{name}" for name in ("as_before", "as_written", "neither")]
    before = images_of(paths)
    (root / "as_written").write_text("new")
    (root / "neither").write_text("theirs")
    after = images_after(before, dict.fromkeys(paths, b"new"))
    assert [image.skipped for image in after] == [None, None, "changing"]
    assert mark_of(after[2]) == FileMark("unknown", mode=0o644)
