"""Replaying a stored session: reads the log, and decides again what was decided."""

import os
import threading
from collections.abc import Sequence
from pathlib import Path

import attrs
import trio

from turnlog.protocol.envelope import Recorded
from turnlog.protocol.ids import SessionId
from turnlog.replay.verify import Divergence, divergences
from turnlog.runtime.config.home import STORE_FOLDER, turnlog_home
from turnlog.runtime.store.lmdb_log import open_log


@attrs.frozen
class ReplayReport:
    """What a replay found. No divergences: today's code decides as the recorded session did."""

    session: SessionId
    events: int
    divergences: Sequence[Divergence]


def replay_session(prefix: str, *, home: str | os.PathLike[str] | None = None) -> ReplayReport:
    """Feed a session's recorded facts to today's code, and compare each decision with the log.

    Reads the log and nothing else; no model, process or network is reached. Not for use while
    an engine of this same process has the store open.

    Args:
        prefix: the session's id, or as much of it as is unique.
        home: where the store is. Default: `$TURNLOG_HOME`, `~/.turnlog`.

    Raises:
        SessionNotFound, AmbiguousSession, LogDamaged, StoreUnsuitable
    """
    environ = dict(os.environ) if home is None else {"TURNLOG_HOME": os.fspath(home)}
    store = turnlog_home(environ) / STORE_FOLDER
    if not trio.lowlevel.in_trio_run():
        return trio.run(_replay, store, prefix)
    outcome: list[ReplayReport | BaseException] = []

    def elsewhere() -> None:
        try:
            outcome.append(trio.run(_replay, store, prefix))
        except BaseException as error:  # raised again, by the caller's thread
            outcome.append(error)

    thread = threading.Thread(target=elsewhere, name="turnlog-replay")
    thread.start()
    thread.join()
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


async def _replay(store: Path, prefix: str) -> ReplayReport:
    async with open_log(store, read_only=True) as log:
        session = await log.resolve(prefix)
        records: list[Recorded] = []
        while page := await log.read(session, after=len(records)):
            records += page
    return ReplayReport(session, len(records), tuple(divergences(records)))
