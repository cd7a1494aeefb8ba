"""Carries out a planned restore: everything is checked and staged before a file is replaced.

Up to then any problem, such as a full disk or a file that has changed since the plan, leaves all
files as they are. A file is at any time its old self or its new self, whole. No link is followed.
"""

import errno
import os
import stat
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress

import attrs
from msgspec import Struct

from turnlog.protocol.files import FileEdit, RestoredFile, mark_of
from turnlog.runtime.workspace.folders import first_link, nearest_folder, open_folder
from turnlog.runtime.workspace.images import content_of, image_in_place
from turnlog.runtime.workspace.restore import PlannedStep, RestorePlan

_FILE_MODE = 0o644  # of a file whose permissions nobody kept
_Identity = tuple[int, ...] | None  # None: nothing is there


class RestoreReport(Struct, frozen=True):
    """How a restore went: `files` has every step of the plan, sorted by path.

    `edits` are what it changed. Restoring them undoes it.
    """

    files: tuple[RestoredFile, ...]
    edits: tuple[FileEdit, ...]

    @property
    def failed(self) -> tuple[RestoredFile, ...]:
        """The files that were not restored."""
        return tuple(file for file in self.files if file.outcome in ("failed", "untouched"))


def apply_restore(plan: RestorePlan) -> RestoreReport:
    """Write, make and remove what the plan says. Never raises for what the disk does. Blocks.

    A replaced file keeps its owner where permitted, not its hard links.
    """
    run = _Run()
    acting = [step for step in plan.steps if step.acts]
    try:
        for step in acting:
            run.guard(step, run.prepare)
        if not run.failures:
            _commit(run, acting)
    finally:
        run.clean_up()
    done = [step for step in acting if step.path in run.done]
    return RestoreReport(
        tuple(_restored(step, run) for step in plan.steps), tuple(_edit(step) for step in done)
    )


@attrs.define
class _Run:
    """What one restore has found, staged and done so far, by path."""

    identities: dict[str, _Identity] = attrs.field(factory=dict[str, _Identity])
    staged: dict[str, str] = attrs.field(factory=dict[str, str])  # the temporary path
    done: set[str] = attrs.field(factory=set[str])
    failures: dict[str, str] = attrs.field(factory=dict[str, str])  # why

    def guard(self, step: PlannedStep, action: Callable[[PlannedStep], None]) -> None:
        try:
            action(step)
        except OSError as error:
            why = error.strerror or str(error)
            self.failures[step.path] = f"{why[:1].upper()}{why[1:]}."

    def prepare(self, step: PlannedStep) -> None:
        """Check that the file is as planned, and put its new content beside it."""
        hidden = first_link(step.path) is not None  # that link will have made way
        self.identities[step.path] = None if hidden else _identity(step.path)
        now = image_in_place(step.path, 0)
        if mark_of(now) != mark_of(step.present):
            raise _changed(step.path)
        if step.action == "write" and not step.target.folder:
            self._stage(step)

    def _stage(self, step: PlannedStep) -> None:
        beside = nearest_folder(step.path)
        name = f".turnlog-restore-{os.urandom(8).hex()}"
        folder = open_folder(beside)
        try:
            if step.target.link is not None:
                os.symlink(step.target.link, name, dir_fd=folder)
                self.staged[step.path] = os.path.join(beside, name)
                return
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            file = os.open(name, flags, 0o600, dir_fd=folder)
            self.staged[step.path] = os.path.join(beside, name)
        finally:
            os.close(folder)
        with open(file, "wb") as stream:
            stream.write(content_of(step.target) or b"")
            stream.flush()
            _take_owner(file, step.path)
            mode = step.target.mode
            os.fchmod(file, (_FILE_MODE if mode is None else mode) & 0o777)
            os.fsync(file)

    def remove(self, step: PlannedStep) -> None:
        with self._place(step) as (folder, name):
            if step.present.folder:
                os.rmdir(name, dir_fd=folder)
            else:
                os.unlink(name, dir_fd=folder)
        if step.target.missing:
            self.done.add(step.path)

    def make_folder(self, step: PlannedStep) -> None:
        """Make a folder, in the place of a file if there is one, which is kept until it is made."""
        mode = step.target.mode
        with self._place(step) as (folder, name):
            aside = f".turnlog-restore-{os.urandom(8).hex()}"
            if not step.present.missing:
                os.rename(name, aside, src_dir_fd=folder, dst_dir_fd=folder)
            try:
                os.mkdir(name, 0o777 if mode is None else mode, dir_fd=folder)
            except OSError:
                if not step.present.missing:
                    os.rename(aside, name, src_dir_fd=folder, dst_dir_fd=folder)
                raise
            if not step.present.missing:
                os.unlink(aside, dir_fd=folder)
        self.done.add(step.path)

    def put(self, step: PlannedStep) -> None:
        temporary = self.staged[step.path]
        beside = open_folder(os.path.dirname(temporary))
        try:
            with self._place(step) as (folder, name):
                source = os.path.basename(temporary)
                os.replace(source, name, src_dir_fd=beside, dst_dir_fd=folder)
        finally:
            os.close(beside)
        del self.staged[step.path]
        self.done.add(step.path)

    @contextmanager
    def _place(self, step: PlannedStep) -> Generator[tuple[int, str]]:
        """Give the open folder and the name of a path that is still what was prepared."""
        parent, name = os.path.split(step.path)
        folder = open_folder(parent)
        try:
            if _identity(name, folder) != self.identities[step.path]:
                raise _changed(step.path)
            yield folder, name
        finally:
            os.close(folder)

    def clean_up(self) -> None:
        for path in self.staged.values():
            with suppress(OSError):
                os.unlink(path)


def _commit(run: _Run, steps: Sequence[PlannedStep]) -> None:
    """Remove what is in the way, deepest first; make folders, highest first; then put files."""
    for step in reversed(steps):
        if step.target.missing or (step.present.folder and not step.target.folder):
            run.guard(step, run.remove)
            if step.path not in run.failures:
                run.identities[step.path] = None
    left = [step for step in steps if not step.target.missing and step.path not in run.failures]
    for step in left:
        if step.target.folder:
            run.guard(step, run.make_folder)
    for step in left:
        if not step.target.folder:
            run.guard(step, run.put)


def _take_owner(file: int, path: str) -> None:
    """Give the new file the owner of the file in its place, where that is permitted."""
    with suppress(OSError):
        status = os.lstat(path)
        if stat.S_ISREG(status.st_mode):
            os.fchown(file, status.st_uid, status.st_gid)


def _identity(path: str, folder: int | None = None) -> _Identity:
    try:
        found = os.lstat(path, dir_fd=folder)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISDIR(found.st_mode):  # its times change with what is in it
        return (found.st_dev, found.st_ino)
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _changed(path: str) -> OSError:
    return OSError(errno.ESTALE, "it changed since the restore was planned; plan again", path)


def _restored(step: PlannedStep, run: _Run) -> RestoredFile:
    if step.action in ("nothing", "conflict", "not_covered"):
        return RestoredFile(step.path, step.action, step.reason)
    if step.path in run.done:
        deleted = step.action == "delete"
        return RestoredFile(step.path, "deleted" if deleted else "restored", step.reason)
    if step.path in run.failures:
        return RestoredFile(step.path, "failed", run.failures[step.path])
    return RestoredFile(step.path, "untouched", "Another file could not be restored.")


def _edit(step: PlannedStep) -> FileEdit:
    return FileEdit(step.present, mark_of(step.target))
