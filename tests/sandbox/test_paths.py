"""What a policy makes writable here, and what in it stays read-only."""

import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.errors import raises_code
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.settings import SandboxPolicy
from turnlog.runtime.sandbox.git import hooks_path
from turnlog.runtime.sandbox.layout import Kept, Layout, accesses, lay_out
from turnlog.runtime.sandbox.paths import is_within


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


def layout(policy: SandboxPolicy, workspace: Path | str, **env: str) -> Layout:
    return lay_out(policy, workspace=str(workspace), env=env, kept=Kept())


def roots(policy: SandboxPolicy, workspace: Path, **env: str) -> list[str]:
    return list(layout(policy, workspace, **env).writable)


def kept(below: Path, paths: Iterable[str]) -> list[str]:
    """Return those of `paths` that are below a folder, as they are named from there."""
    return [os.path.relpath(path, below) for path in paths if path.startswith(f"{below}/")]


def test_read_only_makes_nothing_writable(tmp_path: Path) -> None:
    assert roots(SandboxPolicy(), tmp_path, TMPDIR="/tmp") == []


def test_an_extra_folder_is_writable_in_read_only_mode_too(tmp_path: Path) -> None:
    found = lay_out(SandboxPolicy(), workspace="/", env={}, kept=Kept(), extra=[str(tmp_path)])
    assert found.writable == (str(tmp_path),)


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
    with raises_code(
        ErrorCode.SANDBOX_UNAVAILABLE, match="is a symbolic link in a folder that commands"
    ):
        roots(policy, workspace)


NAMES = [".agents", ".codex", ".git", ".turnlog"]


def test_what_exists_is_protected_and_what_does_not_is_kept_absent(tmp_path: Path) -> None:
    one, two = folder(tmp_path / "one"), folder(tmp_path / "two")
    for path in (one / ".codex", one / ".git", two / ".turnlog", two / "src" / ".git"):
        folder(path)
    found = layout(workspace_write(str(two)), one)
    assert kept(one, found.protected) == [".codex", ".git"]
    assert kept(one, found.absent) == [".agents", ".turnlog"]
    assert kept(two, found.protected) == [".turnlog"]
    assert kept(two, found.absent) == [".agents", ".codex", ".git"]
    assert (found.pinned, found.links, found.closed) == ((), (), (str(one), str(two)))


def test_the_git_folder_that_a_git_file_names_is_protected_too(tmp_path: Path) -> None:
    tree, git = folder(tmp_path / "tree"), folder(tmp_path / "main" / ".git" / "worktrees" / "tree")
    (tree / ".git").write_text("gitdir: ../main/.git/worktrees/tree\n")
    (git / "commondir").write_text("../..\n")
    found = layout(workspace_write(str(tmp_path / "main" / ".git" / "..")), tree)
    assert kept(tmp_path, found.protected) == ["main/.git", "tree/.git"]


@pytest.mark.parametrize("content", [b"", b"gitdir:", b"gitdir: /no/such", b"\xff gitdir: /etc"])
def test_a_git_file_that_names_nothing_is_protected_itself(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ".git").write_bytes(content)
    assert kept(tmp_path, layout(workspace_write(), tmp_path).protected) == [".git"]


@pytest.mark.parametrize(
    ("configuration", "expected"),
    [
        ("[core]\n\thooksPath = hooks/mine ; ours\n", "hooks/mine"),
        ('[CORE] HooksPath="hooks/mine"', "hooks/mine"),
        ("[core]\nhookspath=a\n[user]\nhookspath=b\n[core]\nhookspath = c", "c"),
        ('[core "x"]\nhookspath=a', None),
        ("[core]\nbare = false", None),
        ("", None),
    ],
)
def test_the_path_of_hooks_is_read_as_git_reads_it(configuration: str, expected: str) -> None:
    assert hooks_path(configuration) == expected


def test_hooks_elsewhere_in_the_workspace_are_protected(tmp_path: Path) -> None:
    (folder(tmp_path / ".git") / "config").write_text("[core]\nhooksPath = tools/hooks\n")
    found = layout(workspace_write(), tmp_path)
    assert kept(tmp_path, found.absent) == [".agents", ".codex", ".turnlog", "tools"]
    folder(tmp_path / "tools" / "hooks")
    found = layout(workspace_write(), tmp_path)
    assert kept(tmp_path, found.protected) == [".git", "tools/hooks"]
    assert kept(tmp_path, found.pinned) == ["tools"]


