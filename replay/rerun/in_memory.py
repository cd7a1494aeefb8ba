"""A session in memory: the same events, for what is to leave no trace in the store."""

from collections.abc import Sequence

import msgspec

from turnlog.actors.core.rebuild import rebuild
from turnlog.actors.ports import Batch, Stored
from turnlog.protocol.envelope import (
    GENESIS,
    SCHEMA,
    Envelope,
    Record,
    Recorded,
    UnknownEvent,
    chain,
    seal,
)
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
        sealed.append(_sealed(recorded, previous))
        previous = sealed[-1].digest
    for start in range(0, len(sealed), _CHUNK):
        batch = Batch(tuple(sealed[start : start + _CHUNK]), state.summary)
        fate = await log.append(state.session, batch, fence=claim.fence).settled()
        if not isinstance(fate, Stored):
            raise WriteLost(f"session {state.session} could not be copied: {fate.why}")
    await log.release(claim)
    return log


def _sealed(recorded: Recorded, previous: bytes) -> Record:
    event = recorded.event
    if not isinstance(event, UnknownEvent):
        return seal(
            event,
            sequence=recorded.sequence,
            time_us=recorded.time_us,
            cause=recorded.cause,
            turn=recorded.turn,
            previous=previous,
        )
    flags = (recorded.role == "decision") | event.ignorable << 1
    envelope = Envelope(
        SCHEMA,
        recorded.sequence,
        recorded.time_us,
        flags,
        event.kind,
        recorded.cause,
        recorded.turn,
        msgspec.Raw(event.body),
    )
    data = msgspec.msgpack.encode(envelope)
    return Record(recorded.sequence, chain(previous, data), data, {})
