"""One durable append, and what an event costs before it reaches the disk.

The bare commit writes the same two values, event and session row, with lmdb alone on one thread.
"""

import time
from contextlib import closing
from statistics import median

import lmdb
import trio
from measure import ROUNDS, Bench, Claim, Disk, R, Rounds, main, show_time, timed
from workload import Appender, Work

from turnlog.actors.ports import Batch, Stored
from turnlog.protocol.envelope import GENESIS, seal
from turnlog.protocol.ids import SessionId
from turnlog.runtime.engine.new_id import new_id
from turnlog.runtime.store.lmdb.log import LmdbLog, open_log

EVENT_BYTES = 300
BLOCKS = 20  # of each round
APPENDS = 5  # of each block: reference, bare commit and append take turns
SEALED_EVENTS = 4000

DURABLE = Claim("durable append, one producer, p50", 4.5, "R")
AGAINST_BARE = Claim("the same, against a bare LMDB commit", 1.8, "x")
SEALING = Claim("encode + chain, per event", 0.03, "R")
CLAIMS = (DURABLE, AGAINST_BARE, SEALING)


class _Bare:
    """LMDB without trio, threads or checks: what a durable commit costs at least."""

    def __init__(self, folder: str) -> None:
        self.env = lmdb.Environment(folder, map_size=1 << 30, max_dbs=4, lib_version=0)
        self.events = self.env.open_db(b"events")
        self.sessions = self.env.open_db(b"sessions")
        self.sequence = 0

    def commit(self) -> None:
        self.sequence += 1
        with self.env.begin(write=True) as txn:
            txn.put(bytes(16) + self.sequence.to_bytes(8), bytes(EVENT_BYTES), db=self.events)
            txn.put(bytes(16), bytes(60), db=self.sessions)


class _Producer:
    """One session that appends one event at a time and waits for each."""

    def __init__(self, log: LmdbLog, session: SessionId, fence: int) -> None:
        self.log, self.session, self.fence = log, session, fence
        self.source = Appender(EVENT_BYTES)

    async def append(self) -> float:
        batch: Batch = self.source.next()
        begin = time.perf_counter()
        fate = await self.log.append(self.session, batch, fence=self.fence).settled()
        took = time.perf_counter() - begin
        assert isinstance(fate, Stored), fate
        return took


async def _append(bench: Bench, disk: Disk) -> None:
    rounds, bare = Rounds(), _Bare(str(bench.folder / "bare"))
    with closing(bare.env):
        async with open_log(bench.folder / "store") as log:
            claim = await log.create(SessionId(new_id()))
            producer = _Producer(log, claim.session, claim.fence)
            for _ in range(ROUNDS):
                rounds.begin()
                for _ in range(BLOCKS):
                    rounds.add(R, disk.sample(APPENDS))
                    rounds.add("bare", (timed(bare.commit) for _ in range(APPENDS)))
                    rounds.add("append", [await producer.append() for _ in range(APPENDS)])
    bench.ratio(DURABLE, rounds, "append", R)
    bench.ratio(AGAINST_BARE, rounds, "append", "bare")
    bench.note(f"an append takes {show_time(rounds.best('append'))}, its event {EVENT_BYTES} bytes")


def _seal(bench: Bench, disk: Disk) -> None:
    work, rounds = Work(), Rounds()
    list(work.steps(SEALED_EVENTS))

    def seal_all() -> None:
        digest = GENESIS
        for sequence, event in enumerate(work.events, 1):
            digest = seal(
                event, sequence=sequence, time_us=sequence, cause=0, turn=1, previous=digest
            ).digest

    for _ in range(ROUNDS):
        rounds.begin()
        for _ in range(3):
            rounds.add(R, disk.sample(20))
            rounds.add("seal", [timed(seal_all) / len(work.events)])
    bench.ratio(SEALING, rounds, "seal", R)
    each = show_time(rounds.best("seal"))
    bench.note(f"encode + chain takes {each} an event, blobs cut out and hashed")


async def _checkpoint(count: int = 20_000) -> float:
    """Return the seconds that one pass through trio's scheduler takes."""
    begin = time.perf_counter()
    for _ in range(count):
        await trio.lowlevel.checkpoint()
    return (time.perf_counter() - begin) / count


def _machine(bench: Bench, disk: Disk) -> None:
    """Say what the bounds in R suppose of a machine. Source: where they were first measured."""
    checkpoint = min(trio.run(_checkpoint) for _ in range(ROUNDS))
    r = min(median(disk.sample(50)) for _ in range(ROUNDS))
    bench.note(
        f"this machine: R = {show_time(r)}, a trio checkpoint {show_time(checkpoint)}; the bounds "
        "in R were set at 115-180 us and 3-6.5 us. With a faster disk, R measures the processor"
    )


def measure(bench: Bench) -> None:
    disk = Disk(bench.folder)
    trio.run(_append, bench, disk)
    _seal(bench, disk)
    _machine(bench, disk)


if __name__ == "__main__":
    main("append", CLAIMS, measure)
