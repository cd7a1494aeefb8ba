"""Stand-ins for folders that must not be made: a mount needs something to be mounted on.

A stand-in is an empty folder that is made for the time of a command, and removed after it. Each
command that uses one holds a lock on it, since removing it would take its mount away from all.
An engine that is killed leaves an empty folder at worst; the next command removes it.
"""

import fcntl
import os
import stat
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

_MODE: Final = 0o1555  # sticky, and nobody may write: what is empty too is a stand-in
_MARKS: Final = 0o1222
_ATTEMPTS: Final = 100


def is_mount_point(path: str, status: os.stat_result) -> bool:
    """Say whether `path` is a stand-in that was made here, by this engine or another one.

    Args:
        status: from `os.lstat`.
    """
    is_marked = status.st_mode & _MARKS == _MODE & _MARKS
    return is_marked and stat.S_ISDIR(status.st_mode) and _is_empty(path)


def _is_empty(path: str) -> bool:
    try:
        with os.scandir(path) as entries:
            return next(entries, None) is None
    except OSError:
        return False


@contextmanager
def mount_points(paths: Iterable[str]) -> Generator[tuple[str, ...]]:
    """Make a stand-in at each of `paths` for as long as the block runs.

    What the block is given leaves out the paths at which none can be made: a command, which has
    no more rights, could not make anything there either.
    """
    with ExitStack() as stack:
        made: list[str] = []
        for path in paths:
            descriptor = _held(path)
            if descriptor is not None:
                stack.callback(_let_go, path, descriptor)
                made.append(path)
        yield tuple(made)


def _held(path: str) -> int | None:
    """Return a descriptor of the stand-in at `path`, locked, so that nobody removes it."""
    for _ in range(_ATTEMPTS):
        try:
            with suppress(FileExistsError):
                os.mkdir(path, _MODE)
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:  # it was removed meanwhile; or its folder was
            continue
        except OSError:
            return None
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        if _is_same(path, descriptor):
            return descriptor
        os.close(descriptor)
    return None


def _is_same(path: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except OSError:
        return False


def _let_go(path: str, descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if is_mount_point(path, os.lstat(path)) and _is_same(path, descriptor):
            os.rmdir(path)
    except OSError:  # another command uses it, and removes it
        pass
    finally:
        os.close(descriptor)
