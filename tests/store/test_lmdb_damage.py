"""Damage is found, named with its place, and kept apart; what is sound stays readable."""

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.store.support import LmdbPlace, Stream, new_session, op, start, text_of, texts, write
from turnlog.actors.ports import Claim, Refused
from turnlog.protocol.errors import LogDamaged, StoreDamaged, StoreError, StorePaused, StoreTooNew
from turnlog.protocol.ids import SessionId
from turnlog.runtime.store.lmdb.doctor import examine, examine_path, repair
from turnlog.runtime.store.lmdb.keys import child_key, event_key, recent_key, session_key
from turnlog.runtime.store.lmdb.log import LmdbLog, open_log
from turnlog.runtime.store.lmdb.moving import move_sound
from turnlog.runtime.store.lmdb.rows import decode_row, encode
from turnlog.runtime.store.lmdb.transactions import Txn
from turnlog.runtime.store.lmdb.views import Tables

LARGE = "large " * 2000


def flip(value: bytes) -> bytes:
    """Return `value` with one bit changed, in its last byte but one."""
    return value[:-2] + bytes([value[-2] ^ 1]) + value[-1:]


def change_event(session: SessionId, sequence: int) -> Callable[[Txn, Tables], None]:
    key = event_key(session_key(session), sequence)

    def change(txn: Txn, tables: Tables) -> None:
        txn.put(key, flip(txn.get(key, b"", db=tables.events)), db=tables.events)

    return change


def drop_event(session: SessionId, sequence: int) -> Callable[[Txn, Tables], None]:
    key = event_key(session_key(session), sequence)

    def drop(txn: Txn, tables: Tables) -> None:
        txn.delete(key, db=tables.events)

    return drop


def drop_blobs(_: SessionId, __: int) -> Callable[[Txn, Tables], None]:
    return lambda txn, tables: txn.drop(tables.blobs, delete=False)


def change_blobs(_: SessionId, __: int) -> Callable[[Txn, Tables], None]:
    def change(txn: Txn, tables: Tables) -> None:
        for key, value in [*txn.cursor(db=tables.blobs).iternext()]:
            txn.put(key, flip(value), db=tables.blobs)

    return change


async def damaged_at(log: LmdbLog, session: SessionId) -> int:
    """Return where a session cannot be read on; check that everything before it can."""
    with pytest.raises(LogDamaged) as caught:
        await log.read(session)
    error = caught.value
    assert error.session == session
    before = await log.read(session, until=error.sequence - 1)
    assert len(before) == error.sequence - 1
    follower = log.follow(session)
    seen = [(await anext(follower)).sequence for _ in before]
    assert seen == [*range(1, error.sequence)]
    with pytest.raises(LogDamaged):
        await anext(follower)
    return error.sequence


@pytest.mark.parametrize("damage", [change_event, drop_event, drop_blobs, change_blobs])
async def test_a_damaged_event_is_named_and_the_rest_can_be_read(
    tmp_path: Path, damage: Callable[[SessionId, int], Callable[[Txn, Tables], None]]
) -> None:
    async with open_log(tmp_path) as log:
        sound, _ = await start(log, "sound")
        stream, _ = await start(log, "a", "b", LARGE, "d", "e")
        await log.commit(damage(stream.session, 3))
        assert await damaged_at(log, stream.session) == 3
        assert texts(await log.read(stream.session, after=3)) == ["d", "e"]
        assert texts(await log.read(sound.session)) == ["sound"]
        found = examine(log.environment)
        assert {(finding.session, finding.sequence) for finding in found.findings} >= {
            (stream.session, 3)
        }
        assert f"session {stream.session}, event 3: " in found.explain()
        assert "fork before it" in found.explain()


async def test_one_changed_letter_is_found_though_it_can_be_decoded(tmp_path: Path) -> None:
    async with open_log(tmp_path) as log:
        stream, _ = await start(log, "a", "the truth", "c")
        key = event_key(session_key(stream.session), 2)

        def forge(txn: Txn, tables: Tables) -> None:
            value = txn.get(key, b"", db=tables.events)
            txn.put(key, value.replace(b"truth", b"lies."), db=tables.events)

        await log.commit(forge)
        assert await damaged_at(log, stream.session) == 2
        assert [finding.sequence for finding in examine(log.environment).findings] == [2]


async def test_an_event_of_no_known_form_is_damage(tmp_path: Path) -> None:
    async with open_log(tmp_path) as log:
        stream, _ = await start(log, "a", "b")
        key = event_key(session_key(stream.session), 2)
        await log.commit(lambda txn, tables: txn.put(key, b"\xc1" * 40, db=tables.events))
        assert await damaged_at(log, stream.session) == 2


