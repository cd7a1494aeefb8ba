"""What is wrong with one session, or with one write, hurts no other."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from threading import Event

import lmdb
import msgspec
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.store.conformance_snapshots import save
from tests.store.processes import PATIENCE_S
from tests.store.support import Stream, new_session, start, texts, write
from turnlog.actors.ports import Claim, Refused, Stored
from turnlog.protocol.errors import StoreError, StorePaused
from turnlog.protocol.ids import SessionId
from turnlog.protocol.summary import SessionSummary
from turnlog.runtime.store.lmdb.doctor import examine, repair
from turnlog.runtime.store.lmdb.environment import Environment
from turnlog.runtime.store.lmdb.keys import event_key, session_key
from turnlog.runtime.store.lmdb.log import LmdbLog, open_log
from turnlog.runtime.store.lmdb.rows import decode_row, encode
from turnlog.runtime.store.lmdb.suitability import DATA_FILE, ENGINES
from turnlog.runtime.store.lmdb.transactions import Txn
from turnlog.runtime.store.lmdb.views import Tables

GARBAGE = b"\xc1"  # the one byte that begins nothing in MessagePack
TIME_THAT_NO_KEY_HOLDS = -1


def spoil_row(session: SessionId) -> Callable[[Txn, Tables], object]:
    return lambda txn, tables: txn.put(session_key(session), GARBAGE, db=tables.sessions)


def spoil_summary(session: SessionId) -> Callable[[Txn, Tables], object]:
    return lambda txn, tables: txn.put(session_key(session), GARBAGE, db=tables.summaries)


async def give_to_engine(log: LmdbLog, session: SessionId, engine: bytes) -> None:
    """Have a session's row say that this engine holds it."""
    key = session_key(session)

    def change(txn: Txn, tables: Tables) -> None:
        row = decode_row(txn.get(key, b"", db=tables.sessions))
        txn.put(key, encode(msgspec.structs.replace(row, engine=engine)), db=tables.sessions)

    await log.commit(change)


# --- a summary --------------------------------------------------------------------------------


async def test_a_damaged_summary_is_listed_empty_and_replaced_by_the_next(tmp_path: Path) -> None:
    async with open_log(tmp_path) as log:
        sound, sound_fence = await start(log, "a")
        stream, fence = await start(log)
        old = SessionSummary(stream.session, updated_us=5, title="old")
        batch = stream.batch("a", summary=old)
        assert await log.append(stream.session, batch, fence=fence).settled() == Stored()
        await log.commit(spoil_summary(stream.session))
        empty = SessionSummary(stream.session)
        assert await log.sessions() == [empty, SessionSummary(sound.session)]

        new = SessionSummary(stream.session, updated_us=9, title="new")
        batch = stream.batch("b", summary=new)
        assert await log.append(stream.session, batch, fence=fence).settled() == Stored()
        await write(log, sound, sound_fence, "b")
        assert log.paused is None
        assert await log.sessions() == [new, SessionSummary(sound.session)]
        assert examine(log.environment).is_healthy


@pytest.mark.parametrize("time_us", [5, TIME_THAT_NO_KEY_HOLDS])
async def test_a_session_whose_summary_is_damaged_can_be_deleted(
    tmp_path: Path, time_us: int
) -> None:
    async with open_log(tmp_path) as log:
        stream, fence = await start(log, "a")
        await log.release(Claim(stream.session, fence, stream.head))
        key, wrong = session_key(stream.session), SessionSummary(stream.session, updated_us=time_us)
        value = GARBAGE if time_us > 0 else encode(wrong)
        await log.commit(lambda txn, tables: txn.put(key, value, db=tables.summaries))
        assert [finding.kind for finding in examine(log.environment).findings][:1] == ["index"]
        await log.delete(stream.session)
        assert await log.sessions() == []
        assert examine(log.environment).is_healthy


# --- a row ------------------------------------------------------------------------------------


