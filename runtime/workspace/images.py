"""Takes images of files without following a link, waiting for a pipe or trusting a size.

These functions block: call them in a worker thread.
"""

import os
import stat
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Final

import msgspec

from turnlog.protocol.files import FileImage, digest_of
from turnlog.runtime.sandbox.guard import OPEN, ReadGuard
from turnlog.runtime.workspace.folders import first_link

MAX_IMAGE_BYTES: Final = 8 << 20  # of one file's content
MAX_DIGEST_BYTES: Final = 64 << 20  # of a file whose content is not kept, but whose digest is
MAX_TOTAL_BYTES: Final = 64 << 20  # of the contents that one `images_of` keeps
_ATTEMPTS: Final = 3
_CHUNK: Final = 1 << 20


class _Changed(Exception):
    """The file was replaced or written while it was read."""


def image_of(
    path: str,
    limit: int = MAX_IMAGE_BYTES,
    *,
    digest_limit: int = MAX_DIGEST_BYTES,
    guard: ReadGuard = OPEN,
) -> FileImage:
    """Return what is at `path` now. If something is wrong with it, the image says so.

    The last part of the path is not followed if it is a link; folders on the way are.

    Args:
        path: absolute.
        limit: most bytes of content that are kept.
        digest_limit: most bytes of a longer file that are read for its digest.
        guard: makes a file `unreadable` that must not be read for the model.
    """
    if not os.path.isabs(path):
        raise ValueError(f"path must be absolute, not {path!r}")
    if not is_text(path):
        return FileImage(shown(path), skipped="name")
    for _ in range(_ATTEMPTS):
        try:
            return _look(path, limit, digest_limit, guard)
        except (FileNotFoundError, NotADirectoryError):
            return FileImage(path, missing=True)
        except _Changed:
            continue
        except (OSError, ValueError):  # ValueError: a NUL in the path
            return FileImage(path, skipped="unreadable")
    return FileImage(path, skipped="changing")


def image_in_place(
    path: str,
    limit: int = MAX_IMAGE_BYTES,
    *,
    digest_limit: int = MAX_DIGEST_BYTES,
    guard: ReadGuard = OPEN,
) -> FileImage:
    """Return what is at `path`; `missing` if the way to it leads through a link."""
    if guard.covers(path):
        return FileImage(path, skipped="unreadable")
    if first_link(path) is not None:
        return FileImage(path, missing=True)
    return image_of(path, limit, digest_limit=digest_limit, guard=guard)


def images_of(
    paths: Iterable[str], limit: int = MAX_IMAGE_BYTES, *, guard: ReadGuard = OPEN
) -> tuple[FileImage, ...]:
    """Return the images of `paths` and of every folder above them that is missing.

    Sorted by path, each once, under the path that it has without links on the way. Of all
    contents at most `MAX_TOTAL_BYTES` are kept; what comes later is `too_large`.
    """
    wanted = {_resolved(path) for path in paths}
    for path in tuple(wanted):
        folder = os.path.dirname(path)
        while folder not in wanted and not os.path.lexists(folder):
            wanted.add(folder)
            folder = os.path.dirname(folder)
    return _images(sorted(wanted), limit, guard)


def images_after(
    before: Sequence[FileImage],
    written: Mapping[str, bytes],
    limit: int = MAX_IMAGE_BYTES,
    *,
    guard: ReadGuard = OPEN,
) -> tuple[FileImage, ...]:
    """Return what is now at the paths of `before`, after `written` should have been written there.

    A file that is neither as before nor as written is `changing`: somebody else changed it between
    the image of before and the write, so that the one does not lead to the other.
    """
    after = _images([image.path for image in before], limit, guard)
    old = {image.path: image.digest for image in before}
    images: list[FileImage] = []
    for image in after:
        content = written.get(image.path)
        if content is not None and image.digest not in (digest_of(content), old[image.path]):
            image = FileImage(image.path, mode=image.mode, skipped="changing")
        images.append(image)
    return tuple(images)


def _resolved(path: str) -> str:
    folder, name = os.path.split(path)
    return os.path.join(os.path.realpath(folder), name)


def _images(paths: Sequence[str], limit: int, guard: ReadGuard) -> tuple[FileImage, ...]:
    left = MAX_TOTAL_BYTES
    images: list[FileImage] = []
    for path in paths:
        image = image_in_place(path, min(limit, left), guard=guard)
        left -= size_of(image)
        images.append(image)
    return tuple(images)


def content_of(image: FileImage) -> bytes | None:
    """Return the content of a file; None where the image holds none."""
    if image.text is not None:
        return image.text.encode()
    return None if image.base64 is None else b64decode(image.base64)


def with_digest(image: FileImage) -> FileImage:
    """Return the image with its digest, which one that was made by hand may lack."""
    content = image.link.encode() if image.link is not None else content_of(image)
    if image.digest or content is None:
        return image
    return msgspec.structs.replace(image, digest=digest_of(content))


def size_of(image: FileImage) -> int:
    """Return about how many bytes the image's content takes in the log."""
    return len(image.text or "") + len(image.base64 or "")


def is_text(name: str) -> bool:
    """Say whether an event can hold a name: the log's texts are UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(path: str) -> str:
    """Return `path` with a `?` for each byte that is not UTF-8."""
    return path.encode(errors="replace").decode()


def _look(path: str, limit: int, digest_limit: int, guard: ReadGuard) -> FileImage:
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        return _link(path)
    if stat.S_ISDIR(status.st_mode):
        return FileImage(path, folder=True, mode=status.st_mode & 0o777)
    if not stat.S_ISREG(status.st_mode):
        return FileImage(path, skipped="special")
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY)
    except PermissionError:
        return FileImage(path, mode=status.st_mode & 0o777, skipped="unreadable")
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:  # it is a link now, or a pipe
        raise _Changed from error
    try:
        guard.check(file, path)
        return _file(path, file, status, limit, digest_limit)
    finally:
        os.close(file)


def _link(path: str) -> FileImage:
    try:
        target = os.readlink(path)
    except OSError as error:
        raise _Changed from error
    if not is_text(target):
        return FileImage(path, skipped="name")
    return FileImage(path, link=target, digest=digest_of(target.encode()))


def _file(path: str, file: int, status: os.stat_result, limit: int, digest_limit: int) -> FileImage:
    begun = os.fstat(file)
    if (begun.st_dev, begun.st_ino) != (status.st_dev, status.st_ino):
        raise _Changed
    if begun.st_size > max(limit, digest_limit):
        return _too_large(path, begun)
    kept: list[bytes] | None = []
    digest = sha256()
    size = 0
    while chunk := os.read(file, _CHUNK):
        size += len(chunk)
        digest.update(chunk)
        if size > limit:
            kept = None
            if size > digest_limit:
                return _too_large(path, begun)
        if kept is not None:
            kept.append(chunk)
    if _stamp(os.fstat(file)) != _stamp(begun):
        raise _Changed
    if kept is None:
        return _too_large(path, begun, digest.hexdigest())
    return _holding(path, b"".join(kept), begun.st_mode & 0o777, digest.hexdigest())


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _too_large(path: str, status: os.stat_result, digest: str = "") -> FileImage:
    return FileImage(path, mode=status.st_mode & 0o777, digest=digest, skipped="too_large")


def _holding(path: str, content: bytes, mode: int, digest: str) -> FileImage:
    image = FileImage(path, mode=mode, digest=digest)
    try:
        return msgspec.structs.replace(image, text=content.decode())
    except UnicodeDecodeError:
        return msgspec.structs.replace(image, base64=b64encode(content).decode())
