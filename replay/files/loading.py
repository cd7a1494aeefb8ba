"""Sessions on their way into a store: portable ones, and whatever else became records."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from turnlog.actors.core.rebuild import rebuild
from turnlog.actors.core.sealed_step import sealed_step
from turnlog.actors.ports import Batch, Claim, EventLog, Stored
from turnlog.protocol.envelope import Record, UnknownEvent
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import FileInvalid, NotFound, StoreError, UsageError, WriteLost
from turnlog.protocol.events import SessionForked, SessionImported
from turnlog.protocol.ids import SessionId
from turnlog.protocol.summary import SessionSummary
from turnlog.protocol.version import VERSION
from turnlog.replay.files.portable import PortableEvent, PortableReader

_AT_ONCE: Final = 512  # records in one transaction


async def load_portable(
    log: EventLog, reader: PortableReader, *, new_id: SessionId | None = None
) -> SessionId:
    """Put a file's session into a store, and return its id. As `store_session`, all or nothing.

    Args:
        reader: of a file; read to its end before anything is written.
        new_id: an id for a copy, which is a fork of the file's session at its end: the events
            say under which id they came to be, and what a fork does not take over is closed.

    Raises:
        FileInvalid: the file is damaged, or lacks a text that it refers to.
        UsageError: the store has a session of this id.
        UsageError: the id is not a UUID in lower case.
        StorePaused, WriteLost: the disk is full or failing; the error names what was left.
    """
    events = list(reader)
    _require_whole(reader, events)
    records = [event.record for event in events]
    state = rebuild(event.recorded for event in events)
    session = new_id or reader.header.session
    if new_id is not None:
        forked = SessionForked(new_id, state.session, state.head, state.digest.hex(), VERSION)
        records += [one.record for one in sealed_step(state, forked, time_us=state.time_us)]
    if state.place == log.place:  # it claims to be of this store, which a file may not
        imported = SessionImported(VERSION)
        records += [one.record for one in sealed_step(state, imported, time_us=state.time_us)]
    await require_free(log, session)
    await store_session(log, session, records, state.summary)
    return session


async def require_free(log: EventLog, session: SessionId) -> None:
    """Check that the store has no session of this id.

    Raises:
        UsageError: it has.
    """
    try:
        await log.head(session)
    except NotFound:
        return
    raise UsageError(
        ErrorCode.SESSION_EXISTS,
        f"there is a session {session} already; nothing was changed. See it with `turnlog "
        f"show {session}`, or import the file under an id of its own with --new-id.",
    )


async def store_session(
    log: EventLog, session: SessionId, records: Sequence[Record], summary: SessionSummary | None
) -> None:
    """Write a new session, which is nobody's then.

    What cannot be written whole is removed again. On a disk that takes nothing any more that may
    fail, too: the error then names what was left.

    Args:
        summary: the session's row, after the last of `records`.

    Raises:
        UsageError: the id is in use, or is not a UUID in lower case.
        StorePaused, WriteLost: the disk is full or failing.
    """
    claim = await log.create(session)
    try:
        await _append(log, claim, records, summary)
    except BaseException as error:
        is_gone = await _removed(log, claim)
        if not is_gone and isinstance(error, StoreError):
            raise WriteLost(
                f"{error} What was written of it could not be removed: once the disk takes "
                f"writes again, `turnlog delete {session}` does it."
            ) from error
        raise
    await log.release(claim)


async def _removed(log: EventLog, claim: Claim) -> bool:
    """Give up a session and delete it; say whether it is gone."""
    with suppress(StoreError):
        await log.release(claim)
        await log.delete(claim.session)
        return True
    return False


def _require_whole(reader: PortableReader, events: Sequence[PortableEvent]) -> None:
    if not events:
        raise FileInvalid(reader.name, 1, "empty", "there is no event in this session")
    for number, event in enumerate(events, 2):
        found = event.recorded.event
        if isinstance(found, UnknownEvent) and set(found.blobs) - set(event.record.blobs):
            why = f"the texts of this {event.line.kind} are not in the file"
            raise FileInvalid(reader.name, number, "event", why)


async def _append(
    log: EventLog, claim: Claim, records: Sequence[Record], summary: SessionSummary | None
) -> None:
    for at in range(0, len(records), _AT_ONCE):
        page = tuple(records[at : at + _AT_ONCE])
        last = at + len(page) == len(records)
        await log.room()
        batch = Batch(page, summary if last else None)
        fate = await log.append(claim.session, batch, fence=claim.fence).settled()
        if not isinstance(fate, Stored):
            raise WriteLost(f"the session was not stored: {fate.why}. Try again.")
