"""Decides what bringing files back would do, path by path, without touching anything.

A file is brought back only if it is still as the last known change left it. So later work is never
lost unless somebody asks for that (`force`). The plan holds the whole content that is replaced: put
it into the log first, and the restore can itself be undone.
"""

import os
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

import msgspec
from msgspec import Struct

from turnlog.protocol.files import (
    SKIPPED,
    Action,
    FileEdit,
    FileImage,
    FileMark,
    RestoreStep,
    is_same,
    mark_of,
)
from turnlog.runtime.sandbox.guard import OPEN, ReadGuard
from turnlog.runtime.workspace.folders import first_link
from turnlog.runtime.workspace.images import MAX_IMAGE_BYTES, image_in_place, with_digest

_IS_BACK: Final = "It is as it was."
_UNKNOWN_HAND: Final = "It was changed by a command or by someone else."
_CHANGED: Final = "It was changed by someone else since."
_BETWEEN: Final = "It was changed by someone else between two of the changes."


class PlannedStep(Struct, frozen=True):
    """One path: `present` is what is there, `target` what would be there afterwards."""

    path: str
    action: Action
    reason: str
    target: FileImage
    present: FileImage

    @property
    def acts(self) -> bool:
        """Whether the step changes anything."""
        return self.action in ("write", "delete")


class RestorePlan(Struct, frozen=True):
    """A restore that fits the files as they are. Steps are sorted by path."""

    steps: tuple[PlannedStep, ...]

    @property
    def replaced(self) -> tuple[FileImage, ...]:
        """What it would replace. Restoring these undoes the restore; keep them before it."""
        return tuple(step.present for step in self.steps if step.acts)

    @property
    def preview(self) -> tuple[RestoreStep, ...]:
        """The steps without contents, to be shown to a person."""
        return tuple(RestoreStep(step.path, step.action, step.reason) for step in self.steps)

    def only(self, paths: Iterable[str]) -> "RestorePlan":
        """Return the part of the plan for `paths`, and for the folders that they need."""
        named = set(paths)
        wanted = set(named)
        for path in named:
            while (path := os.path.dirname(path)) not in wanted:
                wanted.add(path)
        steps = {
            step.path: step
            for step in self.steps
            if step.path in named or (step.path in wanted and step.target.folder)
        }
        _keep_used_folders(steps)
        return RestorePlan(tuple(steps.values()))


def plan_restore(
    edits: Sequence[FileEdit],
    *,
    roots: Sequence[str] = (),
    force: bool = False,
    limit: int = MAX_IMAGE_BYTES,
    guard: ReadGuard = OPEN,
) -> RestorePlan:
    """Compare every file with the result of the edits; nothing is written. Blocks.

    Args:
        edits: oldest first; several of one path are undone as one. Those without an `after`
            take whatever is there now as theirs, and say so.
        roots: folders below which missing folders may be made. A path outside of them is
            restored only because an edit names it, and the step says so.
        force: restore also what was changed by someone else. What could not be kept (a folder
            with files in it, a device, an unreadable file) is never replaced, nor anything
            reached through a link or in a `.git` folder.
        limit: most bytes of a present file that are kept.
        guard: names what is neither read nor restored.
    """
    real_roots = [os.path.realpath(root) for root in roots]
    chains: dict[str, list[FileEdit]] = {}
    for edit in edits:
        chains.setdefault(edit.before.path, []).append(edit)
    steps: dict[str, PlannedStep] = {}
    for path in sorted(chains):  # a folder comes before what is in it
        link = first_link(path)
        if link is not None and _makes_way(steps.get(link)):
            link = None
        steps[path] = _step(chains[path], link, force, limit, guard)
    _add_folders(steps, real_roots)
    _keep_used_folders(steps)
    return RestorePlan(tuple(_told_if_outside(steps[path], real_roots) for path in sorted(steps)))


def _makes_way(step: PlannedStep | None) -> bool:
    """Say whether a step removes what is at its path, for a folder or for nothing."""
    return step is not None and step.acts and (step.target.folder or step.target.missing)


def _step(
    chain: Sequence[FileEdit], link: str | None, force: bool, limit: int, guard: ReadGuard
) -> PlannedStep:
    target, after = with_digest(chain[0].before), chain[-1].after
    path = target.path

    def refused(action: Action, reason: str, present: FileImage) -> PlannedStep:
        return PlannedStep(path, action, reason, target, present)

    nobody_knows = FileImage(path, skipped="unreadable")
    if target.skipped is not None:
        why = SKIPPED[target.skipped]
        return refused("not_covered", f"What was there was not kept: {why}.", nobody_knows)
    if not target.path.startswith("/") or os.path.normpath(path) != path:
        return refused("not_covered", "It is no absolute, normal path.", nobody_knows)
    if ".git" in path.split("/"):
        return refused("not_covered", "What is in a .git folder is never touched.", nobody_knows)
    if guard.covers(path):
        return refused("not_covered", "It is in turnlog's home.", nobody_knows)
    if link is not None:
        return refused("conflict", "The way to it leads through a link now.", nobody_knows)
    present = image_in_place(path, limit, guard=guard)
    if present.skipped is not None and present.skipped != "too_large":
        why = SKIPPED[present.skipped]
        return refused("conflict", f"What is there could not be kept: {why}.", present)
    mode, mode_clashes = _merged_mode(target, after, present)
    target = msgspec.structs.replace(target, mode=mode)
    here = mark_of(present)
    if is_same(here, mark_of(target)) and (present.folder or present.mode == mode):
        return PlannedStep(path, "nothing", _IS_BACK, target, present)
    clash = _clash(chain, after, present, mode_clashes)
    if clash is not None and not force:
        return PlannedStep(path, "conflict", clash, target, present)
    action: Action = "delete" if target.missing else "write"
    reason = clash or (_UNKNOWN_HAND if after is None else _reason(target, present))
    return PlannedStep(path, action, reason, target, present)


