import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.errors import raises_code
from turnlog.protocol.error_codes import ErrorCode
from turnlog.runtime.patch.apply import (
    MAX_FILE_BYTES,
    FileChange,
    PatchApplied,
    PlannedPatch,
    plan_patch,
    touched_paths,
)
from turnlog.runtime.patch.parse import parse_patch


def plan(cwd: Path, body: str) -> PlannedPatch:
    return plan_patch(parse_patch(f"*** Begin Patch\n{body}\n*** End Patch\n"), str(cwd))


def apply(cwd: Path, body: str) -> PatchApplied:
    return plan(cwd, body).apply()


def tree(root: Path) -> dict[str, str]:
    """Everything below `root`: the content of files, the target of links, "/" for folders."""
    found: dict[str, str] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        else:
            found[name] = "/" if path.is_dir() else path.read_bytes().decode("latin-1")
    return found


def refusal(cwd: Path, body: str) -> str:
    before = tree(cwd)
    with raises_code(ErrorCode.PATCH_INVALID) as caught:
        plan(cwd, body)
    assert tree(cwd) == before
    return str(caught.value)


def test_a_recorded_sequence_of_patches_gives_the_recorded_outcomes(tmp_path: Path) -> None:
    """The patches, summaries and changes of a session of the Codex binary."""
    hello, new = str(tmp_path / "hello.txt"), str(tmp_path / "sub/new.txt")
    assert apply(tmp_path, "*** Add File: hello.txt\n+Hello\n+wörld ✓") == PatchApplied(
        (FileChange(hello, "add"),), "Success. Updated the following files:\nA hello.txt\n"
    )
    body = (
        "*** Update File: hello.txt\n@@\n-Hello\n+Goodbye\n wörld ✓\n*** Add File: sub/new.txt\n+x"
    )
    assert apply(tmp_path, body) == PatchApplied(
        (FileChange(hello, "update"), FileChange(new, "add")),
        "Success. Updated the following files:\nA sub/new.txt\nM hello.txt\n",
    )
    body = (
        "*** Delete File: sub/new.txt\n*** Update File: hello.txt\n*** Move to: moved.txt\n"
        "@@\n Goodbye\n-wörld ✓\n+world"
    )
    assert apply(tmp_path, body) == PatchApplied(
        (FileChange(hello, "update", str(tmp_path / "moved.txt")), FileChange(new, "delete")),
        "Success. Updated the following files:\nM moved.txt\nD sub/new.txt\n",
    )
    assert tree(tmp_path) == {"moved.txt": "Goodbye\nworld\n", "sub": "/"}


def test_planning_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1\n")
    plan(tmp_path, "*** Add File: d/b\n+2\n*** Update File: a\n-1\n+3")
    assert tree(tmp_path) == {"a": "1\n"}


