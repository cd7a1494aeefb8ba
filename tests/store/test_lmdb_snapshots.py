"""A stored snapshot that is wrong is found, and dropped; a damaged event is never passed on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.store.conformance_snapshots import save
from tests.store.support import start, texts, write
from turnlog.actors.ports import Claim, StoredSnapshot
from turnlog.protocol.errors import LogDamaged
from turnlog.runtime.store.lmdb.doctor import examine, repair
from turnlog.runtime.store.lmdb.keys import event_key, session_key
from turnlog.runtime.store.lmdb.log import open_log
from turnlog.runtime.store.lmdb.rows import encode
from turnlog.runtime.store.lmdb.snapshots import SnapshotRow
from turnlog.runtime.store.lmdb.transactions import Txn
from turnlog.runtime.store.lmdb.views import Tables


def change_sequence(key: bytes, row: SnapshotRow) -> tuple[bytes, bytes]:
    return key, encode(SnapshotRow(row.sequence - 1, row.digest, row.data))


def change_digest(key: bytes, row: SnapshotRow) -> tuple[bytes, bytes]:
    return key, encode(SnapshotRow(row.sequence, bytes(16), row.data))


def point_after_the_head(key: bytes, row: SnapshotRow) -> tuple[bytes, bytes]:
    return key, encode(SnapshotRow(row.sequence + 1, row.digest, row.data))


def tear(key: bytes, row: SnapshotRow) -> tuple[bytes, bytes]:
    return key, encode(row)[:-1]


def orphan(key: bytes, row: SnapshotRow) -> tuple[bytes, bytes]:
    return bytes(24), encode(row)


Wrong = Callable[[bytes, SnapshotRow], tuple[bytes, bytes]]


@pytest.mark.parametrize(
    "wrong", [change_sequence, change_digest, point_after_the_head, tear, orphan]
)
async def test_a_wrong_snapshot_is_reported_and_dropped(tmp_path: Path, wrong: Wrong) -> None:
    async with open_log(tmp_path) as log:
        sound, sound_fence = await start(log, "sound")
        kept = await save(log, sound, sound_fence, b"sound")
        stream, fence = await start(log, "a", "b")
        good = await save(log, stream, fence, b"data")
        assert examine(log.environment).is_healthy
        key = event_key(session_key(stream.session), good.sequence)
        row = SnapshotRow(good.sequence, good.digest, good.data)

        def plant(txn: Txn, tables: Tables) -> None:
            txn.delete(key, db=tables.snapshots)
            txn.put(*wrong(key, row), db=tables.snapshots)

        await log.commit(plant)
        found = await repair(log)
        assert [finding.kind for finding in found.findings] == ["snapshot"]
        assert "opens from its events" in found.explain()
        assert examine(log.environment).is_healthy
        assert await log.snapshot(stream.session) is None
        assert await log.snapshot(sound.session) == kept


async def test_one_changed_letter_is_found_in_a_single_event(tmp_path: Path) -> None:
    async with open_log(tmp_path) as log:
        stream, _ = await start(log, "a", "the truth", "c", "d")
        key = event_key(session_key(stream.session), 2)

        def forge(txn: Txn, tables: Tables) -> None:
            value = txn.get(key, b"", db=tables.events)
            txn.put(key, value.replace(b"truth", b"lies."), db=tables.events)

        await log.commit(forge)
        for wanted in ([2], [1, 2], [4, 2]):
            with pytest.raises(LogDamaged) as caught:
                await log.read_at(stream.session, wanted)
            assert caught.value.sequence == 2
        assert texts(await log.read_at(stream.session, [1, 3, 4])) == ["a", "c", "d"]


async def test_a_missing_event_is_named(tmp_path: Path) -> None:
    async with open_log(tmp_path) as log:
        stream, _ = await start(log, "a", "b", "c")
        key = event_key(session_key(stream.session), 2)
        await log.commit(lambda txn, tables: txn.delete(key, db=tables.events))
        with pytest.raises(LogDamaged) as caught:
            await log.read_at(stream.session, [1, 2])
        assert caught.value.sequence == 2
        assert texts(await log.read_at(stream.session, [1, 3])) == ["a", "c"]


async def test_a_snapshot_waits_for_nobody_and_nobody_for_it(tmp_path: Path) -> None:
    async with open_log(tmp_path) as log:
        stream, fence = await start(log, "a")
        snapshot = StoredSnapshot(1, stream.head.digest, b"data")
        log.save_snapshot(stream.session, snapshot, fence=fence)
        await write(log, stream, fence, "b")
        await log.release(Claim(stream.session, fence, stream.head))
    async with open_log(tmp_path, read_only=True) as follower:
        assert await follower.snapshot(stream.session) == snapshot
