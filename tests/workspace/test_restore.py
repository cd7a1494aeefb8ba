"""Bringing files back: everything, exactly, and never over somebody's work."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workspace import trees
from tests.workspace.trees import Tree
from turnlog.protocol.files import (
    FileEdit,
    FileImage,
    FileMark,
    RestoreStep,
    edits_of,
    is_same,
    mark_of,
)
from turnlog.runtime.workspace.apply import RestoreReport, apply_restore
from turnlog.runtime.workspace.images import image_in_place, images_after, images_of
from turnlog.runtime.workspace.restore import plan_restore

CONTENTS = st.tuples(
    st.sampled_from([b"", b"1\n", b"2\n", b"\xff\0", "ü\r\n".encode()]),
    st.sampled_from([0o600, 0o644, 0o755, 0o444]),
)
# Some of these need as a folder what others need as a file.
NAMES = ("a", "a/x", "a/y/z", "b", "ü n")
ENTRIES = CONTENTS | trees.LINKS


def drawn(names: tuple[str, ...] = NAMES) -> st.SearchStrategy[Tree]:
    return trees.trees(ENTRIES, names).map(consistent)


def consistent(tree: Tree) -> Tree:
    """Drop what lies below a file."""
    return {
        name: entry
        for name, entry in tree.items()
        if not any(name.startswith(f"{other}/") for other in tree)
    }


def do(root: Path, tree: Tree, names: tuple[str, ...] = NAMES) -> tuple[FileEdit, ...]:
    """Change the root to the tree, as a tool that takes images would; return its edits."""
    paths = {Path(name) for name in names}
    paths |= {folder for path in paths for folder in path.parents if folder != Path()}
    before = [image_in_place(str(root / path)) for path in sorted(paths)]
    trees.write(tree, root)
    return edits_of(before, images_after(before, {}))


def undo(root: Path, *edits: FileEdit, force: bool = False) -> RestoreReport:
    return apply_restore(plan_restore(edits, roots=[str(root)], force=force))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = Path(os.path.realpath(tmp_path)) / "root"
    folder.mkdir()
    return folder


@settings(max_examples=60, deadline=None)
@given(drawn(), st.lists(drawn(), min_size=1, max_size=3))
def test_a_restore_brings_everything_back_and_restoring_that_undoes_it(
    first: Tree, later: list[Tree]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(os.path.realpath(folder), "root")
        trees.write(first, root)
        folders = trees.folders(root)
        edits = [edit for tree in later for edit in do(root, tree)]
        last, last_folders = trees.read(root), trees.folders(root)

        undone = undo(root, *edits)
        assert not undone.failed
        assert trees.read(root) == first
        assert trees.folders(root) == folders

        redone = undo(root, *undone.edits)
        assert not redone.failed
        assert trees.read(root) == last
        assert trees.folders(root) == last_folders

        again = undo(root, *redone.edits)
        assert not again.failed
        assert trees.read(root) == first
        assert not undo(root, *edits).edits


@settings(max_examples=60, deadline=None)
@given(drawn(), drawn(), drawn(), st.booleans())
def test_what_somebody_else_changed_is_replaced_only_by_force_and_then_kept(
    first: Tree, ours: Tree, theirs: Tree, force: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(os.path.realpath(folder), "root")
        trees.write(first, root)
        edits = do(root, ours)
        trees.write(theirs, root)
        as_theirs = trees.read(root)
        present = {edit.before.path: image_in_place(edit.before.path) for edit in edits}
        report = undo(root, *edits, force=force)
        assert not report.failed
        for edit in edits:
            path = edit.before.path
            theirs_now, now = mark_of(present[path]), mark_of(image_in_place(path))
            assert edit.after is not None
            was_ours = any(is_same(it, theirs_now) for it in (edit.after, mark_of(edit.before)))
            if not (was_ours or force) and theirs_now.kind in ("file", "link"):
                assert now.digest == theirs_now.digest
        assert not undo(root, *report.edits).failed
        assert trees.read(root) == as_theirs


def test_the_plan_says_what_it_would_do_and_changes_nothing(root: Path) -> None:
    for name in ("changed", "theirs", "same", "gone"):
        (root / name).write_text("1")
    names = ("changed", "theirs", "same", "gone", "new", "d/made")
    tree: Tree = dict.fromkeys(("changed", "theirs", "new", "d/made"), (b"2", 420))
    edits = do(root, tree | {"same": (b"1", 0o644)}, names)
    (root / "theirs").write_text("3")
    plan = plan_restore(edits, roots=[str(root)])
    assert [(os.path.relpath(step.path, root), *step_of(step)) for step in plan.preview] == [
        ("changed", "write", "It was changed."),
        ("d", "delete", "This folder was made."),
        ("d/made", "delete", "It was not there before."),
        ("gone", "write", "It was removed."),
        ("new", "delete", "It was not there before."),
        ("same", "nothing", "It is as it was."),
        ("theirs", "conflict", "It was changed by someone else since."),
    ]
    assert trees.read(root)["theirs"] == (b"3", 0o644)
    assert [os.path.relpath(image.path, root) for image in plan.replaced] == [
        "changed",
        "d",
        "d/made",
        "gone",
        "new",
    ]


def step_of(step: RestoreStep) -> tuple[str, str]:
    return step.action, step.reason


def test_without_an_image_of_after_the_plan_says_that_it_does_not_know_whose_it_is(
    root: Path,
) -> None:
    before = FileImage(str(root / "a"), text="1", mode=0o644)
    (root / "a").write_text("2")
    plan = plan_restore([FileEdit(before)], roots=[str(root)])
    assert [step.reason for step in plan.steps] == [
        "It was changed by a command or by someone else."
    ]
    apply_restore(plan)
    assert (root / "a").read_text() == "1"


def test_a_change_by_someone_else_between_two_edits_is_a_conflict(root: Path) -> None:
    (root / "a").write_text("1")
    edits = do(root, {"a": (b"2", 0o644)}, ("a",))
    (root / "a").write_text("theirs")
    edits += do(root, {"a": (b"3", 0o644)}, ("a",))
    plan = plan_restore(edits, roots=[str(root)])
    assert [(step.action, step.reason) for step in plan.steps] == [
        ("conflict", "It was changed by someone else between two of the changes.")
    ]
    assert undo(root, *edits, force=True).files[0].outcome == "restored"
    assert (root / "a").read_text() == "1"


def test_permissions_that_somebody_changed_stay_if_the_edit_left_them_alone(root: Path) -> None:
    (root / "a").write_text("1")
    edits = do(root, {"a": (b"2", 0o644)}, ("a",))
    (root / "a").chmod(0o755)
    undo(root, *edits)
    assert trees.read(root) == {"a": (b"1", 0o755)}


def test_a_folder_in_the_way_does_not_lend_a_file_its_permissions(root: Path) -> None:
    path = root / "a"
    path.write_text("1\n")
    path.chmod(0o644)
    before = [image_in_place(str(path))]
    path.write_text("2\n")
    edits = edits_of(before, images_after(before, {}))
    path.unlink()
    path.mkdir(0o755)
    assert undo(root, *edits, force=True).files[0].outcome == "restored"
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("1\n", 0o644)


def test_a_folder_stays_while_somebody_has_a_file_in_it(root: Path) -> None:
    edits = do(root, {"d/a": (b"1", 0o644)}, ("d/a",))
    (root / "d" / "theirs").write_text("2")
    report = undo(root, *edits)
    assert [(file.outcome, file.reason) for file in report.files] == [
        ("nothing", "Other files are in this folder, such as 'theirs'."),
        ("deleted", "It was not there before."),
    ]
    assert trees.read(root) == {"d/theirs": (b"2", 0o644)}


@pytest.mark.parametrize("force", [False, True])
def test_nothing_is_reached_through_a_link(root: Path, tmp_path: Path, force: bool) -> None:
    (root / "d").mkdir()
    (root / "d" / "a").write_text("1")
    _, edit = do(root, {"d/a": (b"2", 0o644)}, ("d/a",))
    outside = tmp_path / "outside"
    (root / "d").rename(outside)
    (root / "d").symlink_to(outside)
    report = undo(root, edit, force=force)
    assert [(file.outcome, file.reason) for file in report.files] == [
        ("conflict", "The way to it leads through a link now.")
    ]
    assert (outside / "a").read_text() == "2"


def test_a_link_in_a_files_place_is_replaced_not_written_through(root: Path) -> None:
    (root / "a").write_text("1")
    (root / "target").write_text("theirs")
    edits = do(root, {"a": "target", "target": (b"theirs", 0o644)}, ("a",))
    undo(root, *edits)
    assert trees.read(root) == {"a": (b"1", 0o644), "target": (b"theirs", 0o644)}


@pytest.mark.parametrize("force", [False, True])
def test_a_git_folder_is_never_touched(root: Path, force: bool) -> None:
    images = [
        FileImage(str(root / name), text="x", mode=0o644) for name in (".git", "d/.git/config")
    ]
    report = undo(root, *map(FileEdit, images), force=force)
    assert {file.outcome for file in report.files} == {"not_covered"}
    assert trees.read(root) == {}


@pytest.mark.parametrize("force", [False, True])
def test_what_cannot_be_kept_is_never_replaced(root: Path, force: bool) -> None:
    edits = do(root, {}, ("pipe", "folder"))
    edits = tuple(FileEdit(FileImage(edit.before.path, text="1")) for edit in edits)
    os.mkfifo(root / "pipe")
    (root / "folder").mkdir()
    (root / "folder" / "theirs").write_text("2")
    report = undo(root, *edits, force=force)
    assert [(file.outcome, file.reason) for file in report.files] == [
        ("conflict", "Other files are in this folder, such as 'theirs'."),
        ("conflict", "What is there could not be kept: it is a device, a pipe or a socket."),
    ]


def test_what_was_not_kept_is_not_covered(root: Path) -> None:
    image = FileImage(str(root / "a"), mode=0o644, skipped="too_large")
    assert [(file.outcome, file.reason) for file in undo(root, FileEdit(image)).files] == [
        ("not_covered", "What was there was not kept: it is too large to be kept.")
    ]


def test_a_large_file_is_replaced_only_by_force(root: Path) -> None:
    edits = do(root, {"a": (b"123456789", 0o644)}, ("a",))
    plan = plan_restore(edits, roots=[str(root)], limit=8)
    reason = "It is so large that restoring it could not be undone."
    assert [(step.action, step.reason) for step in plan.steps] == [("conflict", reason)]
    forced = plan_restore(edits, roots=[str(root)], limit=8, force=True)
    assert apply_restore(forced).files[0].outcome == "deleted"


def test_a_file_that_changed_since_the_plan_stops_all_of_it(root: Path) -> None:
    names = ("a", "b")
    trees.write({"a": (b"1", 0o644), "b": (b"1", 0o644)}, root)
    edits = do(root, {"a": (b"2", 0o644), "b": (b"2", 0o644)}, names)
    plan = plan_restore(edits, roots=[str(root)])
    (root / "b").write_text("theirs")
    report = apply_restore(plan)
    assert [(file.outcome, file.reason) for file in report.files] == [
        ("untouched", "Another file could not be restored."),
        ("failed", "It changed since the restore was planned; plan again."),
    ]
    assert report.edits == ()
    assert trees.read(root) == {"a": (b"2", 0o644), "b": (b"theirs", 0o644)}
    only_a = apply_restore(plan.only([str(root / "a")]))
    assert [file.outcome for file in only_a.files] == ["restored"]


def test_outside_of_the_roots_only_what_an_edit_names_is_restored(
    root: Path, tmp_path: Path
) -> None:
    outside = Path(os.path.realpath(tmp_path)) / "outside"
    (outside / "gone").mkdir(parents=True)
    for name in ("a", "gone/b"):
        (outside / name).write_text("1")
    before = images_of(str(outside / name) for name in ("a", "gone/b"))
    (outside / "a").write_text("2")
    shutil.rmtree(outside / "gone")
    report = undo(root, *map(FileEdit, before))
    gone = f"The folder {outside}/gone is gone, and it lies outside of the workspace."
    assert [(file.outcome, file.reason) for file in report.files] == [
        (
            "restored",
            "It was changed by a command or by someone else. It is outside of the workspace.",
        ),
        ("conflict", gone),
    ]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = Path(os.path.realpath(tmp_path)) / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a file system of a bounded size cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_loses_nothing(small_disk: Path) -> None:
    names = tuple("abcd")
    before: Tree = {name: (name.encode() * 40_000, 0o644) for name in names}
    for name in names:
        (small_disk / name).write_bytes(name.encode() * 40_000)
    images = images_of(str(small_disk / name) for name in names)
    (small_disk / "a").unlink()
    (small_disk / "b").write_bytes(b"2" * 40_000)
    (small_disk / "c").write_bytes(b"2")
    edits = edits_of(images, images_after(images, {}))
    with suppress(OSError), (small_disk / "full").open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    present = trees.read(small_disk)
    report = undo(small_disk, *edits)
    assert [(file.outcome, file.reason) for file in report.files] == [
        ("failed", "No space left on device."),
        ("failed", "No space left on device."),
        ("failed", "No space left on device."),
        ("nothing", "It is as it was."),
    ]
    assert trees.read(small_disk) == present
    (small_disk / "full").unlink()
    assert not undo(small_disk, *edits).failed
    assert trees.read(small_disk) == before


def test_a_failure_on_the_way_is_told_by_file_and_the_rest_can_be_undone(root: Path) -> None:
    """A mount point can be read and written, but not replaced."""
    (root / "a").write_text("1")
    (root / "b").write_text("1")
    edits = do(root, {"a": (b"2", 0o644), "b": (b"2", 0o644)}, ("a", "b"))
    mounted = ["mount", "--bind", str(root / "b"), str(root / "b")]
    if shutil.which("mount") is None or subprocess.run(mounted, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        report = undo(root, *edits)
        assert [(file.outcome, file.reason) for file in report.files] == [
            ("restored", "It was changed."),
            ("failed", "Device or resource busy."),
        ]
        assert [edit.after for edit in report.edits] == [mark_of(edits[0].before)]
        assert trees.read(root) == {"a": (b"1", 0o644), "b": (b"2", 0o644)}
    finally:
        subprocess.run(["umount", str(root / "b")], check=True)


def test_an_unknown_mark_is_like_nothing(root: Path) -> None:
    (root / "a").write_text("2")
    before = FileImage(str(root / "a"), text="1", mode=0o644)
    plan = plan_restore([FileEdit(before, FileMark("unknown"))], roots=[str(root)])
    assert [step.action for step in plan.steps] == ["conflict"]
