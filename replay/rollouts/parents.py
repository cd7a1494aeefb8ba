"""Forks by reference: a fork's file holds only what is its own, and names where it left its parent.

The parent is looked for among the files at hand, then beside the fork, then in the tree of
dated folders that Codex keeps its sessions in.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs
import msgspec

from turnlog.protocol.errors import UsageError
from turnlog.protocol.json_values import is_object, text_of
from turnlog.replay.rollouts.reading import (
    Note,
    RolloutFile,
    Skipped,
    read_rollout,
)

_MOST_FILES: Final = 2000  # beside a fork, whose first line is looked at
_FIRST_LINE: Final = 1 << 20  # bytes of it
_DEEPEST: Final = 100  # forks of forks

_T = TypeVar("_T", Skipped, Note)
Find = Callable[[str], RolloutFile | None]


@attrs.frozen
class Base:
    """Where a fork left its parent."""

    parent: str
    end: int  # ordinal of the parent's first line that does not count


def base_of(file: RolloutFile) -> Base | None:
    """Return where a fork's file begins; None for a file that holds all of its session."""
    base = file.meta.get("history_base")
    if not is_object(base):
        return None
    parent, end = text_of(base.get("thread_id")), base.get("end_ordinal_exclusive")
    return Base(parent, end) if parent and isinstance(end, int) else None


def whole(file: RolloutFile, find: Find, *, depth: int = 0) -> RolloutFile:
    """Return `file` with what it has of its parents before its own lines."""
    base = base_of(file)
    if base is None:
        return file
    parent = find(base.parent) if depth < _DEEPEST else None
    if parent is None:
        note = Note(
            file.lines[0].number,
            f"this is a fork of {base.parent}, whose file was not found; what the fork has of it "
            "is missing. Name that file, too, to import all of it.",
            file.name,
        )
        return attrs.evolve(file, notes=[*file.notes, note])
    above = whole(parent, find, depth=depth + 1)
    kept = [line for line in above.lines if line.ordinal < base.end]
    first = file.lines[0]
    joined = RolloutFile(file.name, is_paginated=True)
    joined.lines = [first, *(line for line in kept if line.type != "session_meta")]
    joined.lines += file.lines[1:]
    end = next((line.number for line in above.lines if line.ordinal >= base.end), None)
    joined.skipped = [*_before(above.skipped, above.name, end), *file.skipped]
    joined.notes = [*_before(above.notes, above.name, end), *file.notes]
    joined.count = len(kept) + file.count
    return joined


def _before(found: list[_T], name: str, line: int | None) -> list[_T]:
    return [one for one in found if line is None or one.file != name or one.line < line]


def finder(given: Mapping[str, RolloutFile], beside: Path) -> Find:
    """Return what finds a session's file.

    Args:
        given: the files at hand, by the ids of their sessions.
        beside: the fork's file.
    """

    def find(session: str) -> RolloutFile | None:
        if session in given:
            return given[session]
        for path in _candidates(beside, session):
            try:
                found = read_rollout(path)
            except UsageError:
                continue
            if found.session == session:
                return found
        return None

    return find


def _candidates(beside: Path, session: str) -> Iterator[Path]:
    folder = beside.absolute().parent
    yield from sorted(folder.glob(f"*{session}*.jsonl"))
    for above in folder.parents:
        if above.name in ("sessions", "archived_sessions"):
            yield from sorted(above.rglob(f"*{session}*.jsonl"))
            break
    others = sorted(folder.glob("*.jsonl"))[:_MOST_FILES]
    yield from (path for path in others if _session_in(path) == session)


def _session_in(path: Path) -> str | None:
    """Return the id that a file's first line gives, if it is a rollout's."""
    try:
        with path.open("rb") as file:
            first: Any = msgspec.json.decode(file.readline(_FIRST_LINE))
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    payload = first.get("payload") if is_object(first) else None
    return text_of(payload.get("id")) if is_object(payload) else None
