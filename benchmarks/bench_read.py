"""Reading a session back: scan, decode, fold; through forks; and forking itself.

Bare decode is msgspec's on the same bytes, envelope and event, without a store, a chain or a
fold; texts above 4 KiB are at hand.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median

import msgspec
import trio
from measure import Bench, Claim, Disk, R, Rounds, main, pages, show_time, timed
from workload import Work, store

from turnlog.actors.core.rebuild import rebuild
from turnlog.actors.core.state import State
from turnlog.actors.ports import Batch, EventLog, Stored
from turnlog.protocol.envelope import EncodedEvent, Recorded, decode_event, read_envelope
from turnlog.protocol.events import SessionEvent
from turnlog.protocol.ids import SessionId
from turnlog.runtime.engine.new_id import new_id
from turnlog.runtime.store.lmdb.log import open_log

EVENTS = 100_000
PAGE = 1000
ROUNDS = 3
ANCESTORS = 1000
ANCESTRY_EVENTS = 20_000
FORKS = 100  # of each round
MEASURED_FORKS = 1000  # for the size of one; in the order of their ids, as time makes them

SCAN = Claim("scan + decode against bare decode", 0.45, "x", at_least=True)
REBUILD = Claim("rebuild of 100k events against bare decode", 2.5, "x")
FORK = Claim("fork at 100k events", 4, "R")
FORK_SIZE = Claim("bytes of a fork at 100k events", 1.0, "KB")
DEEP = Claim("read through 1,000 ancestors against one segment", 1.4, "x")
CLAIMS = (SCAN, REBUILD, FORK, FORK_SIZE, DEEP)


async def read(log: EventLog, session: SessionId) -> list[Recorded]:
    events: list[Recorded] = []
    while page := await log.read(session, after=len(events), limit=PAGE):
        events += page
    return events


async def fold(log: EventLog, session: SessionId) -> State:
    state = State()
    while page := await log.read(session, after=state.head, limit=PAGE):
        rebuild(page, state)
    return state


def bare_decode(batches: Sequence[Batch]) -> None:
    decode = msgspec.msgpack.Decoder(SessionEvent).decode
    for batch in batches:
        for record in batch.records:
            body = read_envelope(record.data).body
            if record.blobs:
                decode_event(EncodedEvent(bytes(memoryview(body)), record.blobs))
            else:
                decode(body)


async def _rebuild(bench: Bench, log: EventLog, session: SessionId, batches: list[Batch]) -> None:
    rounds = Rounds()
    for _ in range(ROUNDS):
        rounds.begin()
        rounds.add("bare decode", [timed(partial(bare_decode, batches))])
        begin = trio.current_time()
        events = await read(log, session)
        rounds.add("scan", [trio.current_time() - begin])
        rounds.add("fold", [timed(partial(rebuild, events))])
        del events
        begin = trio.current_time()
        await fold(log, session)
        rounds.add("rebuild", [trio.current_time() - begin])
    bench.ratio(SCAN, rounds, "scan", "bare decode")
    bench.ratio(REBUILD, rounds, "rebuild", "bare decode")
    parts = ("bare decode", "scan", "fold", "rebuild")
    times = ", ".join(f"{name} {show_time(rounds.best(name))}" for name in parts)
    bench.note(f"100k events: {times}")


async def _forks(bench: Bench, log: EventLog, session: SessionId, cut: int) -> None:
    rounds, disk = Rounds(), Disk(bench.folder)
    for _ in range(ROUNDS):
        rounds.begin()
        for _ in range(FORKS // 5):
            rounds.add(R, disk.sample(5))
            for _ in range(5):
                begin = trio.current_time()
                await log.fork(session, cut, SessionId(new_id()))
                rounds.add("fork", [trio.current_time() - begin])
    bench.ratio(FORK, rounds, "fork", R)


async def _fork_size(bench: Bench, batches: Sequence[Batch], session: SessionId) -> None:
    """Compare two copies, without free pages, of a store of one short session."""
    async with open_log(bench.folder / "forks") as log:
        await store(log, batches, session)
        await log.backup(bench.folder / "before")
        for _ in range(MEASURED_FORKS):
            await log.fork(session, batches[-1].records[-1].sequence, _new())
        await log.backup(bench.folder / "after")
    grown = _size(bench.folder / "after") - _size(bench.folder / "before")
    bench.result(FORK_SIZE, grown / MEASURED_FORKS / 1000, f"{MEASURED_FORKS} forks")


def _new() -> SessionId:
    return SessionId(new_id())


def _size(store: Path) -> int:
    return (store / "data.mdb").stat().st_size


async def _ancestors(bench: Bench, log: EventLog, batches: Sequence[Batch]) -> None:
    """Compare one session of 20k events with the same events, spread over 1,000 forks."""
    flat = _new()
    await store(log, [_unlisted(batch) for batch in batches], flat)
    parts = list(pages([_unlisted(batch) for batch in batches], len(batches) // ANCESTORS))
    deep = _new()
    await store(log, parts[0], deep)
    for part in parts[1:]:
        child, cut = _new(), part[0].records[0].sequence - 1
        await log.fork(deep, cut, child)
        deep, claim = child, await log.claim(child)
        tickets = [log.append(deep, batch, fence=claim.fence) for batch in part]
        assert isinstance(await tickets[-1].settled(), Stored)
    rounds = Rounds()
    for _ in range(ROUNDS):
        rounds.begin()
        for _ in range(3):
            for name, session in (("one segment", flat), ("ancestors", deep)):
                begin = trio.current_time()
                await read(log, session)
                rounds.add(name, [trio.current_time() - begin])
    bench.ratio(DEEP, rounds, "ancestors", "one segment")


def _unlisted(batch: Batch) -> Batch:
    """Return the batch without the row, which names the session that it was made for."""
    return Batch(batch.records)


async def _measure(bench: Bench) -> None:
    work = Work()
    batches = list(work.steps(EVENTS))
    async with open_log(bench.folder / "store") as log:
        await store(log, batches, work.session)
        await _rebuild(bench, log, work.session, batches)
        await _forks(bench, log, work.session, EVENTS)
        short = [batch for batch in batches if batch.records[-1].sequence <= ANCESTRY_EVENTS]
        await _ancestors(bench, log, short)
    await _fork_size(bench, short[:50], work.session)
    sizes = [len(record.data) for batch in batches for record in batch.records]
    bench.note(f"an envelope has {sum(sizes) / len(sizes):.0f} bytes (median {median(sizes):.0f})")


def measure(bench: Bench) -> None:
    trio.run(_measure, bench)


if __name__ == "__main__":
    main("read", CLAIMS, measure)
