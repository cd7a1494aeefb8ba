"""Telling that the store takes no writes, so that nobody waits without knowing for what."""

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from turnlog.actors.ports import EventLog
from turnlog.runtime.store.lmdb.log import LmdbLog
from turnlog.runtime.store.lmdb.writer import pause_text

_PERIOD: Final = 0.5  # seconds between two looks


async def tell_pauses(log: EventLog, tell: Callable[[str], Awaitable[None]]) -> None:
    """Tell each time that the store begins to refuse writes, and when it takes them again."""
    if not isinstance(log, LmdbLog):  # it is in memory
        return
    told = False
    while True:
        if (why := log.paused) and not told:
            await tell(f"Waiting: {pause_text(why)}")
        elif told and not why:
            await tell("The log takes writes again.")
        told = why is not None
        await trio.sleep(_PERIOD)
