"""Opening a session costs its live context and its newest events, not its history."""

from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import pytest
import trio
from msgspec import structs
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors.ports import in_turn, inline_engine, said, working
from tests.actors.test_lost_writes import FAULTS, MOST_APPENDS, Fault, Flaky, insist
from tests.engine.kit import Shadow, actor_of, assert_sound, play, until
from turnlog.actors.core.model_input import model_input
from turnlog.actors.core.rebuild import rebuild
from turnlog.actors.core.snapshot import snapshot
from turnlog.actors.ports import Stored, StoredSnapshot, ToolMonitor
from turnlog.actors.stored_state import snapshots as snapshot_keeper
from turnlog.actors.stored_state.snapshots import SNAPSHOT_AT_CLOSE, SNAPSHOT_EVERY, SnapshotKeeper
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.events import SessionOpened, TurnEnded
from turnlog.protocol.ids import SessionId
from turnlog.protocol.ops import OverrideTurnContext
from turnlog.protocol.settings import SettingsUpdate
from turnlog.runtime.engine.session import Session
from turnlog.runtime.store.lmdb.log import open_log
from turnlog.runtime.store.memory.log import MemoryLog, MemoryStore


@attrs.define(eq=False)
class Counting(MemoryLog):
    """A log that counts the events which are read."""

    counted: int = 0

    async def read(
        self, session: SessionId, *, after: int = 0, until: int | None = None, limit: int = 1000
    ) -> list[Recorded]:
        return self._count(await super().read(session, after=after, until=until, limit=limit))

    async def read_at(self, session: SessionId, sequences: Sequence[int]) -> list[Recorded]:
        return self._count(await super().read_at(session, sequences))

    def _count(self, events: list[Recorded]) -> list[Recorded]:
        self.counted += len(events)
        return events


async def lengthen(session: Session, events: int) -> None:
    """Make a session longer, and its conversation not."""
    for number in range(events):
        await session.submit(OverrideTurnContext(SettingsUpdate(model=f"model {number}")))


def newest(store: MemoryStore, session: SessionId) -> StoredSnapshot:
    snapshots = store.sessions[session].snapshots
    return snapshots[max(snapshots)]


async def long_session(store: MemoryStore, *, events: int) -> SessionId:
    """Make a session of two turns and that many events between them, and close it."""
    async with inline_engine(MemoryLog(store), in_turn([said("one")], [said("two")])) as engine:
        session = await engine.start(cwd="/")
        await play(session, "first")
        await lengthen(session, events)
        await play(session, "second")
    return session.id


async def assert_opens_whole(log: MemoryLog, name: SessionId) -> int:
    """Check a session that is opened against the fold of its log; return what opening has read."""
    counting = Counting(log.store)
    async with inline_engine(counting, in_turn([said("three")])) as engine:
        session = await engine.resume(name)
        read = counting.counted
        records = await log.read(name, limit=100_000)
        assert rebuild(records) == actor_of(session).state
        assert model_input(rebuild(records)) == model_input(actor_of(session).state)
        await play(session, "third")
    assert_sound(await log.read(name, limit=100_000))
    return read


async def test_a_long_session_is_opened_from_its_snapshot_and_its_tail() -> None:
    store = MemoryStore()
    name = await long_session(store, events=3 * SNAPSHOT_EVERY)
    assert store.sessions[name].head.sequence > 3000
    kept = newest(store, name)
    assert kept.sequence < store.sessions[name].head.sequence  # too few came since, for another
    tail = store.sessions[name].head.sequence - kept.sequence
    assert tail < SNAPSHOT_AT_CLOSE
    assert await assert_opens_whole(MemoryLog(store), name) <= tail + 10


