"""What a policy means on this file system: which folders are writable, and what in them is not.

These functions read the file system and change nothing. All paths that they return are real
paths: no part of them is a symbolic link.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Final

from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import Unavailable
from turnlog.protocol.settings import SandboxPolicy

PROTECTED: Final = (".git", ".codex", ".agents", ".turnlog")


def is_within(path: str, folder: str) -> bool:
    """Say whether `path` is `folder` or below it. Both are real paths."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def work_folders(policy: SandboxPolicy, *, workspace: str, extra: Sequence[str] = ()) -> list[str]:
    """Return the folders that a command may write below, as they are named: those that exist.

    `extra` is writable in both modes.
    """
    asked = list(extra)
    if policy.mode == "workspace-write":
        asked += [workspace, *policy.writable_roots]
    return [path for path in asked if os.path.exists(path)]


def temporary_folders(policy: SandboxPolicy, env: Mapping[str, str]) -> list[str]:
    """Return the writable folders for temporary files; the last one is where commands make them."""
    asked: list[str] = []
    if policy.mode == "workspace-write":
        if not policy.exclude_slash_tmp:
            asked.append("/tmp")
        if not policy.exclude_tmpdir_env_var and os.path.isabs(env.get("TMPDIR", "")):
            asked.append(env["TMPDIR"])
    return [path for path in asked if os.path.isdir(path)]


def refuse_planted_links(folders: Sequence[str]) -> None:
    """Check that no way to a writable folder leads over a link in another one.

    Raises:
        Unavailable: one does. A command could have planted it, to open any folder to the
            next command.
    """
    roots = [os.path.realpath(path) for path in folders]
    for path in folders:
        if (link := _link_within(path, roots)) is not None:
            raise Unavailable(
                ErrorCode.SANDBOX_UNAVAILABLE,
                f"{path} cannot be made writable: {link}, on the way to it, is a symbolic link in "
                "a folder that commands can write, so a command may have put it there. Name the "
                f"real path instead: {os.path.realpath(path)}.",
            )


def _link_within(path: str, roots: Sequence[str]) -> str | None:
    parent = "/"
    for part in path.split("/"):
        step = os.path.join(parent, part)
        if os.path.islink(step) and any(is_within(parent, root) for root in roots):
            return step
        parent = os.path.realpath(step)
    return None
