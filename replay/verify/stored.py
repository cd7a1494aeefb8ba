"""Replaying stored sessions: reads the log, and decides again what was decided."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import trio

from turnlog.actors.ports import EventLog
from turnlog.actors.stored_state.pages import Pages
from turnlog.protocol.errors import LogDamaged, TurnlogError, event_not_found
from turnlog.protocol.ids import SessionId
from turnlog.replay.verify.report import Damage, Replay, ReplayReport, damage_of
from turnlog.replay.verify.verdict import Verdict, failed, verdict_of
from turnlog.replay.verify.workers import in_processes
from turnlog.runtime.config.home import STORE_FOLDER, turnlog_home
from turnlog.runtime.engine import arguments as doors
from turnlog.runtime.store.lmdb.log import open_log

__all__ = [
    "ReplayReport",
    "replay_session",
    "replay_session_async",
    "replay_store",
    "replay_stored",
]

_AT_ONCE: Final = 100  # events that are decided again before other tasks have their turn
_WORTH_PROCESSES: Final = 20_000  # events; fewer are done before a process has started


def replay_session(prefix: str, *, home: str | os.PathLike[str] | None = None) -> ReplayReport:
    """Feed a session's recorded facts to today's code, and compare each decision with the log.

    Reads the log and nothing else; no model, process or network is reached. Not for use while
    an engine of this same process has the store open. It returns once all is replayed: a trio
    program awaits `replay_session_async` instead, so that its other tasks continue meanwhile.

    Args:
        prefix: the session's id, or as much of it as is unique.
        home: where the store is. Default: `$TURNLOG_HOME`, `~/.turnlog`.

    Raises:
        UsageError: a value is not allowed.
        NotFound, LogDamaged, StoreError
    """
    replay = partial(replay_session_async, prefix, home=home)
    if not trio.lowlevel.in_trio_run():
        return trio.run(replay)
    outcome: list[ReplayReport | BaseException] = []

    def elsewhere() -> None:
        try:
            outcome.append(trio.run(replay))
        except BaseException as error:  # raised again, by the caller's thread
            outcome.append(error)

    thread = threading.Thread(target=elsewhere, name="turnlog-replay")
    thread.start()
    thread.join()
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


async def replay_session_async(
    prefix: str, *, home: str | os.PathLike[str] | None = None
) -> ReplayReport:
    """Replay a session as `replay_session` does, in a trio program. Other tasks run meanwhile.

    Args:
        prefix, home: see `replay_session`.

    Raises:
        UsageError: a value is not allowed.
        NotFound, LogDamaged, StoreError
    """
    prefix = doors.TEXT.take("prefix", prefix)
    environ = dict(os.environ) if home is None else {"TURNLOG_HOME": doors.path("home", home)}
    async with open_log(turnlog_home(environ) / STORE_FOLDER, read_only=True) as log:
        session = await log.resolve(prefix)
        found = Replay(session)
        async for page in Pages(log, session, at_once=_AT_ONCE):
            found.take(page)
        return found.finish()


async def replay_stored(
    log: EventLog,
    session: SessionId,
    *,
    start: int = 1,
    seen: Callable[[int, int], object] = lambda done, all_of_them: None,
) -> ReplayReport:
    """Replay a session of an open store. Damage ends the report, and what precedes it is in it.

    Args:
        start: sequence from which on divergences are reported.
        seen: is told how many events are done, and how many there are.

    Raises:
        NotFound: there is none.
        NotFound: it has no event `start`.
    """
    head = (await log.head(session)).sequence
    if not 1 <= start <= max(head, 1):
        raise event_not_found(start, head)
    found = Replay(session, start)
    damage: Damage | None = None
    try:
        async for page in Pages(log, session, until=head):
            found.take(page)
            seen(found.events, head)
    except LogDamaged as error:
        damage = damage_of(error, error.sequence - 1)
    return found.finish(damage)


def replay_store(
    store: Path, sessions: Sequence[tuple[SessionId, int]], *, jobs: int | None = None
) -> Iterator[Verdict]:
    """Yield the verdict on each session of a store, in order, as they come.

    Args:
        sessions: each with the number of its events.
        jobs: processes to share the work. Default: one for each processor, where that pays.
    """
    if jobs is None and sum(events for _, events in sessions) < _WORTH_PROCESSES:
        jobs = 1
    return in_processes(partial(_verdict, store), [session for session, _ in sessions], jobs)


def _verdict(store: Path, session: SessionId) -> Verdict:
    try:
        return verdict_of(session, trio.run(_open_and_replay, store, session))
    except TurnlogError as error:
        return failed(session, error)


async def _open_and_replay(store: Path, session: SessionId) -> ReplayReport:
    async with open_log(store, read_only=True) as log:
        return await replay_stored(log, session)
