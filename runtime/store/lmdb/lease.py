"""Who is alive. Each engine holds a lock on a file of its own; a dead one's lock is gone.

A claimed session's row names its engine. The lock is flock(2)'s: it belongs to the open file,
ends with its last holder, and works between containers on one kernel. Pids are for people only.
"""

import os
import socket
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
from pathlib import Path

import attrs

from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import StoreError
from turnlog.runtime.store.lmdb.suitability import ENGINES

_ID_BYTES = 8


def describe_process() -> str:
    """Return who this process is, for somebody who finds a session busy."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"process {os.getpid()} on {socket.gethostname()}, since {now}"


@attrs.define(eq=False)
class Lease:
    """A lock that shows that this engine is alive. It can also look at others of the store."""

    folder: Path
    engine: bytes  # random for each engine, so that no two engines have the same one
    owner: str
    _file: int

    @classmethod
    def take(cls, store: Path) -> "Lease":
        """Hold a lock that lasts until `release`, or until this process ends.

        Raises:
            StoreError: the folder cannot be written.
        """
        folder, engine, owner = store / ENGINES, os.urandom(_ID_BYTES), describe_process()
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            _sweep(folder)
            file = _locked(folder / engine.hex())
            os.write(file, owner.encode())
        except OSError as error:
            raise StoreError(
                ErrorCode.STORE_UNSUITABLE, f"{folder} cannot be written: {error.strerror}."
            ) from error
        return cls(folder, engine, owner, file)

    def release(self) -> None:
        (self.folder / self.engine.hex()).unlink(missing_ok=True)
        os.close(self._file)

    def holder(self, engine: bytes) -> str | None:
        """Return the owner's text of a living engine; None if it is gone.

        One whose file this user may not read counts as living: nothing is taken from it.
        """
        try:
            return _holder(self.folder, engine)
        except PermissionError:
            return f"a process of another user (who keeps {self.folder / engine.hex()})"


def holder(folder: Path, engine: bytes) -> str | None:
    """Return the owner's text of a living engine, whose files are in `folder`; None if it is gone.

    Args:
        engine: its id, from a session's row; empty if nobody claims it. Where this user may not
            read its file, it counts as gone.
    """
    try:
        return _holder(folder, engine)
    except PermissionError:
        return None


def _holder(folder: Path, engine: bytes) -> str | None:
    if not engine:
        return None
    path = folder / engine.hex()
    if not _is_locked(path):
        return None
    try:
        return path.read_text() or "another process"
    except FileNotFoundError:
        return None  # it ended just now


def is_in_use(store: Path) -> bool:
    """Return whether a living engine has the store in this folder open."""
    folder = store / ENGINES
    return folder.is_dir() and any(_is_locked(path) for path in folder.iterdir())


def _locked(path: Path) -> int:
    while True:
        file = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        flock(file, LOCK_EX)
        if os.fstat(file).st_nlink:
            return file
        os.close(file)  # swept away before it was locked


def _is_locked(path: Path) -> bool:
    with _open_if_there(path) as file:
        return file is not None and not _may_share(file)


def _sweep(folder: Path) -> None:
    """Remove the files of engines that are gone.

    Each is removed while its lock is held. An engine that has made its file and not locked it yet
    then waits, finds that the file is gone, and makes another one.
    """
    for path in folder.iterdir():
        with _open_if_there(path) as file:
            if file is not None and _may_share(file) and os.fstat(file).st_nlink:
                path.unlink(missing_ok=True)


@contextmanager
def _open_if_there(path: Path) -> Generator[int | None]:
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        yield None
        return
    try:
        yield file
    finally:
        os.close(file)


def _may_share(file: int) -> bool:
    """Lock a file unless its engine holds it. Shared: two that ask do not see each other."""
    try:
        flock(file, LOCK_SH | LOCK_NB)
    except BlockingIOError:
        return False
    return True
