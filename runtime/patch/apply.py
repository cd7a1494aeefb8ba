"""From a parsed patch to changed files: everything is computed in memory before any is touched.

Deliberately stricter than Codex's apply_patch, which applies hunk by hunk and leaves the earlier
ones on disk when a later one does not fit, and which overwrites silently: here a patch fits as a
whole or nothing is written, and a file that the patch does not name as existing is not replaced.
"""

import os
import stat
from typing import Literal, NamedTuple

from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import UsageError
from turnlog.runtime.patch.edit import edited
from turnlog.runtime.patch.parse import AddFile, DeleteFile, Hunk, Patch, UpdateFile
from turnlog.runtime.patch.write import Removal, Write, carry_out
from turnlog.runtime.sandbox.guard import OPEN, ReadGuard

MAX_FILE_BYTES = 16 << 20  # of a file that is updated
MAX_READ_BYTES = 256 << 20  # of all files that one patch updates

Letter = Literal["A", "M", "D"]


class FileChange(NamedTuple):
    """What a patch does to one file. `path` is absolute; a move is an update of its old path."""

    path: str
    kind: Literal["add", "update", "delete"]
    moved_to: str | None = None


class PatchApplied(NamedTuple):
    """`summary` is what the model is told; its paths are as the patch wrote them."""

    changes: tuple[FileChange, ...]
    summary: str


class PlannedPatch(NamedTuple):
    """A patch that fits the files as they are. `changes` are net, one a file, sorted by path."""

    changes: tuple[FileChange, ...]
    summary: str
    writes: tuple[Write, ...]
    removals: tuple[Removal, ...]

    def apply(self) -> PatchApplied:
        """Write it, creating missing folders. A link is written through, never replaced.

        Raises:
            Failed: the disk or the sandbox refused, or a file changed since the plan;
                it holds what was written before.
        """
        carry_out(self.writes, self.removals)
        return PatchApplied(self.changes, self.summary)


def touched_paths(patch: Patch, cwd: str) -> tuple[str, ...]:
    """Return every path that `patch` names, targets of moves included: absolute, sorted, unique.

    Pure, so blind to links: only a sandbox can tell where a write ends up.
    """
    named = [hunk.path for hunk in patch.hunks]
    named += [h.move_to for h in patch.hunks if isinstance(h, UpdateFile) and h.move_to is not None]
    return tuple(sorted({_absolute(path, cwd) for path in named}))


def plan_patch(patch: Patch, cwd: str, guard: ReadGuard = OPEN) -> PlannedPatch:
    """Compute every new content; hunks see what earlier hunks did. Nothing is written.

    Args:
        patch: as parsed; relative paths start from `cwd`.
        cwd: an absolute path.
        guard: refuses files that must not be read for the model.

    Raises:
        UsageError: the patch is empty, or a hunk does not fit; the text names hunk and file.
    """
    if not patch.hunks:
        raise UsageError(ErrorCode.PATCH_INVALID, "No files were modified.")
    planner = _Planner(cwd, guard)
    for hunk in patch.hunks:
        try:
            planner.take(hunk)
        except OSError as error:
            path = str(error.filename or hunk.path)
            raise _misfit(hunk, path, f"cannot be reached: {error.strerror}") from error
    planner.check_folders()
    return PlannedPatch(planner.changes(), _summary(patch), planner.writes(), planner.removals())


def _absolute(path: str, cwd: str) -> str:
    if not os.path.isabs(cwd):
        raise ValueError(f"cwd must be absolute, not {cwd!r}")
    return "/" + os.path.normpath(os.path.join(cwd, path)).lstrip("/")


def _summary(patch: Patch) -> str:
    named: dict[Letter, dict[str, None]] = {"A": {}, "M": {}, "D": {}}
    for hunk in patch.hunks:
        match hunk:
            case AddFile(path=path):
                named["A"][path] = None
            case UpdateFile(path=path, move_to=move_to):
                named["M"][move_to or path] = None
            case DeleteFile(path=path):
                named["D"][path] = None
    lines = [f"{letter} {path}\n" for letter, paths in named.items() for path in paths]
    return "Success. Updated the following files:\n" + "".join(lines)


def _misfit(hunk: Hunk, path: str, why: str) -> UsageError:
    return UsageError(
        ErrorCode.PATCH_INVALID, f"patch line {hunk.number}: {path} {why}. No file was changed."
    )


class _Place:
    """One directory entry: what is there on disk, and what the hunks so far make of it."""

    __slots__ = ("before", "content", "exists", "like", "path")

    def __init__(self, path: str) -> None:
        self.path = path  # real; only the last part may be a link
        try:
            before = os.lstat(path)
        except FileNotFoundError:
            before = None
        self.before = before
        self.exists = before is not None
        self.content: bytes | None = None  # None: as on disk
        # Whose mode and owner the content takes.
        self.like = before if before is not None and stat.S_ISREG(before.st_mode) else None

    def put(self, content: bytes, like: os.stat_result | None) -> None:
        self.content, self.like, self.exists = content, like, True

    def is_written(self) -> bool:
        return self.exists and self.content is not None


