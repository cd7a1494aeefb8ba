"""Finds what commands changed in a workspace: images of all of it once, then of what is new.

No .gitignore is read: a file that git ignores can be somebody's work, too. What is left out is
what tools can make again: folders by name, and those that say so themselves by a marker file.
"""

import os
import stat
import time
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from typing import Final

import attrs
from msgspec import Struct

from turnlog.protocol.files import (
    SKIPPED,
    TIME_OVER,
    TOO_MANY,
    FileImage,
    FileMark,
    LeftOut,
    mark_of,
)
from turnlog.runtime.sandbox.guard import OPEN, ReadGuard
from turnlog.runtime.workspace.images import image_of, is_text, shown, size_of

SKIPPED_FOLDERS: Final = frozenset(
    {".git", ".hg", ".svn", ".jj", ".bzr", ".venv", ".tox", ".nox", ".gradle", ".terraform"}
    | {"node_modules", "bower_components", "__pycache__", "site-packages", ".next", ".nuxt"}
    | {".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", ".cache", ".direnv"}
)
# CACHEDIR.TAG is the "Cache Directory Tagging Specification"; cargo, pytest, uv and others write
# it. pyvenv.cfg is in every virtual environment (PEP 405).
MARKER_FILES: Final = ("CACHEDIR.TAG", "pyvenv.cfg")
_OF_TURNLOG: Final = "it is in turnlog's home"
_EXAMPLES: Final = 3  # of each reason
_SETTLED_NS: Final = 50_000_000  # how old a change must be for the clock to tell the next apart


class ScanLimits(Struct, frozen=True):
    """How much one scan may read and keep."""

    max_files: int = 20_000
    max_file_bytes: int = 1 << 20  # a larger one is seen, but its content is not kept
    max_total_bytes: int = 64 << 20  # of all files that are tracked, not only of changed ones
    max_seconds: float = 10.0
    batch_bytes: int = 1 << 20  # of contents; one image alone may take more (1.4 MiB as base64)


class Tracked(Struct, frozen=True):
    """What a scan remembers of a file. Without a stamp it is read again."""

    mark: FileMark
    stamp: tuple[int, ...] = ()
    size: int = 0  # bytes
    left_out: str = ""  # why its content is not kept


ScanIndex = Mapping[str, Tracked]


def index_of(marks: Mapping[str, FileMark]) -> ScanIndex:
    """Return an index for marks that a log remembers: all is read again, only changes come out."""
    return {path: Tracked(mark) for path, mark in marks.items() if mark.kind != "missing"}


