"""What a policy means on this file system: which folders are writable, and what in them is not.

These functions read the file system and change nothing. All paths that they return are real
paths: no part of them is a symbolic link.
"""

import os
import stat
from collections.abc import Mapping, Sequence
from typing import Final

from turnlog.protocol.errors import SandboxUnavailable
from turnlog.protocol.settings import SandboxPolicy

PROTECTED: Final = (".git", ".codex", ".agents", ".turnlog")


def is_within(path: str, folder: str) -> bool:
    """Say whether `path` is `folder` or below it. Both are real paths."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def writable_roots(
    policy: SandboxPolicy, *, workspace: str, env: Mapping[str, str], extra: Sequence[str] = ()
) -> list[str]:
    """Return the folders that a command may write below, parents before children.

    `extra` is writable in both modes. A path that does not exist is left out.

    Raises:
        SandboxUnavailable: a symbolic link that stands in one writable folder is the way to
            another. A command could have planted it, to open any folder to the next command.
    """
    asked = list(extra)
    if policy.mode == "workspace-write":
        asked += [workspace, *policy.writable_roots]
        if not policy.exclude_slash_tmp:
            asked.append("/tmp")
        if not policy.exclude_tmpdir_env_var and os.path.isabs(env.get("TMPDIR", "")):
            asked.append(env["TMPDIR"])
    asked = [path for path in asked if os.path.exists(path)]
    roots = sorted({os.path.realpath(path) for path in asked})
    for path in asked:
        if (link := _link_within(path, roots)) is not None:
            raise SandboxUnavailable(
                f"{path} cannot be made writable: {link}, on the way to it, is a symbolic link in "
                "a folder that commands can write, so a command may have put it there. Name the "
                f"real path instead: {os.path.realpath(path)}."
            )
    return roots


def protected_paths(roots: Sequence[str]) -> list[str]:
    """Return what stays read-only in `roots`: `PROTECTED` where it exists, and its git folder.

    A `.git` file names its git folder; that is protected too. Where `.git` is a symbolic link its
    target is protected, the link itself is not.
    """
    found: list[str] = []
    for root in roots:
        for name in PROTECTED:
            path = os.path.realpath(os.path.join(root, name))
            if os.path.exists(path):
                found.append(path)
            if name == ".git" and (git_folder := _named_git_folder(path)) is not None:
                found.append(git_folder)
    # A link to a whole root, or above it, must not take the root's writability away.
    return sorted({path for path in found if not any(is_within(root, path) for root in roots)})


def _link_within(path: str, roots: Sequence[str]) -> str | None:
    parent = "/"
    for part in path.split("/"):
        step = os.path.join(parent, part)
        if os.path.islink(step) and any(is_within(parent, root) for root in roots):
            return step
        parent = os.path.realpath(step)
    return None


def _named_git_folder(path: str) -> str | None:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        with open(path, "rb") as file:
            word, _, named = file.read(4096).partition(b"gitdir:")
    except OSError:
        return None
    folder = os.path.join(os.path.dirname(path), os.fsdecode(named.strip()))
    return os.path.realpath(folder) if not word and named and os.path.isdir(folder) else None
