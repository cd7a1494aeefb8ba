"""A session in memory: the same events, for work that must leave no trace in the store."""

from collections.abc import Sequence

from turnlog.actors.core.rebuild import rebuild
from turnlog.actors.ports import Batch, Stored
from turnlog.protocol.envelope import GENESIS, Record, Recorded, reseal
from turnlog.protocol.errors import WriteLost
from turnlog.runtime.store.memory.log import MemoryLog

_CHUNK = 1000  # events in one batch


async def in_memory(records: Sequence[Recorded], place: str | None) -> MemoryLog:
    """Return a log that holds one session, with these events and its id.

    Args:
        place: of the log that they are copied from. None: wherever they say.
    """
    state = rebuild(records)
    log = MemoryLog(place=state.place if place is None else place)
    claim = await log.create(state.session)
    previous = GENESIS
    sealed: list[Record] = []
    for recorded in records:
        sealed.append(reseal(recorded, previous=previous))
        previous = sealed[-1].digest
    for start in range(0, len(sealed), _CHUNK):
        batch = Batch(tuple(sealed[start : start + _CHUNK]), state.summary)
        fate = await log.append(state.session, batch, fence=claim.fence).settled()
        if not isinstance(fate, Stored):
            raise WriteLost(f"session {state.session} could not be copied: {fate.why}")
    await log.release(claim)
    return log
