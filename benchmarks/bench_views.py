"""Looking at the past: the fork tree, the diff of two sessions, a session at an event.

Bare decode is msgspec's on the same bytes, without a store, a chain or a fold: of the rows, for
the tree; of both sessions' events, for a diff; of one session's, for an event.
"""

from collections.abc import Awaitable, Callable, Sequence
from copy import deepcopy
from functools import partial

import msgspec
import trio
from bench_read import bare_decode
from measure import Bench, Claim, Rounds, main, show_time, timed
from workload import Work, store

from turnlog.actors.ports import Batch, EventLog, Stored
from turnlog.protocol.ids import SessionId
from turnlog.protocol.summary import SessionSummary
from turnlog.replay.views.diff import SessionDiff, StoredSession, compare
from turnlog.replay.views.state_at import state_at_event
from turnlog.replay.views.tree import fork_tree
from turnlog.runtime.engine.new_id import new_id
from turnlog.runtime.store.lmdb.log import open_log

EVENTS = 100_000
SESSIONS = 10_000
ROOTS = 100
ROUNDS = 3

TREE = Claim("tree of 10,000 sessions against bare decode of their rows", 80, "x")
NEAR_END = Claim("diff of 100k-event sessions that part near the end", 0.05, "x")
NEAR_BEGIN = Claim("diff of 100k-event sessions that part near the beginning", 8, "x")
OTHER_IDS = Claim("diff of 100k-event sessions that differ in ids only", 8, "x")
SHOW_AT = Claim("show --at the end of 100k events, without a snapshot", 6, "x")
CLAIMS = (TREE, NEAR_END, NEAR_BEGIN, OTHER_IDS, SHOW_AT)


async def _measured(
    bench: Bench,
    claim: Claim,
    action: Callable[[], Awaitable[object]],
    reference: Callable[[], object],
) -> None:
    rounds = Rounds()
    for _ in range(ROUNDS):
        rounds.begin()
        rounds.add("bare decode", [timed(reference)])
        begin = trio.current_time()
        await action()
        rounds.add("view", [trio.current_time() - begin])
    bench.ratio(claim, rounds, "view", "bare decode")
    bench.note(f"{claim.name}: {show_time(rounds.best('view'))}")


# --- the tree ---------------------------------------------------------------------------------


async def _tree(bench: Bench) -> None:
    work = Work()
    batches = list(work.steps(40))
    async with open_log(bench.folder / "tree") as log:
        roots = [SessionId(new_id()) for _ in range(ROOTS)]
        for root in roots:
            await store(log, [_listed_as(batch, root) for batch in batches], root)
        cut = work.state.head
        async with trio.open_nursery() as nursery:
            for number in range(SESSIONS - ROOTS):
                parent, place = roots[number % ROOTS], 1 + number // ROOTS % cut
                nursery.start_soon(log.fork, parent, place, SessionId(new_id()))
        rows = [msgspec.msgpack.encode(row) for row in await log.sessions(limit=SESSIONS)]
        assert len(rows) == SESSIONS
        decode = msgspec.msgpack.Decoder(SessionSummary).decode
        await _measured(bench, TREE, partial(fork_tree, log), lambda: [decode(row) for row in rows])


def _listed_as(batch: Batch, session: SessionId) -> Batch:
    if batch.summary is None:
        return batch
    return Batch(batch.records, msgspec.structs.replace(batch.summary, session=session))


# --- differences ------------------------------------------------------------------------------


async def _compare(log: EventLog, left: SessionId, right: SessionId) -> SessionDiff:
    return await compare(await StoredSession.open(log, left), await StoredSession.open(log, right))


async def _append(log: EventLog, session: SessionId, batches: Sequence[Batch]) -> None:
    claim = await log.claim(session)
    tickets = [log.append(session, Batch(b.records), fence=claim.fence) for b in batches]
    assert isinstance(await tickets[-1].settled(), Stored)
    await log.release(claim)


async def _branched(log: EventLog, work: Work, batches: list[Batch]) -> SessionId:
    """Fork a session at its end, and let both continue with different turns."""
    child = SessionId(new_id())
    await log.fork(work.session, work.state.head, child)
    other = Work(child, seed=1)
    other.state = deepcopy(work.state)
    await _append(log, child, [batch for _ in range(3) for batch in other.turn()])
    more = [batch for _ in range(3) for batch in work.turn()]
    await _append(log, work.session, more)
    batches += more
    return child


async def _diffs(bench: Bench, log: EventLog, work: Work, batches: list[Batch]) -> None:
    child = await _branched(log, work, batches)
    assert (await _compare(log, work.session, child)).relation == "parted"
    decode_twice = partial(_bare_decode_both, batches, batches)
    await _measured(bench, NEAR_END, partial(_compare, log, work.session, child), decode_twice)
    for claim, seed in ((NEAR_BEGIN, 2), (OTHER_IDS, 0)):
        other = Work(seed=seed)
        others = list(other.steps(EVENTS))
        await store(log, others, other.session)
        decode = partial(_bare_decode_both, batches, others)
        await _measured(bench, claim, partial(_compare, log, work.session, other.session), decode)


def _bare_decode_both(one: Sequence[Batch], other: Sequence[Batch]) -> None:
    bare_decode(one)
    bare_decode(other)


# --- an event ---------------------------------------------------------------------------------


async def _sessions(bench: Bench) -> None:
    work = Work()
    batches = list(work.steps(EVENTS))
    async with open_log(bench.folder / "store") as log:
        await store(log, batches, work.session)
        await _measured(
            bench,
            SHOW_AT,
            partial(state_at_event, log, work.session, -1),
            partial(bare_decode, batches),
        )
        await _diffs(bench, log, work, batches)


async def _measure(bench: Bench) -> None:
    await _tree(bench)
    await _sessions(bench)


def measure(bench: Bench) -> None:
    trio.run(_measure, bench)


if __name__ == "__main__":
    main("views", CLAIMS, measure)