async def test_a_damaged_session_is_put_in_quarantine_and_its_sound_part_lives_on(
    tmp_path: Path,
) -> None:
    async with open_log(tmp_path) as log:
        stream, fence = await start(log, "a", "b", "c", "d")
        await log.commit(change_event(stream.session, 3))
        assert not (await repair(log)).is_healthy
        ticket = log.append(stream.session, stream.batch("e"), fence=fence)
        assert isinstance(await ticket.settled(), Refused)
        await log.release(Claim(stream.session, fence, stream.head))
        with pytest.raises(LogDamaged) as caught:
            await log.claim(stream.session)
        assert caught.value.sequence == 3
        child = new_session()
        await log.fork(stream.session, 2, child)
        claim = await log.claim(child)
        await write(log, Stream(child, claim.head), claim.fence, "x")
        assert texts(await log.read(child)) == ["a", "b", "x"]

        await log.commit(change_event(stream.session, 3))  # flips it back
        await repair(log)
        await log.claim(stream.session)
        assert examine(log.environment).is_healthy


async def test_indexes_are_found_wrong_and_rebuilt(tmp_path: Path) -> None:
    async with open_log(tmp_path) as log:
        stream, fence = await start(log, "a", "b")
        child = new_session()
        await log.fork(stream.session, 1, child)
        await log.release(Claim(stream.session, fence, stream.head))
        before = await log.sessions()
        parent, fork = session_key(stream.session), session_key(child)

        def spoil(txn: Txn, tables: Tables) -> None:
            txn.drop(tables.recent, delete=False)
            txn.put(recent_key(77, parent), b"", db=tables.recent)
            txn.delete(child_key(parent, fork), db=tables.children)
            txn.put(child_key(fork, parent), bytes(8), db=tables.children)

        await log.commit(spoil)
        kinds = [finding.kind for finding in examine(log.environment).findings]
        assert kinds == ["index"] * 5
        await repair(log)
        assert examine(log.environment).is_healthy
        assert await log.sessions() == before
        await log.delete(stream.session)
        assert texts(await log.read(child)) == ["a"]


async def test_rows_that_disagree_with_the_events_are_found(tmp_path: Path) -> None:
    async with open_log(tmp_path) as log:
        stream, fence = await start(log, "a", "b", "c")
        gone, _ = await start(log, "x")
        key = session_key(stream.session)

        def spoil(txn: Txn, tables: Tables) -> None:
            row = decode_row(txn.get(key, b"", db=tables.sessions))
            row = msgspec.structs.replace(row, sequence=2)
            txn.put(key, encode(row), db=tables.sessions)
            txn.delete(session_key(gone.session), db=tables.sessions)
            txn.put(session_key(gone.session) + bytes(16), b"\xc1", db=tables.inbox)

        await log.commit(spoil)
        found = {(finding.kind, finding.session) for finding in examine(log.environment).findings}
        assert found >= {
            ("row", stream.session),  # its digest is event 3's
            ("event", stream.session),  # event 3 lies after the head
            ("event", gone.session),
            ("op", gone.session),
        }
        stream.head = await log.head(stream.session)
        ticket = log.append(stream.session, stream.batch("d"), fence=fence)
        fate = await ticket.settled()
        assert isinstance(fate, Refused)
        assert "doctor" in fate.why


async def test_what_nothing_refers_to_is_swept_and_nothing_else(tmp_path: Path) -> None:
    async with open_log(tmp_path) as log:
        kept, _ = await start(log, LARGE, "small", LARGE + "2")
        gone, fence = await start(log, LARGE, LARGE + "3")
        await log.release(Claim(gone.session, fence, gone.head))
        await log.delete(gone.session)
        found = await repair(log)
        assert (found.is_healthy, found.unused_blobs) == (True, 1)
        assert found.unused_bytes > 0
        assert examine(log.environment).unused_blobs == 0
        assert texts(await log.read(kept.session)) == [LARGE, "small", LARGE + "2"]


async def test_a_deletion_that_was_cut_short_is_finished(tmp_path: Path) -> None:
    async with open_log(tmp_path) as log:
        stream, _ = await start(log, "a", "b")
        key = session_key(stream.session)

        def mark(txn: Txn, tables: Tables) -> None:
            row = decode_row(txn.get(key, b"", db=tables.sessions))
            row = msgspec.structs.replace(row, deleted=True, engine=b"")
            txn.put(key, encode(row), db=tables.sessions)
            txn.delete(key, db=tables.summaries)
            txn.delete(recent_key(0, key), db=tables.recent)

        await log.commit(mark)
        assert [finding.kind for finding in examine(log.environment).findings] == ["leftover"]
        await repair(log)
        assert examine(log.environment).explain() == "0 sessions, 0 events: no damage."


async def test_a_row_that_cannot_be_decoded_hurts_its_own_session_only(tmp_path: Path) -> None:
    async with open_log(tmp_path) as log:
        sound, sound_fence = await start(log, "a")
        stream, fence = await start(log, "a")
        key = session_key(stream.session)

        def spoil(txn: Txn, tables: Tables) -> None:
            txn.put(key, b"\xc1", db=tables.sessions)
            txn.put(key, b"\xc1", db=tables.summaries)

        await log.commit(spoil)
        with pytest.raises(StoreError, match="doctor"):
            await log.read(stream.session)
        ticket = log.append(stream.session, stream.batch("b"), fence=fence)
        await write(log, sound, sound_fence, "b")
        assert isinstance(await ticket.settled(), Refused)
        assert ("row", stream.session) in {
            (finding.kind, finding.session) for finding in examine(log.environment).findings
        }


