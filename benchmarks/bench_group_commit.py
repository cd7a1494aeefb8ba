"""Group commit: many sessions append at once, each waits for its event before the next.

The next group is whatever has queued while the last one was written; there is no timer.
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import attrs
import trio
from measure import ROUNDS, Bench, Claim, Disk, R, Rounds, main
from workload import Appender

from turnlog.actors.ports import Claim as Held
from turnlog.actors.ports import Stored
from turnlog.protocol.ids import SessionId
from turnlog.runtime.engine.new_id import new_id
from turnlog.runtime.store.lmdb.log import LmdbLog, open_log

SECONDS = 0.5  # of each load, in each round

LARGE = Claim("64 producers, 1 KB: events per R", 4, "/R", at_least=True)
SMALL = Claim("64 producers, 200 B: events per R", 5, "/R", at_least=True)
MANY = Claim("512 producers, 200 B: events per R", 9, "/R", at_least=True)
GROUP = Claim("mean batch / producers, at 64", 0.9, "x", at_least=True)
CLAIMS = (LARGE, SMALL, MANY, GROUP)

_LAST_TRANSACTION = """
import lmdb, sys
with lmdb.Environment(sys.argv[1], readonly=True, lock=False, max_dbs=16, lib_version=0) as env:
    print(env.info()["last_txnid"])
"""


def _commits(store: Path) -> int:
    """Return how many transactions the store has seen.

    Asked from another process: LMDB refuses a second environment within one.
    """
    command = [sys.executable, "-c", _LAST_TRANSACTION, str(store)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@attrs.define
class _Load:
    """Sessions that append for a while."""

    log: LmdbLog
    store: Path
    held: Sequence[Held]
    sources: Sequence[Appender]
    rounds: Rounds = attrs.field(factory=Rounds)
    group: float = 0.0  # events per commit: the best round's mean

    async def run(self, disk: Disk) -> None:
        self.rounds.begin()
        self.rounds.add(R, disk.sample(30))
        commits, before = _commits(self.store), sum(source.sequence for source in self.sources)
        begin = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for held, source in zip(self.held, self.sources, strict=True):
                nursery.start_soon(self._produce, held, source, begin + SECONDS)
        took = time.perf_counter() - begin
        events = sum(source.sequence for source in self.sources) - before
        self.rounds.add(R, disk.sample(30))
        self.rounds.add("event", [took / events])
        self.group = max(self.group, events / (_commits(self.store) - commits))

    async def _produce(self, held: Held, source: Appender, until: float) -> None:
        while time.perf_counter() < until:
            ticket = self.log.append(held.session, source.next(), fence=held.fence)
            fate = await ticket.settled()
            assert isinstance(fate, Stored), fate


async def _load(log: LmdbLog, store: Path, producers: int, size: int) -> _Load:
    held: list[Held] = []

    async def create() -> None:
        held.append(await log.create(SessionId(new_id())))

    async with trio.open_nursery() as nursery:
        for _ in range(producers):
            nursery.start_soon(create)
    return _Load(log, store, held, [Appender(size) for _ in range(producers)])


async def _measure(bench: Bench) -> None:
    disk, store = Disk(bench.folder), bench.folder / "store"
    async with open_log(store) as log:
        loads = {
            LARGE: await _load(log, store, 64, 1024),
            SMALL: await _load(log, store, 64, 200),
            MANY: await _load(log, store, 512, 200),
        }
        for _ in range(ROUNDS):
            for load in loads.values():
                await load.run(disk)
    for claim, load in loads.items():
        bench.ratio(claim, load.rounds, "event", R)
    group = min(loads[LARGE].group, loads[SMALL].group)
    bench.result(GROUP, group / 64, "64 producers")
    rates = ", ".join(f"{1 / load.rounds.best('event'):,.0f}" for load in loads.values())
    bench.note(f"events a second: {rates}")


def measure(bench: Bench) -> None:
    trio.run(_measure, bench)


if __name__ == "__main__":
    main("group commit", CLAIMS, measure)
