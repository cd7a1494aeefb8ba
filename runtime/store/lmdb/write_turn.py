"""Whose turn it is to write: one process at a time, on any number of containers.

The lock is flock(2)'s on a file of its own. The kernel keeps it: it holds between pid, user and
mount namespaces, ends with its process, and needs no right to write for those that share it. LMDB's
own locks are not used: they count on process ids, which differ between containers.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_SH, LOCK_UN, flock
from pathlib import Path
from typing import Final

import attrs

from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import StoreError

TURN_FILE: Final = "writer.lock"


@attrs.define(eq=False)
class Turn:
    """A writer's hold on the lock file of a store."""

    _file: int

    @classmethod
    def open(cls, store: Path) -> "Turn":
        """Make the lock file if there is none.

        Raises:
            StoreError: it cannot be written.
        """
        path = store / TURN_FILE
        try:
            return cls(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise StoreError(
                ErrorCode.STORE_UNSUITABLE,
                f"{path} cannot be written: {error.strerror}. What is in the store can be read.",
            ) from error

    @contextmanager
    def taken(self) -> Generator[None]:
        """Wait for the turn, and hold it: nobody else writes, and nobody waits to read."""
        flock(self._file, LOCK_EX)
        try:
            yield
        finally:
            flock(self._file, LOCK_UN)

    def close(self) -> None:
        """Close the lock file."""
        os.close(self._file)


@contextmanager
def nobody_writes(store: Path) -> Generator[bool]:
    """Keep writers waiting, for a moment. False: that is not possible, for want of a lock file."""
    try:
        file = os.open(store / TURN_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield False
        return
    try:
        flock(file, LOCK_SH)
        yield True
    finally:
        os.close(file)
