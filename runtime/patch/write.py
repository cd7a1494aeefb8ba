"""Putting planned contents on disk: all of them staged first, then each file replaced at once."""

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from turnlog.protocol.errors import TurnlogError

_NEW_FILE_MODE = 0o666  # before the umask


class PatchNotWritten(TurnlogError):
    """The disk, the sandbox or another program stopped a patch that fits.

    `written` has the absolute paths that were changed before; check these, then try again.
    """

    code = "patch_not_written"

    def __init__(self, error: OSError, written: Sequence[str]) -> None:
        done = "No file was changed." if not written else f"Already written: {', '.join(written)}."
        super().__init__(f"cannot write {error.filename}: {error.strerror}. {done}")
        self.written = tuple(written)


class Write(NamedTuple):
    """Replace or create `path`, whose folder and itself are no links, with `content`.

    `before` is what stood there when the patch was planned; `like` is the file whose mode and
    owner the result takes, if there is one.
    """

    path: str
    content: bytes
    before: os.stat_result | None
    like: os.stat_result | None


class Removal(NamedTuple):
    path: str
    before: os.stat_result


def carry_out(writes: Sequence[Write], removals: Sequence[Removal]) -> None:
    """Write every file, then remove; a file is at any time its old self or its new self, whole.

    Every content is on the disk under a temporary name, beside its place, before the first file is
    replaced: a full disk, a missing permission or a read-only sandbox leaves all files as they
    were. A replaced file keeps mode and owner (where permitted), not its hard links.

    Raises:
        PatchNotWritten: something refused, or a file changed since it was planned.
    """
    folders: list[str] = []
    staged: list[str] = []
    written: list[str] = []
    try:
        for write in writes:
            _check_unchanged(write.path, write.before)
            _make_folders(os.path.dirname(write.path), folders)
            _stage(write, staged)
        for removal in removals:
            _check_unchanged(removal.path, removal.before)
        for write in writes:
            os.replace(staged[0], write.path)
            del staged[0]
            written.append(write.path)
        for removal in removals:
            os.unlink(removal.path)
            written.append(removal.path)
    except OSError as error:
        error.filename = error.filename2 or error.filename  # a temporary name tells nobody anything
        raise PatchNotWritten(error, written) from error
    finally:
        for path in staged:
            with suppress(OSError):
                os.unlink(path)
        if not written:
            for folder in reversed(folders):
                with suppress(OSError):
                    os.rmdir(folder)


def _check_unchanged(path: str, before: os.stat_result | None) -> None:
    try:
        now = os.lstat(path)
    except FileNotFoundError:
        now = None
    if _identity(now) != _identity(before):
        raise OSError(errno.ESTALE, "it changed since the patch was planned; plan again", path)


def _identity(found: os.stat_result | None) -> tuple[int, ...] | None:
    return found and (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def _make_folders(folder: str, made: list[str]) -> None:
    missing: list[str] = []
    while not os.path.isdir(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    for path in reversed(missing):
        os.mkdir(path)
        made.append(path)


def _stage(write: Write, staged: list[str]) -> None:
    """Write the content beside its place and add the temporary path to `staged`."""
    if write.before is not None and stat.S_ISREG(write.before.st_mode):
        # Replacing asks the folder for permission only; a read-only file must refuse as well.
        os.close(os.open(write.path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK))
    mode = _NEW_FILE_MODE if write.like is None else 0o600
    path = f"{os.path.dirname(write.path)}/.turnlog-patch-{os.urandom(8).hex()}"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        staged.append(path)
        with open(descriptor, "wb") as file:
            file.write(write.content)
        if write.like is not None:
            with suppress(OSError):  # not permitted, or no such owner in this namespace
                os.chown(path, write.like.st_uid, write.like.st_gid)
            os.chmod(path, write.like.st_mode & 0o777)  # writing in place clears set-id bits too
    except OSError as error:
        error.filename = write.path
        raise
