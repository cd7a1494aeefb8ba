"""Imported sessions on their way into a store."""

from typing import Final

from turnlog.actors.ports import Batch, EventLog, Stored
from turnlog.protocol.errors import SessionExists, SessionNotFound, WriteLost
from turnlog.protocol.ids import SessionId
from turnlog.replay.rollouts.importing import Import, ImportedSession

_AT_ONCE: Final = 512  # events in one transaction


async def store_import(log: EventLog, found: Import) -> None:
    """Write the sessions that a rollout became. Each is stored whole, or not at all.

    Raises:
        SessionExists: the store has one of them; nothing was written.
        UsageError: the rollout's id is no UUID in lower case.
        LogPaused, WriteLost: the disk is full or failing.
    """
    for made in found.sessions:
        await require_free(log, made.session)
    for made in found.sessions:
        await _store(log, made)


async def require_free(log: EventLog, session: SessionId) -> None:
    """Check that the store has no session of this id.

    Raises:
        SessionExists: it has.
    """
    try:
        await log.head(session)
    except SessionNotFound:
        return
    raise SessionExists(session)


async def _store(log: EventLog, made: ImportedSession) -> None:
    claim = await log.create(made.session)
    try:
        for at in range(0, len(made.sealed), _AT_ONCE):
            page = tuple(made.sealed[at : at + _AT_ONCE])
            is_last = at + len(page) == len(made.sealed)
            await log.room()
            batch = Batch(page, made.summary if is_last else None)
            fate = await log.append(made.session, batch, fence=claim.fence).settled()
            if not isinstance(fate, Stored):
                raise WriteLost(f"the session was not stored: {fate.why}. Try again.")
    except BaseException:
        await log.release(claim)
        await log.delete(made.session)
        raise
    await log.release(claim)
