"""What a policy makes writable here, and what in it stays read-only."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnlog.protocol.errors import SandboxUnavailable
from turnlog.protocol.settings import SandboxPolicy
from turnlog.runtime.sandbox.bubblewrap import accesses
from turnlog.runtime.sandbox.paths import is_within, protected_paths, writable_roots


def workspace_write(*roots: str) -> SandboxPolicy:
    """Return a policy without the temporary folders: the tests' own are below /tmp."""
    return SandboxPolicy(
        mode="workspace-write",
        writable_roots=roots,
        exclude_slash_tmp=True,
        exclude_tmpdir_env_var=True,
    )


def folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def roots(policy: SandboxPolicy, workspace: Path, **env: str) -> list[str]:
    return writable_roots(policy, workspace=str(workspace), env=env)


def test_read_only_makes_nothing_writable(tmp_path: Path) -> None:
    assert roots(SandboxPolicy(), tmp_path, TMPDIR="/tmp") == []


def test_an_extra_folder_is_writable_in_read_only_mode_too(tmp_path: Path) -> None:
    found = writable_roots(SandboxPolicy(), workspace="/", env={}, extra=[str(tmp_path)])
    assert found == [str(tmp_path)]


def test_workspace_write_opens_the_workspace_the_roots_and_the_temporary_folders(
    tmp_path: Path,
) -> None:
    workspace, other, temporary = (folder(tmp_path / name) for name in ("w", "o", "t"))
    policy = SandboxPolicy(
        mode="workspace-write", writable_roots=(str(other), str(tmp_path / "missing"))
    )
    found = roots(policy, workspace, TMPDIR=str(temporary))
    assert found == sorted(["/tmp", str(workspace), str(other), str(temporary)])


@pytest.mark.parametrize(
    ("slash_tmp", "tmpdir"), [(False, False), (False, True), (True, False), (True, True)]
)
def test_each_temporary_folder_can_be_left_out(
    tmp_path: Path, slash_tmp: bool, tmpdir: bool
) -> None:
    workspace, temporary = folder(tmp_path / "w"), folder(tmp_path / "t")
    policy = SandboxPolicy(
        mode="workspace-write", exclude_slash_tmp=slash_tmp, exclude_tmpdir_env_var=tmpdir
    )
    expected = {str(workspace)} | ({"/tmp"} - ({"/tmp"} if slash_tmp else set()))
    expected |= set() if tmpdir else {str(temporary)}
    assert roots(policy, workspace, TMPDIR=str(temporary)) == sorted(expected)


@pytest.mark.parametrize("tmpdir", ["", "relative/folder", "/no/such/folder"])
def test_a_tmpdir_that_is_no_folder_is_passed_over(tmp_path: Path, tmpdir: str) -> None:
    policy = SandboxPolicy(mode="workspace-write", exclude_slash_tmp=True)
    assert roots(policy, tmp_path, TMPDIR=tmpdir) == [str(tmp_path)]


def test_a_link_outside_of_what_is_writable_is_followed(tmp_path: Path) -> None:
    real = folder(tmp_path / "real")
    (tmp_path / "link").symlink_to(real)
    assert roots(workspace_write(), tmp_path / "link") == [str(real)]


@pytest.mark.parametrize("way", ["sub", "sub/deeper", "../w/sub"])
def test_a_link_that_a_command_could_have_planted_is_refused(tmp_path: Path, way: str) -> None:
    """The workspace was writable for an earlier command, which put a link to elsewhere there."""
    workspace = folder(tmp_path / "w")
    folder(tmp_path / "elsewhere" / "deeper")
    (workspace / "sub").symlink_to(tmp_path / "elsewhere")
    policy = workspace_write(os.path.join(workspace, way))
    with pytest.raises(SandboxUnavailable, match="is a symbolic link in a folder that commands"):
        roots(policy, workspace)


def test_what_is_protected_is_what_exists(tmp_path: Path) -> None:
    one, two = folder(tmp_path / "one"), folder(tmp_path / "two")
    protected = [folder(one / ".codex"), folder(one / ".git"), folder(two / ".turnlog")]
    folder(two / "src" / ".git")
    assert protected_paths([str(one), str(two)]) == [str(path) for path in protected]


def test_the_git_folder_that_a_git_file_names_is_protected_too(tmp_path: Path) -> None:
    tree, git = folder(tmp_path / "tree"), folder(tmp_path / "main" / ".git" / "worktrees" / "tree")
    (tree / ".git").write_text("gitdir: ../main/.git/worktrees/tree\n")
    assert protected_paths([str(tree)]) == sorted([str(git), str(tree / ".git")])


@pytest.mark.parametrize("content", [b"", b"gitdir:", b"gitdir: /no/such", b"\xff gitdir: /etc"])
def test_a_git_file_that_names_nothing_is_protected_itself(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ".git").write_bytes(content)
    assert protected_paths([str(tmp_path)]) == [str(tmp_path / ".git")]


@pytest.mark.parametrize("target", [".", "..", "/"])
def test_a_link_cannot_take_a_root_away(tmp_path: Path, target: str) -> None:
    workspace = folder(tmp_path / "w")
    (workspace / ".agents").symlink_to(target)
    assert protected_paths([str(workspace)]) == []


PARTS = st.lists(st.sampled_from(["a", "b", "a-b", "ab"]), max_size=4).map(
    lambda parts: "/" + "/".join(parts)
)
PATHS = st.lists(PARTS, max_size=5)


@given(PARTS, PARTS)
def test_within_means_at_or_below(path: str, other: str) -> None:
    parts, others = path.strip("/").split("/"), other.strip("/").split("/")
    below = other == "/" or parts[: len(others)] == others
    assert is_within(path, other) == below


@given(PATHS, PATHS, PATHS)
def test_accesses_put_parents_first_and_the_strictest_wins(
    writable: list[str], protected: list[str], hidden: list[str]
) -> None:
    found = accesses(writable=writable, protected=protected, hidden=hidden)
    for path, access in found.items():
        strictest = "hide" if path in hidden else "read" if path in protected else "write"
        assert access == (strictest if path != "/" or path in writable + hidden else "read")
    order = list(found)
    for index, path in enumerate(order):
        assert not any(is_within(path, later) for later in order[index + 1 :])
