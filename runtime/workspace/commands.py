"""Changes by commands that no image shows: what an undo removes, or reports as left alone.

A file's ctime tells when it was last changed, and nobody can set it back. So a file that was not
there before, and whose ctime is in the time of a turn that is undone, was made in that turn and not
changed since.
"""

import os
from collections.abc import Sequence
from itertools import islice
from typing import Final

from turnlog.protocol.files import FileEdit, FileImage, FileMark, RestoredFile, TurnWork, mark_of
from turnlog.runtime.sandbox.guard import OPEN, ReadGuard
from turnlog.runtime.workspace.images import image_of
from turnlog.runtime.workspace.scan import WorkspaceScan

MOST_NAMED: Final = 200  # files that are named one by one
_LEFT: Final = "It was changed while a command ran; what it was before was not kept."


def made_by_commands(
    cwd: str, edits: Sequence[FileEdit], work: TurnWork, guard: ReadGuard = OPEN
) -> tuple[FileEdit, ...]:
    """Return the making of each file that was not there before, where a whole scan tells. Blocks.

    One that somebody has changed since is a change of theirs.
    """
    if not work.commands or work.scanned is None:
        return ()
    known = {edit.before.path for edit in edits} | work.scanned
    made: list[FileEdit] = []
    for path, status in WorkspaceScan(cwd, guard=guard).present():
        if path in known or not _was_changed(status, work, later=True):
            continue
        is_theirs = _was_changed(status, work)
        after = mark_of(image_of(path, 0)) if is_theirs else FileMark("unknown")
        made.append(FileEdit(FileImage(path, missing=True), after))
    return tuple(made)


def left_by_commands(
    cwd: str, edits: Sequence[FileEdit], work: TurnWork, guard: ReadGuard = OPEN
) -> tuple[RestoredFile, ...]:
    """Return the files that an undo does not cover, where no scan was made. Blocks."""
    if not work.commands or work.scanned is not None:
        return ()
    known = {edit.before.path for edit in edits}
    found = (
        RestoredFile(path, "not_covered", _LEFT)
        for path, status in WorkspaceScan(cwd, guard=guard).present()
        if path not in known and _was_changed(status, work)
    )
    return tuple(islice(found, MOST_NAMED))


def _was_changed(status: os.stat_result, work: TurnWork, *, later: bool = False) -> bool:
    """Say whether a file was changed last in one of the turns; or, if `later`, since the first."""
    when = status.st_ctime_ns // 1000
    if later:
        return any(begun <= when for begun, _ in work.times_us)
    return any(begun <= when <= ended for begun, ended in work.times_us)