class _Planner:
    """An overlay over the file system, which is only read."""

    def __init__(self, cwd: str, guard: ReadGuard) -> None:
        self.cwd = cwd
        self.guard = guard
        self.places: dict[str, _Place] = {}
        self.named: dict[str, _Place] = {}  # by absolute path, as the patch names it
        self.read_bytes = 0
        self.origins: dict[str, str] = {}  # target of a move -> the path on disk that it was

    def take(self, hunk: Hunk) -> None:
        match hunk:
            case AddFile():
                self._add(hunk)
            case DeleteFile():
                self._delete(hunk)
            case UpdateFile():
                self._update(hunk)

    def _add(self, hunk: AddFile) -> None:
        path = _absolute(hunk.path, self.cwd)
        self.named[path] = place = self._vacant(hunk, path)
        place.put("".join(f"{line}\n" for line in hunk.lines).encode(), place.like)

    def _delete(self, hunk: DeleteFile) -> None:
        path = _absolute(hunk.path, self.cwd)
        self.named[path] = place = self._place(path, follow=False)
        self._check_file(hunk, place, may_be_link=True)
        place.exists = False
        self.origins.pop(path, None)

    def _update(self, hunk: UpdateFile) -> None:
        path = _absolute(hunk.path, self.cwd)
        self.named[path] = place = self._place(path, follow=True)
        self._check_file(hunk, place)
        content = self._content(hunk, place)
        if hunk.chunks:
            content = edited(content, hunk.chunks, hunk.path)
        if hunk.move_to is None or (to := _absolute(hunk.move_to, self.cwd)) == path:
            place.put(content, place.like)
            return
        self.named[to] = target = self._vacant(hunk, to)
        target.put(content, place.like)
        self.named[path] = source = self._place(path, follow=False)
        source.exists = False
        origin = self.origins.pop(path, path)
        if self.named[origin].before is not None:
            self.origins[to] = origin

    def _place(self, path: str, *, follow: bool) -> _Place:
        """Return the entry at `path`; with `follow`, the file that a link there leads to."""
        folder, name = os.path.split(path)
        entry = os.path.join(os.path.realpath(folder), name)
        if follow and entry not in self.places and os.path.islink(entry):
            entry = os.path.realpath(entry)
        if entry not in self.places:
            self.places[entry] = _Place(entry)
        return self.places[entry]

    def _vacant(self, hunk: Hunk, path: str) -> _Place:
        place = self._place(path, follow=False)
        if place.exists:
            why = "exists already; update it, or delete it earlier in the same patch"
            raise _misfit(hunk, path, why)
        return place

    def _check_file(self, hunk: Hunk, place: _Place, *, may_be_link: bool = False) -> None:
        if not place.exists:
            raise _misfit(hunk, hunk.path, "does not exist")
        if place.content is not None or place.before is None:
            return
        mode = place.before.st_mode
        if stat.S_ISDIR(mode):
            raise _misfit(hunk, hunk.path, "is a directory, and a patch changes files")
        if not (stat.S_ISREG(mode) or (may_be_link and stat.S_ISLNK(mode))):
            raise _misfit(hunk, hunk.path, "is not a regular file")

    def _content(self, hunk: UpdateFile, place: _Place) -> bytes:
        if place.content is not None:
            return place.content
        descriptor = os.open(place.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            self.guard.check(descriptor, hunk.path)
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            why = f"has more than {MAX_FILE_BYTES} bytes, the most that a patch updates"
            raise _misfit(hunk, hunk.path, why)
        self.read_bytes += len(content)
        if self.read_bytes > MAX_READ_BYTES:
            why = f"is too much: one patch updates at most {MAX_READ_BYTES} bytes of files"
            raise _misfit(hunk, hunk.path, why)
        return content

    def check_folders(self) -> None:
        """Refuse a patch that needs one path both as a file and as a folder."""
        files = {path for path, place in self.places.items() if place.is_written()}
        for path in files:
            folder = os.path.dirname(path)
            while folder not in files and folder != os.path.dirname(folder):
                folder = os.path.dirname(folder)
            if folder in files:
                raise UsageError(
                    ErrorCode.PATCH_INVALID,
                    f"the patch puts {path} into {folder}, which it makes a file. "
                    "No file was changed.",
                )

    def changes(self) -> tuple[FileChange, ...]:
        moved = {o: t for t, o in self.origins.items() if not self.named[o].exists}
        targets = set(moved.values())
        found: list[FileChange] = []
        for path, place in self.named.items():
            if path in targets:
                continue
            if path in moved:
                found.append(FileChange(path, "update", moved[path]))
            elif place.exists:
                found.append(FileChange(path, "update" if place.before is not None else "add"))
            elif place.before is not None:
                found.append(FileChange(path, "delete"))
        return tuple(sorted(found, key=lambda change: change.path))

    def writes(self) -> tuple[Write, ...]:
        return tuple(
            Write(path, place.content, place.before, place.like)
            for path, place in self.places.items()
            if place.exists and place.content is not None
        )

    def removals(self) -> tuple[Removal, ...]:
        return tuple(
            Removal(path, place.before)
            for path, place in self.places.items()
            if not place.exists and place.before is not None
        )
