"""Who is alive is never taken for gone, and the files of those that are gone are swept."""

import os
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path, PosixPath

import pytest

from turnlog.runtime.store.lmdb.lease import Lease, is_in_use
from turnlog.runtime.store.lmdb.suitability import ENGINES


class WatchedPath(PosixPath):
    """A path whose file's engine tries to lock it just before it is removed."""

    def unlink(self, missing_ok: bool = False) -> None:
        file = os.open(self, os.O_RDWR)
        try:
            with pytest.raises(BlockingIOError):
                flock(file, LOCK_EX | LOCK_NB)
        finally:
            os.close(file)
        super().unlink(missing_ok)


def test_an_engine_that_is_starting_cannot_lock_a_file_that_is_being_swept(tmp_path: Path) -> None:
    (tmp_path / ENGINES).mkdir()
    made_and_not_locked_yet = tmp_path / ENGINES / "00"
    made_and_not_locked_yet.touch()
    lease = Lease.take(WatchedPath(tmp_path))
    assert [path.name for path in (tmp_path / ENGINES).iterdir()] == [lease.engine.hex()]
    assert lease.holder(lease.engine) == lease.owner
    lease.release()
    assert not is_in_use(tmp_path)


def test_a_living_engines_file_is_not_swept(tmp_path: Path) -> None:
    first = Lease.take(tmp_path)
    second = Lease.take(tmp_path)
    assert second.holder(first.engine) == first.owner
    first.release()
    assert second.holder(first.engine) is None
    assert is_in_use(tmp_path)
    second.release()
    assert [*(tmp_path / ENGINES).iterdir()] == []
