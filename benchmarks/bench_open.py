"""Opening a session: what it costs to continue one, by the length of its history.

The bound is that of an index snapshot: a constant, whatever the history weighs. A fork is made a
little before the end: from the last snapshot but one.
"""

import resource

import trio
from measure import Bench, Claim, Rounds, main, show_time
from ports import defaults, world
from workload import Work, write_as_lived

from turnlog.protocol.ids import SessionId
from turnlog.runtime.engine.engine import Engine, running
from turnlog.runtime.store.lmdb.log import open_log

ROUNDS = 3
LENGTHS = {"1k": 1_000, "10k": 10_000, "100k": 100_000}

OPEN = Claim("opening at 100k events, time", 1, "ms")
GROWTH = Claim("opening at 100k events against 1k", 1.5, "x")
FORK_GROWTH = Claim("fork and open at 100k events against 1k", 1.5, "x")
CLAIMS = (OPEN, GROWTH, FORK_GROWTH)


async def _open(engine: Engine, session: SessionId) -> float:
    begin = trio.current_time()
    opened = await engine.resume(session)
    took = trio.current_time() - begin
    await opened.close()
    return took


async def _fork(engine: Engine, session: SessionId, at: int) -> float:
    begin = trio.current_time()
    child = await engine.fork(session, at=at)
    took = trio.current_time() - begin
    await child.close()
    return took


async def _measure(bench: Bench) -> None:
    opening, forking = Rounds(), Rounds()
    async with open_log(bench.folder / "store") as log:
        sessions: dict[str, SessionId] = {}
        live = 0
        for name, length in LENGTHS.items():
            work = Work(compacts_every=20)
            await write_as_lived(log, work, length)
            sessions[name], live = work.session, len(work.state.history.parts)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        async with running(world(log), defaults()) as engine:
            for _ in range(ROUNDS):
                opening.begin()
                forking.begin()
                for name, session in sessions.items():
                    repeats = 5 if name == "1k" else 1
                    opening.add(name, [await _open(engine, session) for _ in range(repeats)])
                    length = LENGTHS[name]
                    forking.add(
                        name, [await _fork(engine, session, length - 100) for _ in range(repeats)]
                    )
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    bench.result(OPEN, opening.best("100k") * 1000, f"{live} live items")
    bench.ratio(GROWTH, opening, "100k", "1k")
    bench.ratio(FORK_GROWTH, forking, "100k", "1k")
    times = ", ".join(f"{name} {show_time(opening.best(name))}" for name in LENGTHS)
    bench.note(f"opening at {times}; peak memory grew by {grown / 1000:.0f} MB")


def measure(bench: Bench) -> None:
    trio.run(_measure, bench)


if __name__ == "__main__":
    main("open", CLAIMS, measure)