def _clash(
    chain: Sequence[FileEdit], after: FileMark | None, present: FileImage, mode_clashes: bool
) -> str | None:
    """Return why restoring would lose somebody's work, if it would."""
    here = mark_of(present)
    if after is not None and not is_same(after, here):
        return "It was removed by someone else since." if present.missing else _CHANGED
    if mode_clashes:
        return "Its permissions were changed by someone else since."
    for earlier, later in pairwise(chain):
        if earlier.after is not None and not is_same(earlier.after, mark_of(later.before)):
            return _BETWEEN
    if present.skipped is not None:
        return "It is so large that restoring it could not be undone."
    return None


def _merged_mode(
    target: FileImage, after: FileMark | None, present: FileImage
) -> tuple[int | None, bool]:
    """Return the permissions to restore, and whether both sides changed them.

    Permissions that the change left alone stay as somebody has set them since; not those of a
    folder where a file was, or of a file where a folder was.
    """
    if present.folder != target.folder:
        return target.mode, False
    if target.mode is None or present.mode is None or after is None or after.mode is None:
        return target.mode, False
    if present.mode in (after.mode, target.mode):
        return target.mode, False
    return (present.mode, False) if after.mode == target.mode else (target.mode, True)


def _reason(target: FileImage, present: FileImage) -> str:
    if target.missing:
        return "It was not there before." if not present.folder else "This folder was made."
    if present.missing:
        return "It was removed."
    same = is_same(mark_of(target), mark_of(present))
    return "Its permissions were changed." if same else "It was changed."


def _add_folders(steps: dict[str, PlannedStep], roots: Sequence[str]) -> None:
    """Plan the folders that are missing for what is written; refuse what cannot have them."""
    for path in [path for path in sorted(steps) if steps[path].action == "write"]:
        needed: list[PlannedStep] = []
        why = _folders_for(path, steps, roots, needed)
        if why is None:
            steps.update((step.path, step) for step in needed)
        else:
            steps[path] = msgspec.structs.replace(steps[path], action="conflict", reason=why)


def _folders_for(
    path: str, steps: dict[str, PlannedStep], roots: Sequence[str], needed: list[PlannedStep]
) -> str | None:
    """Add to `needed` what is to be done above `path`; return why that is impossible, if it is."""
    folder = path
    while (folder := os.path.dirname(folder)) != "/":
        step = steps.get(folder)
        present = image_in_place(folder, 0, digest_limit=0) if step is None else step.present
        acts = step is not None and step.acts
        if step is not None and acts and step.target.folder:
            return None
        if present.folder:
            if step is not None and acts and not step.target.missing:
                return f"{folder} has to be a folder and a file."
            if step is not None and acts:
                needed.append(_folder_step(step.target, present, "nothing"))
            return None
        if not present.missing and not (step is not None and acts and step.target.missing):
            return f"{folder} is no folder now."
        if not any(_is_below(folder, root) for root in roots) and step is None:
            return f"The folder {folder} is gone, and it lies outside of the workspace."
        needed.append(_folder_step(FileImage(folder, folder=True), present, "write"))
    return None


def _folder_step(target: FileImage, present: FileImage, action: Action) -> PlannedStep:
    return PlannedStep(target.path, action, "A file in it is restored.", target, present)


def _keep_used_folders(steps: dict[str, PlannedStep]) -> None:
    """Turn the removal of a folder that will not be empty into nothing, or into a conflict."""
    for path in sorted(steps, reverse=True):  # what is in a folder comes before the folder
        step = steps[path]
        if not (step.acts and step.present.folder) or step.target.folder:
            continue
        left = [name for name in _names(path) if not _goes(steps.get(os.path.join(path, name)))]
        if left:
            stays = f"Other files are in this folder, such as {left[0]!a}."
            action: Action = "nothing" if step.target.missing else "conflict"
            steps[path] = msgspec.structs.replace(step, action=action, reason=stays)


def _goes(step: PlannedStep | None) -> bool:
    return step is not None and step.action == "delete"


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        return [error.strerror or "unreadable"]


def _told_if_outside(step: PlannedStep, roots: Sequence[str]) -> PlannedStep:
    if not step.acts or not roots or any(_is_below(step.path, root) for root in roots):
        return step
    return msgspec.structs.replace(step, reason=f"{step.reason} It is outside of the workspace.")


def _is_below(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")
