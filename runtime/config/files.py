"""Read files that somebody named, without waiting for a pipe or a device at that path."""

import errno
import os
import stat
from pathlib import Path

from turnlog.runtime.sandbox.guard import OPEN, ReadGuard


def size_of_regular(path: Path) -> int:
    """Return the size in bytes.

    Raises:
        OSError: there is no such file, or it is a folder, a device or a pipe.
    """
    return _regular(os.stat(_usable(path)), path)


def read_regular(path: Path, limit: int, *, cut: bool = False, guard: ReadGuard = OPEN) -> bytes:
    """Return the bytes of a regular file, at most `limit` of them.

    Args:
        cut: return the beginning of a longer file, where it would be an error.
        guard: refuses (EACCES) what must not be read for the model.

    Raises:
        OSError: it cannot be read, is longer than `limit` (EFBIG), or is a folder (EISDIR), a
            device or a pipe (EINVAL): those could be endless, or never answer.
    """
    with open(_usable(path), "rb", opener=_open_at_once) as file:
        guard.check(file.fileno(), path)
        if _regular(os.fstat(file.fileno()), path) > limit and not cut:
            raise _too_large(path, limit)
        data = file.read(limit if cut else limit + 1)
    if len(data) > limit:  # it grew, or it is a kernel file, whose size reads as 0
        raise _too_large(path, limit)
    return data


def _usable(path: Path) -> Path:
    if "\0" in str(path):  # for which Python raises a ValueError
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    return path


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # else a pipe would wait for its writer


def _regular(status: os.stat_result, path: Path) -> int:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return status.st_size


def _too_large(path: Path, limit: int) -> OSError:
    return OSError(errno.EFBIG, f"it is longer than {limit} bytes", str(path))
