"""A turn through the real actors: with four waits for the disk, relaxed, and without a disk.

The bare asks are three round trips between two trio tasks: what a turn's model, tool and context
would cost if nothing were decided, encoded or logged.
"""

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from measure import ROUNDS, Bench, Claim, Disk, R, Rounds, main, show_time
from ports import defaults, turn, world

from turnlog.actors.ports import EventLog
from turnlog.protocol.settings import Durability
from turnlog.runtime.engine.engine import Engine, running
from turnlog.runtime.engine.session import Session
from turnlog.runtime.store.lmdb.log import open_log
from turnlog.runtime.store.memory.log import MemoryLog

BLOCKS = 6  # of each round
TURNS = 5  # of each block, one session
SESSIONS = 64
TURNS_EACH = 4  # of each round, 64 sessions

STRICT = Claim("turn, 4 barriers, one session", 20, "R")
RELAXED = Claim("turn, relaxed durability, against no disk", 1.8, "x")
NO_LOG = Claim("turn, no disk, against 3 bare asks", 1.5, "x")
AT_ONCE = Claim("64 sessions, 4 barriers, turns/s against no disk", 0.12, "x", at_least=True)
CLAIMS = (STRICT, RELAXED, NO_LOG, AT_ONCE)


@asynccontextmanager
async def _engine(log: EventLog, durability: Durability = "strict") -> AsyncGenerator[Engine]:
    async with running(world(log), defaults(durability)) as engine:
        yield engine


async def _turns(session: Session) -> list[float]:
    times = list[float]()
    for _ in range(TURNS):
        begin = time.perf_counter()
        await turn(session)
        times.append(time.perf_counter() - begin)
    return times


async def _asks(count: int = 50) -> list[float]:
    """Return how long three round trips to another task take."""
    ask, asked = trio.open_memory_channel[int](0)
    reply, replied = trio.open_memory_channel[int](0)
    times = list[float]()

    async def answer() -> None:
        async for number in asked:
            await reply.send(number)

    async with trio.open_nursery() as nursery, ask:
        nursery.start_soon(answer)
        for _ in range(count):
            begin = time.perf_counter()
            for number in range(3):
                await ask.send(number)
                await replied.receive()
            times.append(time.perf_counter() - begin)
    return times


async def _one_session(bench: Bench, disk: Disk, folder: Path) -> None:
    rounds = Rounds()
    async with (
        open_log(folder) as log,
        _engine(MemoryLog()) as in_memory,
        _engine(log) as on_disk,
        _engine(log, "relaxed") as relaxed,
    ):
        engines = {"no disk": in_memory, "relaxed": relaxed, "4 barriers": on_disk}
        sessions = {name: await engine.start() for name, engine in engines.items()}
        for session in sessions.values():
            await _turns(session)  # warm
        for _ in range(ROUNDS):
            rounds.begin()
            for _ in range(BLOCKS):
                rounds.add("3 asks", await _asks())
                for name, session in sessions.items():
                    rounds.add(R, disk.sample(5))
                    rounds.add(name, await _turns(session))
        for session in sessions.values():
            await session.close()
    bench.ratio(STRICT, rounds, "4 barriers", R)
    bench.ratio(RELAXED, rounds, "relaxed", "no disk")
    bench.ratio(NO_LOG, rounds, "no disk", "3 asks")
    times = ", ".join(f"{name} {show_time(rounds.best(name))}" for name in sessions)
    bench.note(f"p50 of a turn: {times}")


async def _many_turns(log: EventLog) -> float:
    """Return seconds per turn, of 64 sessions at once."""

    async def work(session: Session) -> None:
        for _ in range(TURNS_EACH):
            await turn(session)

    sessions: list[Session] = []
    async with _engine(log) as engine:

        async def start() -> None:
            sessions.append(await engine.start())

        async with trio.open_nursery() as nursery:
            for _ in range(SESSIONS):
                nursery.start_soon(start)
        begin = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for session in sessions:
                nursery.start_soon(work, session)
        took = time.perf_counter() - begin
    return took / (SESSIONS * TURNS_EACH)


async def _many_sessions(bench: Bench, folder: Path) -> None:
    rounds = Rounds()
    async with open_log(folder) as log:
        for _ in range(ROUNDS):
            rounds.begin()
            rounds.add("no disk", [await _many_turns(MemoryLog())])
            rounds.add("4 barriers", [await _many_turns(log)])
    bench.ratio(AT_ONCE, rounds, "4 barriers", "no disk")
    bench.note(f"64 sessions: {1 / rounds.best('4 barriers'):,.0f} turns a second with 4 barriers")


def measure(bench: Bench) -> None:
    disk = Disk(bench.folder)
    trio.run(_one_session, bench, disk, bench.folder / "one")
    trio.run(_many_sessions, bench, bench.folder / "many")


if __name__ == "__main__":
    main("turn", CLAIMS, measure)
