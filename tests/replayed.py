"""Counts the sessions that the tests record, each of which is replayed without a difference."""

import os
from collections.abc import Sequence
from pathlib import Path

import trio

from turnlog.protocol.envelope import Recorded
from turnlog.protocol.errors import TurnlogError
from turnlog.replay.verify.verifier import divergences
from turnlog.runtime.store.lmdb.log import open_log

sessions: int = 0
events: int = 0


def replay(records: Sequence[Recorded]) -> None:
    """Replay a session that a test has recorded, and count it."""
    global sessions, events
    assert list(divergences(records)) == []
    sessions += 1
    events += len(records)


def replay_store(store: Path) -> None:
    """Replay what a store holds, if it can be read; a test may have damaged it."""
    if not os.path.exists(store / "data.mdb"):
        return
    try:
        found = trio.run(_read, store)
    except TurnlogError:
        return
    for records in found:
        replay(records)


async def _read(store: Path) -> list[list[Recorded]]:
    found: list[list[Recorded]] = []
    async with open_log(store, read_only=True) as log:
        for summary in await log.sessions(limit=1000):
            records: list[Recorded] = []
            while page := await log.read(summary.session, after=len(records)):
                records += page
            found.append(records)
    return found
