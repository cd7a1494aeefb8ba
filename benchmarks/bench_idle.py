"""What a session costs while nothing happens: memory, and time of the processor.

Memory is the process's own (RssAnon): the store's pages, which the system may drop, are not in it.
The second bound is our own: a thousand idle sessions should leave the machine idle.
"""

import gc
import time
from pathlib import Path

import trio
from measure import Bench, Claim, main
from ports import defaults, turn, world

from turnlog.runtime.engine.engine import Engine, running
from turnlog.runtime.engine.session import Session
from turnlog.runtime.store.lmdb.log import open_log

SESSIONS = 1000
WARM = 50
SECONDS = 2.0

MEMORY = Claim("memory of an idle session", 8, "KB")
CPU = Claim("processor time of 1,000 idle sessions", 5, "%")
CLAIMS = (MEMORY, CPU)


def _memory() -> int:
    """Return the process's own memory in bytes."""
    gc.collect()
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


async def _start(engine: Engine, count: int) -> list[Session]:
    sessions: list[Session] = []

    async def start() -> None:
        sessions.append(await engine.start())

    for _ in range(count // WARM):
        async with trio.open_nursery() as nursery:
            for _ in range(WARM):
                nursery.start_soon(start)
    return sessions


async def _measure(bench: Bench) -> None:
    async with (
        open_log(bench.folder / "store") as log,
        running(world(log), defaults()) as engine,
    ):
        warm = await _start(engine, WARM)
        await turn(warm[0])
        before = _memory()
        sessions = await _start(engine, SESSIONS)
        each = (_memory() - before) / len(sessions)
        bench.result(MEMORY, each / 1000, f"{SESSIONS} live sessions")
        used = time.process_time()
        await trio.sleep(SECONDS)
        used = time.process_time() - used
        bench.result(CPU, used / SECONDS * 100, "one core")


def measure(bench: Bench) -> None:
    trio.run(_measure, bench)


if __name__ == "__main__":
    main("idle", CLAIMS, measure)