async def test_a_repair_passes_over_a_damaged_row_and_keeps_what_it_may_refer_to(
    tmp_path: Path,
) -> None:
    async with open_log(tmp_path) as log:
        parent, fence = await start(log, "a", "b", "c")
        child = new_session()
        await log.fork(parent.session, 2, child)
        await log.release(Claim(parent.session, fence, parent.head))
        key = session_key(child)
        table = log.environment.tables.sessions
        row = log.environment.read(lambda txn: txn.get(key, b"", db=table))
        listed = await log.sessions()
        await log.commit(spoil_row(child))
        await log.commit(lambda txn, tables: txn.drop(tables.recent, delete=False))

        kinds = {finding.kind for finding in (await repair(log)).findings}
        assert kinds == {"index", "row"}
        assert log.paused is None
        assert [finding.kind for finding in examine(log.environment).findings] == ["row"]
        assert await log.sessions() == listed
        await log.delete(parent.session)
        await log.commit(lambda txn, tables: txn.put(key, row, db=tables.sessions))
        assert texts(await log.read(child)) == ["a", "b"]
        assert (await log.claim(child)).head.sequence == 2


async def test_a_repair_puts_forks_of_a_damaged_row_in_quarantine(tmp_path: Path) -> None:
    async with open_log(tmp_path) as log:
        parent, _ = await start(log, "a", "b")
        child = new_session()
        await log.fork(parent.session, 2, child)
        fork = await log.claim(child)
        stream = Stream(child, fork.head)
        await save(log, stream, fork.fence, b"of an event of the parent's")
        await write(log, stream, fork.fence, "c")
        await log.commit(spoil_row(parent.session))
        found = {(finding.kind, finding.session) for finding in (await repair(log)).findings}
        assert found >= {("row", parent.session), ("event", child), ("snapshot", child)}
        ticket = log.append(child, stream.batch("d"), fence=fork.fence)
        fate = await ticket.settled()
        assert isinstance(fate, Refused)
        assert "quarantine" in fate.why


Use = Callable[[LmdbLog, Claim, SessionId], Awaitable[object]]

USES_OF_A_ROW: dict[str, Use] = {
    "reading a fork": lambda log, _, child: log.read(child),
    "the snapshot of a fork": lambda log, _, child: log.snapshot(child),
    "releasing": lambda log, claim, _: log.release(claim),
    "claiming": lambda log, claim, _: log.claim(claim.session),
    "forking": lambda log, claim, _: log.fork(claim.session, 1, new_session()),
    "forking a fork": lambda log, _, child: log.fork(child, 1, new_session()),
}


@pytest.mark.parametrize("use", USES_OF_A_ROW.values(), ids=USES_OF_A_ROW.keys())
async def test_a_row_that_cannot_be_decoded_is_named(tmp_path: Path, use: Use) -> None:
    async with open_log(tmp_path) as log:
        stream, fence = await start(log, "a", "b")
        child = new_session()
        await log.fork(stream.session, 2, child)
        await log.commit(spoil_row(stream.session))
        with pytest.raises(
            StoreError, match=f"the row of session {stream.session} is damaged"
        ) as caught:
            await use(log, Claim(stream.session, fence, stream.head), child)
        assert not isinstance(caught.value, StorePaused)
        assert log.paused is None


async def test_a_fork_of_a_session_whose_summary_is_damaged_is_refused(tmp_path: Path) -> None:
    async with open_log(tmp_path) as log:
        stream, _ = await start(log, "a")
        await log.commit(spoil_summary(stream.session))
        child = new_session()
        with pytest.raises(StoreError, match=f"summary of session {stream.session} is damaged"):
            await log.fork(stream.session, 1, child)
        assert log.paused is None
        await repair(log)
        await log.fork(stream.session, 1, child)
        assert texts(await log.read(child)) == ["a"]


async def test_a_fork_is_deleted_down_to_a_base_whose_row_is_damaged(tmp_path: Path) -> None:
    async with open_log(tmp_path) as log:
        stream, _ = await start(log, "a")
        child = new_session()
        await log.fork(stream.session, 1, child)
        await log.commit(spoil_row(stream.session))
        await log.delete(child)
        table, place = log.environment.tables.events, event_key(session_key(stream.session), 1)
        assert log.environment.read(lambda txn: txn.get(place, db=table)) is not None


async def test_closing_releases_the_sessions_whose_rows_are_sound(tmp_path: Path) -> None:
    async with open_log(tmp_path) as log:
        damaged, _ = await start(log, "a")
        sound, _ = await start(log, "a")
        await log.commit(spoil_row(damaged.session))
    async with open_log(tmp_path, read_only=True) as log:
        key, table = session_key(sound.session), log.environment.tables.sessions
        row = log.environment.read(lambda txn: decode_row(txn.get(key, b"", db=table)))
        assert row.engine == b""


