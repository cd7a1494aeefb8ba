"""AGENTS.md: find the files that apply to a folder, and join them within a budget of bytes.

The user's own file comes first, then the project's, one for each folder from the project's root
down to the working folder. Finding is pure; reading is bounded.
"""

import codecs
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from turnlog.runtime.config.files import read_regular, size_of_regular
from turnlog.runtime.config.project import is_there, project_root
from turnlog.runtime.sandbox.guard import OPEN, ReadGuard

NAMES: Final = ("AGENTS.override.md", "AGENTS.md")
SEPARATOR: Final = "\n\n--- project-doc ---\n\n"  # Codex's; before the project's part

Probe = Callable[[Path], bool]


class Docs(Struct, frozen=True):
    """What was found; `warnings` are for the user."""

    text: str = ""
    warnings: tuple[str, ...] = ()


def find_project_docs(
    cwd: Path,
    markers: Sequence[str],
    fallback_names: Sequence[str],
    *,
    exists: Probe = is_there,
    is_file: Probe = os.path.isfile,
) -> list[Path]:
    """Return the project's files that hold for the absolute `cwd`, the root's first.

    A folder gives one file at most: the first of `NAMES` and then `fallback_names` that it has.
    The root is the nearest folder with a marker; without one, only `cwd` is looked at.
    """
    root = project_root(cwd, markers, exists)
    upwards = (cwd, *cwd.parents)
    folders = reversed(upwards[: upwards.index(root) + 1])
    return [
        path
        for folder in folders
        if (path := first_doc(folder, fallback_names, is_file=is_file)) is not None
    ]


def first_doc(
    folder: Path, fallback_names: Sequence[str] = (), *, is_file: Probe = os.path.isfile
) -> Path | None:
    """Return the one file of `folder` that counts."""
    candidates = (folder / name for name in (*NAMES, *fallback_names))
    return next((path for path in candidates if is_file(path)), None)


def read_docs(paths: Iterable[Path], budget: int, guard: ReadGuard = OPEN) -> Docs:
    """Return the texts of `paths`, joined by blank lines, from at most `budget` bytes.

    A file that is blank, or that cannot be read, is left out. What is over the budget is cut off,
    and bytes that are not UTF-8 become U+FFFD; the warnings say so. `guard` refuses what must not
    be read for the model.
    """
    texts: list[str] = []
    warnings: list[str] = []
    left = budget
    for path in paths:
        try:
            size = size_of_regular(path)
            data = read_regular(path, left, cut=True, guard=guard)
        except OSError as error:
            warnings.append(f"{path} is left out: it cannot be read ({error.strerror}).")
            continue
        is_cut = size > len(data)
        if is_cut:
            warnings.append(
                f"{path} is cut after {len(data)} of {size} bytes: "
                f"project_doc_max_bytes is {budget}."
            )
        text, is_lossy = decode(data, is_cut=is_cut)
        if is_lossy:
            warnings.append(f"{path} is not UTF-8; what cannot be read is shown as U+FFFD.")
        left -= len(data)
        if text.strip():
            texts.append(text)
    return Docs("\n\n".join(texts), tuple(warnings))


def decode(data: bytes, *, is_cut: bool) -> tuple[str, bool]:
    """Return `data` as text, and whether bytes of it were no UTF-8.

    A character that was cut in two is dropped, and does not count as such bytes.
    """
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(data, final=not is_cut), False
    except UnicodeDecodeError:
        lossy = codecs.getincrementaldecoder("utf-8")("replace")
        return lossy.decode(data, final=not is_cut), True


def load_docs(
    cwd: Path,
    home: Path,
    *,
    markers: Sequence[str],
    fallback_names: Sequence[str],
    budget: int,
    user_instructions: str | None,
    guard: ReadGuard = OPEN,
) -> Docs:
    """Return all instructions that hold for `cwd`, the user's before the project's.

    Args:
        home: the folder with the file of the user.
        budget: bytes for the file of the user, and as many for the project; 0: read none.
        user_instructions: what the configuration says; goes first, and counts for no budget.
        guard: refuses files of the project that must not be read for the model.
    """
    if not budget:
        return Docs(user_instructions or "")
    own = first_doc(home)
    of_user = read_docs([own] if own is not None else [], budget)
    of_project = read_docs(find_project_docs(cwd, markers, fallback_names), budget, guard)
    users_text = "\n\n".join(text for text in (user_instructions, of_user.text) if text)
    return Docs(
        SEPARATOR.join(text for text in (users_text, of_project.text) if text),
        of_user.warnings + of_project.warnings,
    )
