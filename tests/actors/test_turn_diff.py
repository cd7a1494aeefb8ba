"""One diff a turn, which other programs can apply."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workspace import trees
from tests.workspace.trees import Tree
from turnlog.actors.turn_diff.lines import changes
from turnlog.actors.turn_diff.unified import unified_diff
from turnlog.protocol.files import FileImage

# Neither the user's settings nor a repository around the folder.
ENVIRONMENT = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": "/dev/null", "LC_ALL": "C"}
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
needs_patch = pytest.mark.skipif(shutil.which("patch") is None, reason="patch is not installed")


def applied(before: Tree, after: Tree, command: Sequence[str]) -> Tree:
    """Return what another program makes of `before` by the diff."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "root")
        names = before | after
        trees.write(after, root)
        images_after = trees.images(root, names)
        trees.write(before, root)
        diff = unified_diff(trees.images(root, names), images_after, str(root))
        if diff:
            environment = ENVIRONMENT | {"GIT_CEILING_DIRECTORIES": folder}
            done = subprocess.run(
                command, cwd=root, input=diff.encode(), capture_output=True, env=environment
            )
            assert done.returncode == 0, f"{done.stderr.decode()}{done.stdout.decode()}\n{diff}"
        else:
            assert before == after
        return trees.read(root)


@needs_git
@settings(max_examples=60, deadline=None)
@given(trees.trees(trees.FILES | trees.LINKS), trees.trees(trees.FILES | trees.LINKS))
def test_git_makes_after_of_before_by_the_diff(before: Tree, after: Tree) -> None:
    command = ["git", "apply", "-p1", "--whitespace=nowarn"]
    assert applied(before, after, command) == after


@needs_patch
@settings(max_examples=40, deadline=None)
@given(
    trees.trees(trees.FILES, trees.PLAIN_NAMES),  # it cannot read the others from git's headers
    trees.trees(trees.FILES, trees.PLAIN_NAMES),
)
def test_patch_makes_after_of_before_by_the_diff(before: Tree, after: Tree) -> None:
    command = ["patch", "-p1", "--binary", "--no-backup-if-mismatch", "--quiet", "--fuzz=0"]
    assert applied(before, after, command) == after


@settings(deadline=None)
@given(st.lists(st.sampled_from("abcd"), max_size=60), st.lists(st.sampled_from("abcd")))
def test_changes_lead_from_the_old_lines_to_the_new(old: list[str], new: list[str]) -> None:
    check_changes(old, new)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 2000))
def test_changes_of_long_texts_are_right_too(seed: int, kinds: int) -> None:
    random = Random(seed)
    old = [str(random.randrange(kinds)) for _ in range(3000)]
    new = [line if random.random() < 0.9 else str(random.randrange(kinds)) for line in old]
    cut = random.randrange(3000)
    check_changes(old, new[cut:] + new[:cut])


def check_changes(old: Sequence[str], new: Sequence[str]) -> None:
    result: list[str] = []
    at = 0
    for change in changes(old, new):
        assert change.old_start > at or at == 0, "two changes without a line between them"
        assert change.old_end > change.old_start or change.new_end > change.new_start
        result += old[at : change.old_start]
        assert change.new_start == len(result)
        result += new[change.new_start : change.new_end]
        at = change.old_end
    assert result + list(old[at:]) == list(new)


def file(path: str, text: str, mode: int = 0o644) -> FileImage:
    return FileImage(path, text=text, mode=mode)


def diff(old: FileImage, new: FileImage, **limits: int) -> str:
    return unified_diff({old.path: old}, {new.path: new}, "/w", **limits)


def test_a_changed_line_looks_as_in_git() -> None:
    old = file("/w/d/a.txt", "".join(f"{number}\n" for number in range(1, 10)))
    new = file("/w/d/a.txt", (old.text or "").replace("5\n", "five\n"), 0o755)
    assert diff(old, new) == (
        "diff --git a/d/a.txt b/d/a.txt\n"
        "old mode 100644\n"
        "new mode 100755\n"
        "index 07193989308c972f8a2d0f1b3a15c29ea4ac565b..4c5701d775286e43e9f53ee570f38b6070b09616\n"
        "--- a/d/a.txt\n"
        "+++ b/d/a.txt\n"
        "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n"
    )


@needs_git
@settings(max_examples=25, deadline=None)
@given(trees.TEXTS, trees.TEXTS)
def test_everything_but_the_hunks_is_what_git_prints(old: bytes, new: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for side, content in (("a", old), ("b", new)):
            (root / side).mkdir()
            (root / side / "x y").write_bytes(content)
        command = ["git", "diff", "--no-index", "--full-index", "--no-prefix", "a", "b"]
        printed = subprocess.run(command, cwd=root, capture_output=True, env=ENVIRONMENT).stdout
        one, other = (FileImage("/w/x y", text=text.decode(), mode=0o644) for text in (old, new))
        ours, theirs = diff(one, other).encode(), printed
        assert ours.partition(b"@@")[0] == theirs.partition(b"@@")[0]


def test_a_link_that_becomes_a_file_is_deleted_and_added() -> None:
    link = FileImage("/w/x", link="to")
    assert diff(link, file("/w/x", "")) == (
        "diff --git a/x b/x\n"
        "deleted file mode 120000\n"
        f"index 788636ffba34694361f7d7ee1970d96fb92c3168..{'0' * 40}\n"
        "--- a/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-to\n\\ No newline at end of file\n"
        "diff --git a/x b/x\n"
        "new file mode 100644\n"
        f"index {'0' * 40}..e69de29bb2d1d6434b8b29ae775ad8c2e48c5391\n"
    )


def test_a_binary_file_only_differs() -> None:
    old = FileImage("/w/x", base64="/w==", mode=0o644)
    assert diff(old, file("/w/x", "text")).endswith("\nBinary files a/x and b/x differ\n")
    gone = diff(file("/w/x", "a\0"), FileImage("/w/x", missing=True))
    assert gone.endswith("\nBinary files a/x and /dev/null differ\n")


def test_what_cannot_be_shown_has_one_line_each() -> None:
    large = FileImage("/w/large", mode=0o644, digest="1", skipped="too_large")
    assert diff(large, file("/w/large", "x")) == (
        "# large: not shown: it is too large to be kept\n"
    )
    assert diff(large, large) == ""
    assert diff(file("/w/a\nb", "x"), file("/w/a\nb", "y" * 9), file_limit=8) == (
        '# "a\\nb": not shown: it is too long\n'
    )
    known, folder = file("/w/c", "c"), FileImage("/w/d", folder=True, mode=0o755)
    nothing = FileImage("/w/d", missing=True)
    assert unified_diff({"/w/c": known, "/w/d": nothing}, {"/w/d": folder}, "/w") == (
        "# c: not shown: it is not known how it was after\n"
    )
    many = {f"/w/{name}": file(f"/w/{name}", name) for name in "abc"}
    none = {path: FileImage(path, missing=True) for path in many}
    assert unified_diff(many, none, "/w", total_limit=10).endswith(
        "# b: not shown: the diff is too long\n# c: not shown: the diff is too long\n"
    )


def test_a_file_outside_of_the_root_is_named_from_it() -> None:
    assert diff(file("/etc/x", "1"), file("/etc/x", "2")).startswith("diff --git a/../etc/x b/../")