# --- a group of writes ------------------------------------------------------------------------


async def test_a_write_that_fails_in_a_group_fails_alone(tmp_path: Path) -> None:
    async with open_log(tmp_path) as log:
        sound, sound_fence = await start(log, "a")
        bad, bad_fence = await start(log, "a")
        other, _ = await start(log, "a")
        engine = bytes(8)
        unreadable = tmp_path / ENGINES / engine.hex()
        unreadable.symlink_to(unreadable)  # to open it is an OSError
        await give_to_engine(log, other.session, engine)
        writer_may_continue = Event()
        errors: list[StoreError] = []

        def keep_the_writer(_: Txn, __: Tables) -> None:
            writer_may_continue.wait()

        async def claim_other() -> None:
            with pytest.raises(StoreError) as caught:
                await log.claim(other.session)
            errors.append(caught.value)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(log.commit, keep_the_writer)
            await wait_all_tasks_blocked()
            nursery.start_soon(claim_other)
            await wait_all_tasks_blocked()
            wrong = SessionSummary(bad.session, updated_us=TIME_THAT_NO_KEY_HOLDS)
            tickets = [
                log.append(sound.session, sound.batch("b"), fence=sound_fence),
                log.append(bad.session, bad.batch("b", summary=wrong), fence=bad_fence),
                log.append(bad.session, bad.batch("c"), fence=bad_fence),
                log.append(sound.session, sound.batch("c"), fence=sound_fence),
            ]
            writer_may_continue.set()
        fates = [await ticket.settled() for ticket in tickets]
        assert fates[::3] == [Stored(), Stored()]
        assert isinstance(fates[1], Refused)
        assert fates[1].why.startswith("OverflowError: ")
        assert fates[2] == Refused("an append before it failed")
        assert not isinstance(errors[0], StorePaused)
        assert str(errors[0]).startswith("OSError: ")
        assert str(errors[0]).endswith("`turnlog doctor` reports more.")
        assert log.paused is None
        assert texts(await log.read(sound.session)) == ["a", "b", "c"]
        bad.head = await log.head(bad.session)
        await write(log, bad, bad_fence, "again")
        assert texts(await log.read(bad.session)) == ["a", "again"]


# --- a file that cannot be opened again -------------------------------------------------------


async def test_a_file_that_could_not_be_opened_again_is_tried_once_more(tmp_path: Path) -> None:
    data, away = tmp_path / DATA_FILE, tmp_path / "away"
    async with open_log(tmp_path, map_size=1 << 20) as log:
        stream, fence = await start(log, "a")
        data.rename(away)
        data.mkdir()
        with pytest.raises(StoreError):
            log.environment.reopen()
        with pytest.raises(StorePaused, match="could not be opened again"):
            await log.create(new_session())
        assert log.paused
        data.rmdir()
        away.rename(data)
        await log.create(new_session())
        assert log.paused is None
        assert log.environment.map_size == 1 << 20
        await write(log, stream, fence, "b")
        assert texts(await log.read(stream.session)) == ["a", "b"]


def test_a_file_that_is_gone_is_not_made_again_when_it_is_reopened(tmp_path: Path) -> None:
    store, away = tmp_path / "store", tmp_path / "away"
    environment = Environment.open(store)
    store.rename(away)
    for _ in range(2):
        with pytest.raises(StoreError, match="there is no store"):
            environment.reopen()
        assert not store.exists()
    away.rename(store)
    environment.probe()
    environment.close()


async def test_the_writer_outlives_a_folder_whose_free_space_cannot_be_told(tmp_path: Path) -> None:
    store, away = tmp_path / "store", tmp_path / "away"
    async with open_log(store) as log:

        def fail(_: Txn, __: Tables) -> None:
            raise lmdb.DiskError("the disk does not answer")

        with pytest.raises(StorePaused):
            await log.commit(fail)
        store.rename(away)
        with trio.fail_after(PATIENCE_S), pytest.raises(StorePaused, match="Put it back"):
            await log.create(new_session())
        assert log.paused
        away.rename(store)
        await log.create(new_session())
        assert log.paused is None