@pytest.mark.parametrize("target", [".", "..", "/"])
def test_a_link_cannot_take_a_root_away(tmp_path: Path, target: str) -> None:
    workspace = folder(tmp_path / "w")
    (workspace / ".agents").symlink_to(target)
    found = layout(workspace_write(), workspace)
    assert (found.writable, found.protected) == ((str(workspace),), ())
    assert found.links == (str(workspace / ".agents"),)
    assert not found.can_write(str(workspace / ".agents"))


def test_a_link_and_what_it_leads_to_are_kept(tmp_path: Path) -> None:
    workspace, shared = folder(tmp_path / "w"), folder(tmp_path / "w" / "a" / "shared")
    folder(workspace / "src")
    (workspace / ".agents").symlink_to("a/shared")
    found = layout(workspace_write(), workspace)
    assert found.protected == (str(shared),)
    assert found.pinned == (str(workspace / "a"),)
    mounts = {
        path: access for path, access in found.mounts().items() if path.startswith(str(workspace))
    }
    assert mounts == {
        str(workspace): "read",
        **{str(workspace / name): "hide" for name in NAMES if name != ".agents"},
        str(workspace / "a"): "write",
        str(shared): "read",
        str(workspace / "src"): "write",
    }


def test_what_runs_later_is_kept_wherever_it_is_below_a_root(tmp_path: Path) -> None:
    workspace = folder(tmp_path / "w")
    binaries, trusted = folder(workspace / "a" / "bin"), folder(workspace / "b" / "trusted")
    home = folder(workspace / "c" / "home")
    (workspace / ".bashrc").touch()
    found = lay_out(
        workspace_write(),
        workspace=str(workspace),
        env={},
        kept=Kept(
            hidden=(str(home),),
            user_home=str(workspace),
            programs=(str(binaries), str(workspace / "d" / "bin")),
            trusted=(str(trusted),),
        ),
    )
    assert found.hidden == (str(home),)
    assert kept(workspace, found.protected) == [".bashrc", "a/bin"]
    assert kept(workspace, found.absent) == [*NAMES, *(f"b/trusted/{n}" for n in NAMES), "d"]
    assert kept(workspace, found.pinned) == ["a", "b", "b/trusted", "c"]


def test_a_home_that_does_not_exist_yet_cannot_be_made(tmp_path: Path) -> None:
    home = str(tmp_path / "sub" / "home")
    found = lay_out(workspace_write(), workspace=str(tmp_path), env={}, kept=Kept(hidden=(home,)))
    assert "sub" in kept(tmp_path, found.absent)


def test_folders_above_the_workspace_are_kept_from_being_made_projects(tmp_path: Path) -> None:
    top = folder(tmp_path / "t")
    workspace = folder(top / "sub" / "w")
    found = layout(workspace_write(str(top)), workspace)
    absent = [f"{at}{name}" for at in ("", "sub/", "sub/w/") for name in NAMES]
    assert kept(top, found.absent) == absent
    assert kept(top, found.pinned) == ["sub"]


def test_instructions_above_the_workspace_are_kept_up_to_the_projects_root(tmp_path: Path) -> None:
    top = folder(tmp_path / "t")
    workspace = folder(top / "sub" / "w")
    folder(top / ".git")
    (top / "sub" / "AGENTS.md").touch()
    found = layout(workspace_write(str(top)), workspace)
    assert kept(top, found.protected) == [".git", "sub/AGENTS.md"]
    documents = [path for path in kept(top, found.absent) if "AGENTS" in path]
    assert documents == ["AGENTS.md", "AGENTS.override.md", "sub/AGENTS.override.md"]


@pytest.mark.parametrize("way", ["home", "link/home", "link"])
def test_a_workspace_in_a_hidden_folder_is_refused(tmp_path: Path, way: str) -> None:
    home = folder(tmp_path / "home")
    folder(home / "home")
    (tmp_path / "link").symlink_to("home")
    with raises_code(ErrorCode.SANDBOX_UNAVAILABLE, match="which turnlog keeps from them"):
        lay_out(
            SandboxPolicy(),
            workspace=str(tmp_path / way),
            env={},
            kept=Kept(hidden=(str(home),)),
        )


def test_a_temporary_folder_in_a_hidden_one_is_passed_over(tmp_path: Path) -> None:
    home, workspace = folder(tmp_path / "home"), folder(tmp_path / "w")
    policy = SandboxPolicy(mode="workspace-write", exclude_slash_tmp=True)
    found = lay_out(
        policy,
        workspace=str(workspace),
        env={"TMPDIR": str(home)},
        kept=Kept(hidden=(str(home),)),
    )
    assert (found.writable, found.tmpdir) == ((str(workspace),), None)


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