@attrs.define
class WorkspaceScan:
    """One scan. Take its batches to the end, in one worker thread at a time; they block.

    Args:
        root: an absolute path; folders below it that are links are not entered.
        known: the `index` of the last scan of this root; empty for the first one.
        skip: names of folders that are not entered.
        guard: names what must not be read for the model; it is left out.

    `index` and `left_out` count once the batches have ended. What was tracked before is looked at
    even where the walk did not get to it, so a deleted file comes out as a `missing` image.
    """

    root: str
    known: ScanIndex = attrs.field(factory=dict[str, Tracked])
    limits: ScanLimits = attrs.field(factory=ScanLimits)
    skip: Collection[str] = SKIPPED_FOLDERS
    guard: ReadGuard = OPEN
    index: dict[str, Tracked] = attrs.field(init=False, factory=dict[str, Tracked])
    _left_out: dict[str, list[str]] = attrs.field(init=False, factory=dict[str, list[str]])
    _counts: dict[str, int] = attrs.field(init=False, factory=dict[str, int])
    _total: int = attrs.field(init=False, default=0)
    _deadline: float = attrs.field(init=False, default=0.0)
    _began_ns: int = attrs.field(init=False, default=0)

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """What is not covered, and why; empty if all is. A scan with any of it is partial."""
        return tuple(
            LeftOut(reason, count, tuple(self._left_out[reason]))
            for reason, count in sorted(self._counts.items())
        )

    def batches(self) -> Iterator[tuple[FileImage, ...]]:
        """Yield images of what is new or changed, and `missing` ones of what has gone.

        At the first scan this is everything. An image without content is of a file that is not
        covered; it is there so that its making or changing shows.
        """
        self._deadline = time.monotonic() + self.limits.max_seconds
        self._began_ns = time.time_ns()
        batch: list[FileImage] = []
        size = 0
        for image in self._images():
            if batch and size + size_of(image) > self.limits.batch_bytes:
                yield tuple(batch)
                batch, size = [], 0
            batch.append(image)
            size += size_of(image)
        if batch:
            yield tuple(batch)

    def present(self) -> Iterator[tuple[str, os.stat_result]]:
        """Yield the files that are there now, as far as a scan would cover them. It is no scan."""
        self._deadline = time.monotonic() + self.limits.max_seconds
        return self._walk()

    def _images(self) -> Iterator[FileImage]:
        for path, status in self._files():
            image = self._look(path, status)
            if image is not None:
                yield image

    def _files(self) -> Iterator[tuple[str, os.stat_result | None]]:
        """Yield what was tracked, then what the walk finds besides."""
        for path in self.known:
            if time.monotonic() > self._deadline:
                self.index[path] = self.known[path]
                self._leave_out(TIME_OVER, path)
                continue
            try:
                yield path, os.lstat(path)
            except (FileNotFoundError, NotADirectoryError):
                yield path, None
            except OSError:
                self.index[path] = self.known[path]
                self._leave_out(SKIPPED["unreadable"], path)
        yield from self._walk()

    def _walk(self) -> Iterator[tuple[str, os.stat_result]]:
        """Walk breadth first, so that one deep folder does not use up the limits of all others."""
        root = os.path.realpath(self.root)
        folders = deque([root])
        while folders:
            folder = folders.popleft()
            if time.monotonic() > self._deadline:
                self._leave_out(TIME_OVER, folder)
                continue
            try:
                with os.scandir(folder) as found:
                    entries = sorted(found, key=lambda entry: entry.name)
            except OSError:
                self._leave_out(SKIPPED["unreadable"], folder)
                continue
            if folder != root and any(entry.name in MARKER_FILES for entry in entries):
                self._leave_out("it is a cache or a virtual environment", folder)
                continue
            for entry in entries:
                if not is_text(entry.name):
                    self._leave_out(SKIPPED["name"], entry.path)
                elif not entry.is_dir(follow_symlinks=False):
                    yield from self._entry(entry)
                elif self.guard.covers(entry.path):
                    self._leave_out(_OF_TURNLOG, entry.path)
                elif entry.name in self.skip:
                    self._leave_out(f"folders named {entry.name} are not covered", entry.path)
                else:
                    folders.append(entry.path)

    def _entry(self, entry: "os.DirEntry[str]") -> Iterator[tuple[str, os.stat_result]]:
        if entry.path in self.known or entry.name == ".git":
            return
        if time.monotonic() > self._deadline:
            self._leave_out(TIME_OVER, entry.path)
            return
        try:
            yield entry.path, entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return
        except OSError:
            self._leave_out(SKIPPED["unreadable"], entry.path)

    def _look(self, path: str, status: os.stat_result | None) -> FileImage | None:
        """Track a path; return its image if it is not what is known of it."""
        known = self.known.get(path)
        if status is None:
            return FileImage(path, missing=True)
        stamp = _stamp(status)
        if known is not None and known.stamp == stamp:
            self._track(path, known)
            return None
        if known is None and not self._has_room(path, status):
            return None
        is_full = self._total + status.st_size > self.limits.max_total_bytes
        limit = 0 if is_full else self.limits.max_file_bytes
        image = image_of(path, limit, digest_limit=limit, guard=self.guard)
        if image.missing or image.folder:
            return image if known is not None else None
        mark = mark_of(image)
        self._track(path, self._tracked(image, mark, status))
        is_known = known is not None and known.mark == mark and mark.kind != "unknown"
        return None if is_known else image

    def _tracked(self, image: FileImage, mark: FileMark, status: os.stat_result) -> Tracked:
        is_settled = self._began_ns - max(status.st_mtime_ns, status.st_ctime_ns) > _SETTLED_NS
        stamp = _stamp(status) if is_settled else ()
        if image.skipped is None:
            return Tracked(mark, stamp, status.st_size)
        reason = SKIPPED[image.skipped]
        if image.skipped == "too_large" and status.st_size <= self.limits.max_file_bytes:
            reason = f"all files have more than {self.limits.max_total_bytes} bytes"
        return Tracked(mark, stamp, left_out=reason)

    def _has_room(self, path: str, status: os.stat_result) -> bool:
        if len(self.index) >= self.limits.max_files:
            self._leave_out(f"{TOO_MANY} {self.limits.max_files} files", path)
            return False
        return not stat.S_ISSOCK(status.st_mode)

    def _track(self, path: str, tracked: Tracked) -> None:
        self.index[path] = tracked
        self._total += tracked.size
        if tracked.left_out:
            self._leave_out(tracked.left_out, path)

    def _leave_out(self, reason: str, path: str) -> None:
        self._counts[reason] = self._counts.get(reason, 0) + 1
        examples = self._left_out.setdefault(reason, [])
        if len(examples) < _EXAMPLES:
            examples.append(shown(path))


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    """Return what changes when the file does. The ctime sees also what keeps the mtime."""
    return (
        status.st_ino,
        status.st_size,
        status.st_mode,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )
