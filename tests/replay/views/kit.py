"""Sessions in a log, for the views of them."""

from collections.abc import Sequence

from msgspec import structs

from tests.core.play import Play
from turnlog.actors.ports import Batch, EventLog, Stored
from turnlog.protocol.envelope import Record
from turnlog.protocol.ids import SessionId
from turnlog.protocol.summary import SessionSummary


def session_id(number: int) -> SessionId:
    return SessionId(f"01900000-0000-7000-8000-{number:012x}")


async def keep(log: EventLog, session: SessionId, play: Play) -> SessionId:
    """Put a played session into the log under this id."""
    claim = await log.create(session)
    summary = play.state.summary or SessionSummary(session)
    summary = structs.replace(summary, session=session, parent=None, cut=0)
    await _append(log, session, play.stored, claim.fence, summary)
    await log.release(claim)
    return session


async def branch(
    log: EventLog, parent: SessionId, cut: int, child: SessionId, play: Play
) -> SessionId:
    """Fork a session, and append what the play holds after the cut."""
    await log.fork(parent, cut, child)
    claim = await log.claim(child)
    await _append(log, child, play.stored[cut:], claim.fence, None)
    await log.release(claim)
    return child


async def _append(
    log: EventLog,
    session: SessionId,
    records: Sequence[Record],
    fence: int,
    summary: SessionSummary | None,
) -> None:
    if records:
        ticket = log.append(session, Batch(tuple(records), summary), fence=fence)
        assert await ticket.settled() == Stored()
