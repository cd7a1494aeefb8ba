"""A session of 1,000 turns: store, memory and time of a turn late against early, and resuming.

Real store, HTTP and commands; the model is scripted. A turn runs a command whose 2,000 characters
of output are new, and answers. The conversation is compacted whenever it reaches 6,000 tokens.
After the thousandth turn, a hundred more are timed in turns with the first hundred of a new
session, which has a store of its own.
"""

import gc
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median

import trio
from measure import ROUNDS, Bench, Claim, Rounds, main, show_time

from turnlog.actors.stored_state.pages import Pages
from turnlog.protocol.events import Compacted, TurnEnded
from turnlog.protocol.ids import SessionId
from turnlog.runtime.assembly import Assembly, open_assembly
from turnlog.runtime.config.schema import Config, ProviderConfig
from turnlog.runtime.engine.session import Session
from turnlog.runtime.scripted_model.script import Response, Script, call, message
from turnlog.runtime.scripted_model.server import serve_script

TURNS = 1000
EARLY = 100  # turns, and as many late ones
LOOKS = (10, EARLY, TURNS - EARLY, TURNS)  # turns after which store and memory are looked at
LIMIT = 6_000  # tokens
RESUMES = 15  # of each round

STORE = Claim("bytes of turns 901 to 1,000 against the first 100", 1.1, "x")
MEMORY = Claim("memory at turn 1,000 against turn 100", 1.1, "x")
TIME = Claim("turns after 1,000 against a new session's first 100, time", 1.2, "x")
RESUME = Claim("resuming after 1,100 turns against 100", 1.5, "x")
CLAIMS = (STORE, MEMORY, TIME, RESUME)

_OUTPUT = {"cmd": "head -c 1500 /dev/urandom | base64 -w 0", "login": False}
_SUMMARY = "The user asks for one look after the other, and each was had. " * 10
SCRIPT = Script.of(
    Response(items=[call("exec_command", _OUTPUT)], usage=None),
    Response(items=[message("It was all as it should be.")], usage=None),
    Response(items=[message(_SUMMARY)], compaction=True, usage=None),
    loop=True,
)


def _config(url: str) -> Config:
    return Config(
        model="scripted",
        model_provider="local",
        model_providers={"local": ProviderConfig(url)},
        model_auto_compact_token_limit=LIMIT,
        sandbox_mode="danger-full-access",
        approval_policy="never",
    )


async def _turns(session: Session, numbers: Sequence[int]) -> list[float]:
    """Run turns; return how long each took, in seconds."""
    times = list[float]()
    for number in numbers:
        begin, last = time.perf_counter(), None
        prompt = f"look a {number}th time, and tell me whether it is still as it should be"
        async for recorded in session.run(prompt):
            last = recorded.event
        times.append(time.perf_counter() - begin)
        assert isinstance(last, TurnEnded), last
        assert last.status == "completed", last
    return times


def _size(store: Path) -> int:
    return (store / "data.mdb").stat().st_size


def _memory() -> int:
    """Return the process's own memory in bytes; pages of the store are not in it."""
    gc.collect()
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


async def _thousand(bench: Bench, session: Session, store: Path) -> None:
    """Run the turns, and report what they left in the store and in memory."""
    sizes, memory = {0: _size(store)}, dict[int, int]()
    times, done = list[float](), 0
    for look in LOOKS:
        times += await _turns(session, range(done, look))
        done, sizes[look], memory[look] = look, _size(store), _memory()
    early = (sizes[EARLY] - sizes[0]) / EARLY
    late = (sizes[TURNS] - sizes[TURNS - EARLY]) / EARLY
    bench.result(STORE, late / early, f"a turn = {early / 1000:.3g} KB")
    small = memory[EARLY]
    bench.result(MEMORY, memory[TURNS] / small, f"at turn {EARLY} = {small / 1e6:.3g} MB")
    means = (f"{look:,}: {(sizes[look] - sizes[0]) / look / 1000:.3g} KB" for look in LOOKS)
    seen = (f"{look:,}: {size / 1e6:.3g} MB" for look, size in memory.items())
    bench.note(f"memory at turn {', '.join(seen)}")
    bench.note(f"bytes of store a turn, mean of all up to {', '.join(means)}")
    first, last = median(times[:EARLY]), median(times[-EARLY:])
    bench.note(f"p50 of turns 1 to 100: {show_time(first)}, 901 to 1,000: {show_time(last)}")


async def _resume(assembly: Assembly, session: SessionId) -> float:
    """Resume a session and close it again; return how many seconds resuming took."""
    begin = time.perf_counter()
    opened = await assembly.engine.resume(session)
    took = time.perf_counter() - begin
    await opened.close()
    return took


async def _compactions(assembly: Assembly, session: SessionId) -> tuple[int, int]:
    """Return how many events the session has, and how many of them are compactions."""
    events = compactions = 0
    async for page in Pages(assembly.log, session):
        events += len(page)
        compactions += sum(isinstance(recorded.event, Compacted) for recorded in page)
    return events, compactions


async def _measure(bench: Bench) -> None:
    async with AsyncExitStack() as stack:
        serving = serve_script(SCRIPT, keep_requests=False)
        config = _config((await stack.enter_async_context(serving)).base_url)
        assemblies = {
            name: await stack.enter_async_context(
                open_assembly(home=bench.folder / name, config=config)
            )
            for name in ("old", "new")
        }
        old = await assemblies["old"].engine.start(cwd=bench.folder)
        await _thousand(bench, old, bench.folder / "old" / "store")
        sessions = {"old": old, "new": await assemblies["new"].engine.start(cwd=bench.folder)}
        turns, resuming = Rounds(), Rounds()
        for number in range(ROUNDS):
            turns.begin()
            each = EARLY // ROUNDS
            for name, session in sessions.items():
                turns.add(name, await _turns(session, range(number * each, (number + 1) * each)))
        for session in sessions.values():
            await session.close()
        for _ in range(ROUNDS):
            resuming.begin()
            for _ in range(RESUMES):  # one by one, since each takes less than a busy moment
                for name, session in sessions.items():
                    resuming.add(name, [await _resume(assemblies[name], session.id)])
        events, compactions = await _compactions(assemblies["old"], old.id)
    bench.ratio(TIME, turns, "old", "new")
    bench.ratio(RESUME, resuming, "old", "new")
    bench.note(f"{TURNS + EARLY:,} turns are {events:,} events and {compactions} compactions")


def measure(bench: Bench) -> None:
    trio.run(_measure, bench)


if __name__ == "__main__":
    main("thousand turns", CLAIMS, measure)