def test_hunks_see_what_earlier_hunks_did(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1\n2\n")
    (tmp_path / "b").write_text("old\n")
    applied = apply(
        tmp_path,
        "*** Update File: a\n-1\n+one\n"
        "*** Update File: ./a\n*** Move to: c\n one\n-2\n+two\n"
        "*** Update File: c\n*** Move to: d\n-two\n+zwei\n"
        "*** Delete File: b\n*** Add File: b\n+new\n"
        "*** Add File: e\n+1\n*** Delete File: e\n"
        "*** Add File: f\n+1\n*** Update File: f\n*** Move to: g\n-1\n+2",
    )
    assert tree(tmp_path) == {"b": "new\n", "d": "one\nzwei\n", "g": "2\n"}
    assert applied.changes == (
        FileChange(str(tmp_path / "a"), "update", str(tmp_path / "d")),
        FileChange(str(tmp_path / "b"), "update"),
        FileChange(str(tmp_path / "g"), "add"),
    )


def test_a_path_that_is_used_again_after_a_move_is_listed_by_itself(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1\n")
    applied = apply(
        tmp_path, "*** Update File: a\n*** Move to: b\n*** Add File: a\n+2\n*** Update File: b\n+3"
    )
    assert tree(tmp_path) == {"a": "2\n", "b": "1\n3\n"}
    assert applied.changes == (
        FileChange(str(tmp_path / "a"), "update"),
        FileChange(str(tmp_path / "b"), "add"),
    )


def test_a_file_that_only_moves_keeps_its_bytes_and_mode(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xff\x00no newline")
    (tmp_path / "a").chmod(0o750)
    apply(tmp_path, "*** Update File: a\n*** Move to: d/b")
    assert tree(tmp_path) == {"d": "/", "d/b": "\xff\x00no newline"}
    assert stat.S_IMODE((tmp_path / "d/b").stat().st_mode) == 0o750


def test_an_updated_file_keeps_its_mode_and_a_new_one_follows_the_umask(tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_text("a\n")
    (tmp_path / "run.sh").chmod(0o755)
    (tmp_path / "plain").write_text("")
    apply(tmp_path, "*** Update File: run.sh\n-a\n+b\n*** Add File: new\n+x")
    assert (tmp_path / "run.sh").stat().st_mode == stat.S_IFREG | 0o755
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_link_is_written_through_and_deleted_as_itself(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/a").write_text("1\n")
    (tmp_path / "file").symlink_to("real/a")
    (tmp_path / "folder").symlink_to("real")
    applied = apply(tmp_path, "*** Update File: file\n-1\n+2\n*** Update File: folder/a\n-2\n+3")
    assert applied.changes == (
        FileChange(str(tmp_path / "file"), "update"),
        FileChange(str(tmp_path / "folder/a"), "update"),
    )
    links = {"file": "-> real/a", "folder": "-> real", "real": "/", "real/a": "3\n"}
    assert tree(tmp_path) == links
    apply(tmp_path, "*** Delete File: file\n*** Add File: file\n+new\n*** Delete File: real/a")
    assert tree(tmp_path) == {"file": "new\n", "folder": "-> real", "real": "/"}


def test_a_hard_link_keeps_the_old_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1\n")
    os.link(tmp_path / "a", tmp_path / "b")
    apply(tmp_path, "*** Update File: a\n-1\n+2")
    assert tree(tmp_path) == {"a": "2\n", "b": "1\n"}


def test_absolute_paths_are_accepted(tmp_path: Path) -> None:
    applied = apply(tmp_path, f"*** Add File: {tmp_path}/x/../a\n+1")
    assert applied == PatchApplied(
        (FileChange(str(tmp_path / "a"), "add"),),
        f"Success. Updated the following files:\nA {tmp_path}/x/../a\n",
    )
    assert tree(tmp_path) == {"a": "1\n"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "No files were modified."),
        ("*** Update File: no\n-1", "patch line 2: no does not exist. No file was changed."),
        ("*** Delete File: no", "patch line 2: no does not exist. No file was changed."),
        (
            "*** Delete File: a\n*** Update File: a\n-1",
            "patch line 3: a does not exist. No file was changed.",
        ),
        (
            "*** Add File: a\n+2",
            "patch line 2: CWD/a exists already; update it, or delete it earlier in the same "
            "patch. No file was changed.",
        ),
        (
            "*** Update File: a\n*** Move to: dangling",
            "patch line 2: CWD/dangling exists already; update it, or delete it earlier in the "
            "same patch. No file was changed.",
        ),
        (
            "*** Update File: d\n-1",
            "patch line 2: d is a directory, and a patch changes files. No file was changed.",
        ),
        (
            "*** Delete File: .",
            "patch line 2: . is a directory, and a patch changes files. No file was changed.",
        ),
        (
            "*** Update File: fifo\n-1",
            "patch line 2: fifo is not a regular file. No file was changed.",
        ),
        (
            "*** Add File: a/b\n+1",
            "patch line 2: CWD/a/b cannot be reached: Not a directory. No file was changed.",
        ),
        (
            "*** Add File: n/b\n+1\n*** Add File: n",
            "the patch puts CWD/n/b into CWD/n, which it makes a file. No file was changed.",
        ),
        (
            "*** Update File: latin\n-1",
            "latin is not UTF-8 (byte 0 is 0xe9); a patch edits UTF-8 text only. "
            "Use a command that edits bytes.",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_name(tmp_path: Path, body: str, message: str) -> None:
    (tmp_path / "a").write_text("1\n")
    (tmp_path / "d").mkdir()
    (tmp_path / "latin").write_bytes(b"\xe9")
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "fifo")
    with raises_code(ErrorCode.PATCH_INVALID) as caught:
        plan(tmp_path, body)
    assert str(caught.value) == message.replace("CWD", str(tmp_path))
    assert (tmp_path / "a").read_text() == "1\n"


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "big").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    assert "big has more than" in refusal(tmp_path, "*** Update File: big\n-1")
    apply(tmp_path, "*** Delete File: big")


good_hunks = st.lists(
    st.sampled_from(
        [
            "*** Add File: new/{n}\n+x",
            "*** Update File: old{n}\n-1\n+2",
            "*** Update File: old{n}\n*** Move to: moved{n}\n-1\n+2",
            "*** Delete File: old{n}",
        ]
    ),
    max_size=5,
)
bad_hunks = st.sampled_from(
    [
        "*** Update File: bad\n-absent\n+2",
        "*** Update File: bad\n@@ absent\n+2",
        "*** Add File: bad\n+1",
        "*** Delete File: absent",
        "*** Update File: absent\n*** Move to: x",
    ]
)


@settings(max_examples=50)
@given(good_hunks, st.data())
def test_a_patch_is_applied_as_a_whole_or_not_at_all(
    tmp_path_factory: pytest.TempPathFactory, templates: list[str], data: st.DataObject
) -> None:
    cwd = tmp_path_factory.mktemp("cwd")
    for name in ("old0", "old1", "old2", "old3", "old4", "bad"):
        (cwd / name).write_text("1\n")
    hunks = [template.format(n=number) for number, template in enumerate(templates)]
    bad = [*hunks]
    bad.insert(data.draw(st.integers(0, len(hunks))), data.draw(bad_hunks))
    refusal(cwd, "\n".join(bad))
    if hunks:
        assert len(apply(cwd, "\n".join(hunks)).changes) == len(hunks)


def test_a_file_that_changed_since_the_plan_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1\n")
    planned = plan(tmp_path, "*** Add File: d/new\n+x\n*** Update File: a\n-1\n+2")
    (tmp_path / "a").write_text("somebody else's\n")
    with raises_code(ErrorCode.PATCH_NOT_WRITTEN) as caught:
        planned.apply()
    assert str(caught.value) == (
        f"cannot write {tmp_path}/a: it changed since the patch was planned; plan again. "
        "No file was changed."
    )
    assert tree(tmp_path) == {"a": "somebody else's\n"}


def test_a_file_that_appeared_since_the_plan_is_not_overwritten(tmp_path: Path) -> None:
    planned = plan(tmp_path, "*** Add File: a\n+1")
    (tmp_path / "a").write_text("somebody else's\n")
    with raises_code(ErrorCode.PATCH_NOT_WRITTEN, match="it changed since the patch was planned"):
        planned.apply()
    assert tree(tmp_path) == {"a": "somebody else's\n"}


def test_touched_paths_names_every_path_without_reading(tmp_path: Path) -> None:
    body = (
        "*** Begin Patch\n*** Add File: z\n+1\n*** Update File: a\n*** Move to: ../b\n"
        "*** Delete File: /etc/x\n*** Update File: ./a\n-1\n*** End Patch"
    )
    assert touched_paths(parse_patch(body), "/no/such") == (
        "/etc/x",
        "/no/b",
        "/no/such/a",
        "/no/such/z",
    )
    with pytest.raises(ValueError, match="cwd must be absolute"):
        touched_paths(parse_patch(body), "relative")
