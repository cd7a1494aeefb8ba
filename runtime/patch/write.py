"""Putting planned contents on disk: all of them staged first, then each file replaced at once."""

import errno
import os
import stat
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import Failed
from turnlog.runtime.workspace.folders import open_folder

_NEW_FILE_MODE = 0o666  # before the umask


class Write(NamedTuple):
    """Replace or create `path`, whose folder and itself are no links, with `content`.

    `before` is what was there when the patch was planned. The result takes mode and owner from the
    file `like`, if there is one.
    """

    path: str
    content: bytes
    before: os.stat_result | None
    like: os.stat_result | None


class Removal(NamedTuple):
    """Remove `path`, which was `before` when the patch was planned."""

    path: str
    before: os.stat_result


def carry_out(writes: Sequence[Write], removals: Sequence[Removal]) -> None:
    """Write every file, then remove; a file is at any time its old self or its new self, whole.

    Every content is on the disk under a temporary name, beside its place, before the first file is
    replaced: a full disk, a missing permission or a read-only sandbox leaves all files as they
    were. A replaced file keeps mode and owner (where permitted), not its hard links.

    Raises:
        Failed: something refused, or a file changed since it was planned.
    """
    made: list[str] = []
    staged: list[tuple[str, str]] = []  # the path, and the temporary name beside it
    written: list[str] = []
    folders = _Folders()
    try:
        for write in writes:
            with _about(write.path):
                _check_unchanged(write.path, write.before, folders)
                _make_folders(os.path.dirname(write.path), made, folders)
                _stage(write, staged, folders)
        for removal in removals:
            with _about(removal.path):
                _check_unchanged(removal.path, removal.before, folders)
        for write in writes:
            with _about(write.path):
                at = folders.of(write.path)
                os.replace(staged[0][1], _name(write.path), src_dir_fd=at, dst_dir_fd=at)
            del staged[0]
            written.append(write.path)
        for removal in removals:
            with _about(removal.path):
                os.unlink(_name(removal.path), dir_fd=folders.of(removal.path))
            written.append(removal.path)
    except OSError as error:
        raise _not_written(error, written) from error
    finally:
        for path, name in staged:
            with suppress(OSError):
                os.unlink(name, dir_fd=folders.of(path))
        if not written:
            for folder in reversed(made):
                with suppress(OSError):
                    os.rmdir(_name(folder), dir_fd=folders.of(folder))
        folders.close()


class _Folders:
    """The folders of the files, each opened once, without following a link anywhere on the way.

    So every change is made in the folder that was checked.
    """

    def __init__(self) -> None:
        self._open: dict[str, int] = {}

    def of(self, path: str) -> int:
        """Return a descriptor of the folder that `path` is in."""
        folder = os.path.dirname(path)
        if folder not in self._open:
            self._open[folder] = open_folder(folder)
        return self._open[folder]

    def close(self) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)


def _name(path: str) -> str:
    return os.path.basename(path)


@contextmanager
def _about(path: str) -> Generator[None]:
    """Let an error name `path`: a temporary name would help nobody."""
    try:
        yield
    except OSError as error:
        error.filename = path
        raise


def _check_unchanged(path: str, before: os.stat_result | None, folders: _Folders) -> None:
    try:
        now = os.lstat(_name(path), dir_fd=folders.of(path))
    except FileNotFoundError:
        now = None
    if _identity(now) != _identity(before):
        raise OSError(errno.ESTALE, "it changed since the patch was planned; plan again", path)


def _identity(found: os.stat_result | None) -> tuple[int, ...] | None:
    return found and (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def _make_folders(folder: str, made: list[str], folders: _Folders) -> None:
    missing: list[str] = []
    while not os.path.isdir(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    for path in reversed(missing):
        os.mkdir(_name(path), dir_fd=folders.of(path))
        made.append(path)


def _stage(write: Write, staged: list[tuple[str, str]], folders: _Folders) -> None:
    """Write the content beside its place and add its temporary name to `staged`."""
    at = folders.of(write.path)
    if write.before is not None and stat.S_ISREG(write.before.st_mode):
        # Replacing asks the folder for permission only; a read-only file must refuse as well.
        flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        os.close(os.open(_name(write.path), flags, dir_fd=at))
    mode = _NEW_FILE_MODE if write.like is None else 0o600
    name = f".turnlog-patch-{os.urandom(8).hex()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(name, flags, mode, dir_fd=at)
    staged.append((write.path, name))
    with open(descriptor, "wb") as file:
        file.write(write.content)
        file.flush()
        if write.like is not None:
            with suppress(OSError):  # not permitted, or no such owner in this namespace
                os.fchown(descriptor, write.like.st_uid, write.like.st_gid)
            # Writing in place clears set-id bits too.
            os.fchmod(descriptor, write.like.st_mode & 0o777)


def _not_written(error: OSError, written: Sequence[str]) -> Failed:
    done = "No file was changed." if not written else f"Already written: {', '.join(written)}."
    return Failed(
        ErrorCode.PATCH_NOT_WRITTEN, f"cannot write {error.filename}: {error.strerror}. {done}"
    )