async def test_a_session_on_disk_is_opened_from_its_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_keeper, "SNAPSHOT_AT_CLOSE", 1)
    async with open_log(tmp_path) as log:
        async with inline_engine(log, in_turn([said("one")])) as engine:
            session = await engine.start(cwd="/")
            await play(session, "large " * 1000)
        head = (await log.head(session.id)).sequence
    async with open_log(tmp_path) as log:
        keeper = SnapshotKeeper(log, session.id)
        state = await keeper.restore(until=head)
        assert state == rebuild(await log.read(session.id))
        assert state.head == head
        async with inline_engine(log, in_turn([said("two")])) as engine:
            session = await engine.resume(session.id)
            await play(session, "second")
        assert_sound(await log.read(session.id))


@pytest.mark.parametrize("more", [False, True])
async def test_closing_takes_a_snapshot_where_one_is_worth_it(more: bool) -> None:
    store = MemoryStore()
    name = await long_session(store, events=SNAPSHOT_AT_CLOSE if more else SNAPSHOT_AT_CLOSE // 2)
    row = store.sessions[name]
    assert [*row.snapshots] == ([row.head.sequence] if more else [])
    read = await assert_opens_whole(MemoryLog(store), name)
    assert (read < 10) == more


async def test_a_turn_that_runs_is_in_no_snapshot(autojump_clock: MockClock) -> None:
    log = MemoryLog()
    finish = trio.Event()

    async def work(call_id: str, monitor: ToolMonitor) -> str:
        await finish.wait()
        return call_id

    async with inline_engine(log, working("a"), work=work) as engine:
        session = await engine.start(cwd="/")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            await trio.sleep(1)
            await lengthen(session, SNAPSHOT_EVERY)
            assert log.store.sessions[session.id].snapshots == {}
            finish.set()
        await lengthen(session, 1)  # a write after the snapshot
        assert log.store.sessions[session.id].snapshots != {}


# --- snapshots that are of no use -------------------------------------------------------------

Wrong = Callable[[MemoryStore, StoredSnapshot], StoredSnapshot]


def changed(store: MemoryStore, good: StoredSnapshot) -> StoredSnapshot:
    return structs.replace(good, data=good.data[:-1] + bytes([good.data[-1] ^ 1]))


def of_another_release(store: MemoryStore, good: StoredSnapshot) -> StoredSnapshot:
    return structs.replace(good, data=bytes(16) + good.data[16:])


def of_another_session(store: MemoryStore, good: StoredSnapshot) -> StoredSnapshot:
    others = (one for row in store.sessions.values() for one in row.snapshots.values())
    other = next(one for one in others if one is not good)
    return structs.replace(good, data=other.data)


def of_another_event(store: MemoryStore, good: StoredSnapshot) -> StoredSnapshot:
    return structs.replace(good, sequence=good.sequence - 1)


def empty(store: MemoryStore, good: StoredSnapshot) -> StoredSnapshot:
    return structs.replace(good, data=b"")


@pytest.mark.parametrize(
    "wrong", [changed, of_another_release, of_another_session, of_another_event, empty]
)
async def test_a_snapshot_that_does_not_fit_is_noticed_and_all_is_folded(wrong: Wrong) -> None:
    store = MemoryStore()
    name = await long_session(store, events=SNAPSHOT_AT_CLOSE)
    await long_session(store, events=SNAPSHOT_AT_CLOSE)
    row = store.sessions[name]
    [(at, good)] = row.snapshots.items()
    row.snapshots[at] = wrong(store, good)
    length = row.head.sequence
    assert await assert_opens_whole(MemoryLog(store), name) >= length


async def test_where_the_newest_snapshot_does_not_fit_the_one_before_it_is_used() -> None:
    store = MemoryStore()
    name = await long_session(store, events=3 * SNAPSHOT_EVERY)
    row = store.sessions[name]
    *_, before, last = sorted(row.snapshots)
    row.snapshots[last] = structs.replace(row.snapshots[last], data=b"")
    read = await assert_opens_whole(MemoryLog(store), name)
    assert read <= row.head.sequence - before + 10


async def test_a_whole_fold_leaves_snapshots_for_the_next_one() -> None:
    store = MemoryStore()
    name = await long_session(store, events=3 * SNAPSHOT_EVERY)
    row = store.sessions[name]
    length = row.head.sequence
    row.snapshots.clear()  # as after an upgrade
    assert await assert_opens_whole(MemoryLog(store), name) >= length
    assert await assert_opens_whole(MemoryLog(store), name) <= SNAPSHOT_EVERY + 20


async def test_a_snapshot_of_events_that_nobody_has_heard_of_is_not_used() -> None:
    log = MemoryLog()
    async with inline_engine(log, in_turn([said("one")])) as engine:
        session = await engine.start(cwd="/")
        await play(session)
    state = rebuild(await log.read(session.id))
    data = snapshot(state)
    assert data is not None
    stored = StoredSnapshot(state.head, state.digest, data)
    log.store.sessions[session.id].snapshots[state.head] = stored
    keeper = SnapshotKeeper(log, session.id)
    assert (await keeper.restore(until=state.head)) == state
    assert (await keeper.restore(until=state.head - 1)).head == 0


class LosesTheSecond(MemoryLog):
    """A log that writes the second batch from now on, and loses the answer."""

    def lose_the_second(self) -> None:
        self._faults.append((Stored(), True))
        self.lose_next(written=True)


async def test_a_step_whose_answer_was_lost_is_published_though_a_snapshot_holds_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = LosesTheSecond()
    async with inline_engine(log, in_turn()) as engine:
        session = await engine.start(cwd="/")
        shadow = Shadow(session)
        async with trio.open_nursery() as nursery:
            await nursery.start(shadow.follow)
            await wait_all_tasks_blocked()
            monkeypatch.setattr(snapshot_keeper, "SNAPSHOT_EVERY", 1)
            log.hold()
            log.lose_the_second()
            for number in range(2):
                update = SettingsUpdate(model=f"model {number}")
                nursery.start_soon(session.submit, OverrideTurnContext(update))
            await wait_all_tasks_blocked()
            log.let_go()
            await until(session, SessionOpened, after=session.head)
            kept = newest(log.store, session.id)
            assert kept.sequence >= 4  # of the step whose answer was lost
            await session.close()
    records = await log.read(session.id)
    assert [seen for seen in shadow.seen if isinstance(seen, Recorded)] == records


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("at", range(1, MOST_APPENDS + 1))
async def test_a_lost_write_is_recovered_from_with_a_snapshot_at_every_rest(
    fault: Fault, at: int, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_keeper, "SNAPSHOT_EVERY", 1)
    log = Flaky(fault=fault, at=at)

    async def work(call_id: str, monitor: ToolMonitor) -> str:
        return call_id

    with trio.fail_after(300):
        async with inline_engine(log, working("a", "b"), work=work) as engine:
            session = await engine.start(cwd="/")
            shadow = Shadow(session)
            async with trio.open_nursery() as nursery:
                await nursery.start(shadow.follow)
                await insist(session, "go")
                await until(session, TurnEnded, after=0)
                await session.close()
    records = await log.read(session.id)
    assert_sound(records)
    assert [seen for seen in shadow.seen if isinstance(seen, Recorded)] == records
    assert log.store.sessions[session.id].snapshots != {}


# --- forks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("above", [False, True])
async def test_a_fork_is_opened_from_its_parents_snapshot_unless_that_is_later(
    above: bool,
) -> None:
    store = MemoryStore()
    name = await long_session(store, events=SNAPSHOT_AT_CLOSE)
    kept = newest(store, name)
    cut = kept.sequence if above else kept.sequence - 20
    counting = Counting(store)
    async with inline_engine(counting, in_turn([said("three")])) as engine:
        child = await engine.fork(name, at=cut)
        assert child.cut == cut
        read = counting.counted
        records = await counting.read(child.id, limit=100_000)
        assert rebuild(records) == actor_of(child).state
        await play(child, "third")
    assert (read < 20) == above
    assert_sound(await MemoryLog(store).read(child.id, limit=100_000))
    assert await assert_opens_whole(MemoryLog(store), child.id) > 0
