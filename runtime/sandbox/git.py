"""Where git finds what it runs by itself: the folder of a repository, and its hooks.

Source: gitrepository-layout(5), git-config(1), githooks(5).
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from turnlog.runtime.config.files import read_regular

_MOST: Final = 1 << 20  # bytes of a configuration file that are looked at
_SECTION: Final = re.compile(r"\[\s*([^\]\s\"]+)\s*(\"[^\"]*\")?\s*\]")
_HOOKS: Final = re.compile(r"hookspath\s*=\s*(.+)", re.IGNORECASE)
_BARE: Final = ("HEAD", "objects", "refs")


def git_paths(folder: str, home: str) -> Iterator[str]:
    """Yield what git uses in `folder` besides `folder/.git`. The paths need not exist.

    That is the folder that a `.git` file names, the one that it shares with other work trees,
    the hooks of `core.hooksPath`, and the parts of a repository that has no work tree.

    Args:
        home: the user's own folder, with their configuration.
    """
    repository = os.path.join(folder, ".git")
    if (named := _line(repository, "gitdir:")) is not None:
        repository = os.path.join(folder, named)
        yield repository
    if all(os.path.exists(os.path.join(folder, name)) for name in _BARE):
        repository = folder
        yield from (os.path.join(folder, name) for name in ("hooks", "config"))
    if (shared := _line(os.path.join(repository, "commondir"), "")) is not None:
        shared = os.path.join(repository, shared)
        yield shared
    for file in (
        os.path.join(home, ".config/git/config"),
        os.path.join(home, ".gitconfig"),
        os.path.join(shared or repository, "config"),
        os.path.join(repository, "config.worktree"),
    ):
        if (hooks := hooks_path(_text(file))) is not None:
            yield os.path.join(folder, _expanded(hooks, home))


def hooks_path(configuration: str) -> str | None:
    """Return what `core.hooksPath` says in the text of a git configuration; the last one counts."""
    found: str | None = None
    section = ""
    for line in configuration.splitlines():
        text = line.strip()
        if (header := _SECTION.match(text)) is not None:
            section = "" if header[2] else header[1].lower()
            text = text[header.end() :].strip()
        if section == "core" and (hooks := _HOOKS.fullmatch(text)) is not None:
            found = re.split(r"\s+[#;]", hooks[1])[0].strip().strip('"') or None
    return found


def _expanded(path: str, home: str) -> str:
    return home + path[1:] if path == "~" or path.startswith("~/") else path


def _line(path: str, prefix: str) -> str | None:
    """Return the one line of a file after `prefix`; None where it is no such file."""
    text = _text(path, most=4096)
    return text[len(prefix) :].strip() or None if text.startswith(prefix) else None


def _text(path: str, most: int = _MOST) -> str:
    try:
        return os.fsdecode(read_regular(Path(path), most, cut=True))
    except OSError:
        return ""