# --- the file itself --------------------------------------------------------------------------


async def made(path: Path) -> Stream:
    async with open_log(path) as log:
        stream, _ = await start(log, *["event"] * 30)
        await log.leave(stream.session, op("1"))
    return stream


def pages(path: Path) -> bytes:
    return (path / "data.mdb").read_bytes()


async def unsuitable(path: Path, kind: type[StoreError] = StoreError) -> str:
    with pytest.raises(kind) as caught:
        async with open_log(path):
            pass
    return str(caught.value)


async def test_a_file_that_was_cut_off_is_refused_and_explained(tmp_path: Path) -> None:
    await made(tmp_path)
    whole = pages(tmp_path)
    (tmp_path / "data.mdb").write_bytes(whole[: len(whole) - 8192])
    assert "is cut off" in await unsuitable(tmp_path, StoreDamaged)
    found = examine_path(tmp_path)
    assert [finding.kind for finding in found.findings][:1] == ["file"]


async def test_a_file_that_is_gone_or_empty_is_not_made_again(tmp_path: Path) -> None:
    await made(tmp_path)
    (tmp_path / "data.mdb").write_bytes(b"")
    assert "gone or empty" in await unsuitable(tmp_path)
    (tmp_path / "data.mdb").unlink()
    assert "gone or empty" in await unsuitable(tmp_path)
    assert not examine_path(tmp_path).is_healthy


async def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(os.urandom(16384))
    assert "is no store" in await unsuitable(tmp_path)
    assert not examine_path(tmp_path).is_healthy


async def test_torn_pages_are_found_before_they_are_mapped(tmp_path: Path) -> None:
    await made(tmp_path)
    data = bytearray(pages(tmp_path))
    for number in range(2, len(data) // 4096):
        data[number * 4096 + 8 : number * 4096 + 16] = b"\xff" * 8
    (tmp_path / "data.mdb").write_bytes(bytes(data))
    found = examine_path(tmp_path)
    assert {finding.kind for finding in found.findings} == {"file"}


async def test_a_store_of_a_newer_release_is_left_alone(tmp_path: Path) -> None:
    async with open_log(tmp_path) as log:
        newer = (99).to_bytes(4)
        await log.commit(lambda txn, tables: txn.put(b"format", newer, db=tables.meta))
    with pytest.raises(StoreTooNew) as caught:
        async with open_log(tmp_path):
            pass
    assert caught.value.found == 99


async def test_the_doctor_sees_a_store_in_use(tmp_path: Path) -> None:
    place = LmdbPlace(tmp_path / "store")
    async with open_log(place.path) as log:
        stream, _ = await start(log, "a", "b")
        await log.backup(tmp_path / "copy")
        await write(log, stream, 1, "after the backup")
    assert examine_path(tmp_path / "copy").explain() == "1 session, 2 events: no damage."
    async with open_log(tmp_path / "copy") as copy:
        claim = await copy.claim(stream.session)
        await write(copy, Stream(stream.session, claim.head), claim.fence, "another future")
        assert [text_of(event) for event in await copy.read(stream.session)] == [
            "a",
            "b",
            "another future",
        ]


async def test_a_file_that_is_cut_off_while_it_is_open_pauses_the_log(tmp_path: Path) -> None:
    async with open_log(tmp_path) as log:
        stream, fence = await start(log, *["event"] * 30)
        whole = pages(tmp_path)
        for length in (4 * 4096, 100, 0):
            os.truncate(tmp_path / "data.mdb", length)
            with pytest.raises(StoreError):
                await log.create(new_session())
            assert log.paused
            with pytest.raises(StoreError):
                await log.read(stream.session)
        (tmp_path / "data.mdb").write_bytes(whole)
        await log.create(new_session())
        assert log.paused is None
        await write(log, stream, fence, "continued")


async def test_a_file_that_was_replaced_while_it_is_open_is_not_written(tmp_path: Path) -> None:
    async with open_log(tmp_path) as log:
        await start(log, "a")
        copy = tmp_path / "copy"
        copy.write_bytes(pages(tmp_path))
        copy.rename(tmp_path / "data.mdb")
        with pytest.raises(StorePaused, match="was replaced by another file"):
            await log.create(new_session())


async def test_what_the_store_makes_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = tmp_path / "home" / "store"
        await made(store)
        async with open_log(store, read_only=True) as log:
            await log.backup(tmp_path / "backups" / "one")
        data = bytearray(pages(store))
        data[3 * 4096 : 4 * 4096] = bytes(4096)
        (store / "data.mdb").write_bytes(bytes(data))
        await move_sound(store)
    finally:
        os.umask(before)
    assert modes(tmp_path) == ({0o700}, {0o600})


def modes(folder: Path) -> tuple[set[int], set[int]]:
    """Return the modes of the folders and of the files in a folder."""
    found = [*folder.rglob("*")]
    folders = {path.stat().st_mode & 0o777 for path in found if path.is_dir()}
    return folders, {path.stat().st_mode & 0o777 for path in found if path.is_file()}
