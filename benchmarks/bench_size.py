"""What a log weighs: pages against payload, and whether a turn weighs the same late as early."""

from itertools import zip_longest
from pathlib import Path

import trio
from measure import Bench, Claim, main
from workload import Work, payload

from turnlog.actors.ports import Batch, Stored
from turnlog.protocol.ids import SessionId
from turnlog.runtime.store.lmdb.log import open_log

EVENTS = 20_000
INTERLEAVED = 16
EARLY, LATE = 100, 1000  # the last of the turns that are compared
COMPARED = 100  # turns

ONE = Claim("log bytes per payload byte, one session", 1.6, "x")
MANY = Claim("log bytes per payload byte, 16 interleaved", 2.2, "x")
LINEAR = Claim("bytes of turns up to 1,000 against the first 100", 1.1, "x")
CLAIMS = (ONE, MANY, LINEAR)


async def _pages(folder: Path, sessions: dict[SessionId, list[Batch]]) -> int:
    """Write the sessions in turns, a step at a time; return the size of the file."""
    async with open_log(folder) as log:
        claims = {session: await log.create(session) for session in sessions}
        for steps in zip_longest(*sessions.values()):
            tickets = [
                log.append(session, step, fence=claims[session].fence)
                for session, step in zip(sessions, steps, strict=True)
                if step is not None
            ]
            if tickets[0] is tickets[-1]:  # one session: its steps may share a commit
                await log.room()
            else:
                assert isinstance(await tickets[-1].settled(), Stored)
    return (folder / "data.mdb").stat().st_size


def _works(sessions: int) -> dict[SessionId, list[Batch]]:
    works = [Work(seed=seed) for seed in range(sessions)]
    return {work.session: list(work.steps(EVENTS // sessions)) for work in works}


def _turn_bytes(work: Work, turns: int) -> float:
    """Return the payload of a turn, mean of those up to number `turns`."""
    while work.state.turns < turns - COMPARED:
        for _ in work.turn():
            pass
    return payload([batch for _ in range(COMPARED) for batch in work.turn()]) / COMPARED


async def _measure(bench: Bench) -> None:
    for claim, sessions in ((ONE, 1), (MANY, INTERLEAVED)):
        works = _works(sessions)
        size = payload([batch for batches in works.values() for batch in batches])
        pages = await _pages(bench.folder / str(sessions), works)
        bench.result(claim, pages / size, f"payload = {size / 1e6:.3g} MB")
    work = Work()
    list(work.steps(1))
    early, late = _turn_bytes(work, EARLY), _turn_bytes(work, LATE)
    bench.result(LINEAR, late / early, f"a turn = {early / 1000:.3g} KB")


def measure(bench: Bench) -> None:
    trio.run(_measure, bench)


if __name__ == "__main__":
    main("size", CLAIMS, measure)
