"""What commands changed, seen by comparing a workspace with the last look at it."""

import os
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workspace import trees
from tests.workspace.trees import Tree
from turnlog.protocol.files import FileEdit, FileImage, LeftOut, mark_of
from turnlog.runtime.workspace.apply import apply_restore
from turnlog.runtime.workspace.restore import plan_restore
from turnlog.runtime.workspace.scan import (
    ScanIndex,
    ScanLimits,
    Tracked,
    WorkspaceScan,
    index_of,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return Path(os.path.realpath(tmp_path))


def scanned(
    root: Path, known: ScanIndex | None = None, limits: ScanLimits | None = None
) -> tuple[WorkspaceScan, dict[str, FileImage]]:
    """Scan to the end; return the scan, and the images by their path in the root."""
    scan = WorkspaceScan(str(root), known or {}, limits or ScanLimits())
    images = [image for batch in scan.batches() for image in batch]
    return scan, {os.path.relpath(image.path, root): image for image in images}


def age(root: Path) -> None:
    """Wait until the clock can tell a change from what was there. No event says so."""
    newest = max(status.st_ctime_ns for path in root.rglob("*") for status in (path.lstat(),))
    while time.time_ns() - newest < 60_000_000:
        os.sched_yield()


def test_the_first_scan_gives_everything_and_the_second_nothing(root: Path) -> None:
    trees.write({"a": (b"1", 0o644), "d/b": (b"\xff", 0o755), "l": "a"}, root)
    first, images = scanned(root)
    assert {name: (image.text, image.base64, image.link) for name, image in images.items()} == {
        "a": ("1", None, None),
        "d/b": (None, "/w==", None),
        "l": (None, None, "a"),
    }
    second, again = scanned(root, first.index)
    assert (again, second.left_out) == ({}, ())


def test_a_file_that_is_known_and_settled_is_not_read_again(root: Path) -> None:
    (root / "a").write_text("1")
    age(root)
    first, _ = scanned(root)
    path = f"{root}/a"
    assert first.index[path].stamp
    forged = {path: Tracked(mark_of(FileImage(path, missing=True)), first.index[path].stamp)}
    assert scanned(root, forged)[1] == {}
    (root / "a").chmod(0o600)
    assert list(scanned(root, first.index)[1]) == ["a"]


def test_a_change_in_the_same_moment_and_of_the_same_size_is_seen(root: Path) -> None:
    for _ in range(20):
        (root / "a").write_text("1")
        first, _ = scanned(root)
        (root / "a").write_text("2")
        assert scanned(root, first.index)[1]["a"].text == "2"


ENTRIES = st.tuples(st.sampled_from([b"", b"1", b"2"]), trees.MODES) | trees.LINKS


@settings(max_examples=60, deadline=None)
@given(trees.trees(ENTRIES), trees.trees(ENTRIES))
def test_what_a_command_did_can_be_undone_by_two_scans(
    tmp_path_factory: pytest.TempPathFactory, before: Tree, after: Tree
) -> None:
    root = Path(os.path.realpath(tmp_path_factory.getbasetemp())) / "scanned"
    trees.write(before, root)
    as_before = trees.read(root)
    first, images = scanned(root)
    trees.write(after, root)
    _, changed = scanned(root, first.index)
    assert changed.keys() == {
        name for name in before | after if as_before.get(name) != trees.read(root).get(name)
    }
    edits = [
        FileEdit(images.get(name, FileImage(image.path, missing=True)), mark_of(image))
        for name, image in changed.items()
    ]
    assert not apply_restore(plan_restore(edits, roots=[str(root)])).failed
    assert trees.read(root) == as_before


def test_marks_from_a_log_serve_as_an_index(root: Path) -> None:
    trees.write(dict.fromkeys(("same", "changed", "gone"), (b"1", 420)), root)
    _, images = scanned(root)
    marks = {image.path: mark_of(image) for image in images.values()}
    (root / "changed").write_text("2")
    (root / "gone").unlink()
    (root / "new").write_text("1")
    _, later = scanned(root, index_of(marks))
    assert {name: image.text for name, image in later.items()} == {
        "changed": "2",
        "gone": None,
        "new": "1",
    }
    assert later["gone"].missing


def test_folders_that_tools_make_again_are_left_out_and_named(root: Path) -> None:
    for name in (".git/config", "node_modules/x", "d/node_modules/y", "venv/pyvenv.cfg", "a"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    (root / "CACHEDIR.TAG").write_text("")  # the root itself is wanted, whatever it says
    scan, images = scanned(root)
    assert set(images) == {"a", "CACHEDIR.TAG"}
    assert scan.left_out == (
        LeftOut("folders named .git are not covered", 1, (f"{root}/.git",)),
        LeftOut(
            "folders named node_modules are not covered",
            2,
            (f"{root}/node_modules", f"{root}/d/node_modules"),
        ),
        LeftOut("it is a cache or a virtual environment", 1, (f"{root}/venv",)),
    )


def reasons(scan: WorkspaceScan) -> Mapping[str, int]:
    return {left.reason: left.count for left in scan.left_out}


def test_each_limit_is_told(root: Path) -> None:
    for name in "abcdef":
        (root / name).write_text("12345")
    scan, images = scanned(root, limits=ScanLimits(max_files=2))
    assert (set(images), reasons(scan)) == ({"a", "b"}, {"there are more than 2 files": 4})
    scan, images = scanned(root, limits=ScanLimits(max_file_bytes=4))
    assert reasons(scan) == {"it is too large to be kept": 6}
    assert {image.skipped for image in images.values()} == {"too_large"}
    scan, images = scanned(root, limits=ScanLimits(max_total_bytes=10))
    assert reasons(scan) == {"all files have more than 10 bytes": 4}
    assert [image.text for image in images.values()] == ["12345"] * 2 + [None] * 4
    scan, images = scanned(root, limits=ScanLimits(max_seconds=-1))
    assert (images, reasons(scan)) == ({}, {"the time was over": 1})


def test_what_was_out_of_time_is_neither_gone_nor_forgotten(root: Path) -> None:
    (root / "a").write_text("1")
    first, _ = scanned(root)
    (root / "a").unlink()
    late, images = scanned(root, first.index, ScanLimits(max_seconds=-1))
    assert (images, late.index) == ({}, first.index)
    assert scanned(root, late.index)[1] == {"a": FileImage(f"{root}/a", missing=True)}


def test_a_file_that_was_not_kept_shows_when_it_is_changed(root: Path) -> None:
    (root / "a").write_text("12345")
    age(root)
    limits = ScanLimits(max_file_bytes=4)
    first, _ = scanned(root, limits=limits)
    second, images = scanned(root, first.index, limits)
    assert (images, reasons(second)) == ({}, {"it is too large to be kept": 1})
    (root / "a").write_text("54321")
    assert list(scanned(root, first.index, limits)[1]) == ["a"]


def test_batches_are_small(root: Path) -> None:
    for name in "abcdef":
        (root / name).write_text("12345")
    scan = WorkspaceScan(str(root), limits=ScanLimits(batch_bytes=10))
    assert [len(batch) for batch in scan.batches()] == [2, 2, 2]


def test_odd_names_links_and_pipes_do_no_harm(root: Path) -> None:
    (root / "loop").symlink_to(".")
    os.mkfifo(root / "pipe")
    Path(f"{root}/\udcff").write_text("")
    scan, images = scanned(root)
    assert {name: image.link for name, image in images.items()} == {"loop": ".", "pipe": None}
    assert scan.left_out == (
        LeftOut("it is a device, a pipe or a socket", 1, (f"{root}/pipe",)),
        LeftOut("its name, or what it links to, is not UTF-8", 1, (f"{root}/?",)),
    )
