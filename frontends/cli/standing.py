"""How a session stands: whether somebody runs it, or it was cut off, or it waits for an answer."""

from collections.abc import Iterable
from typing import Literal

from turnlog.actors.ports import EventLog
from turnlog.protocol.errors import LogDamaged
from turnlog.protocol.events import SessionClosed
from turnlog.protocol.ids import SessionId
from turnlog.protocol.summary import SessionSummary

Standing = Literal["idle", "running", "cut off", "parked"]


async def standings(
    log: EventLog, summaries: Iterable[SessionSummary]
) -> dict[SessionId, Standing]:
    """Return how sessions stand now.

    A summary knows whether a turn is open. Whether anybody is at work on it, only the store does.
    A turn that was cut off, or is parked, is finished by `turnlog exec resume`.
    """
    return {summary.session: await _standing(log, summary) for summary in summaries}


async def _standing(log: EventLog, summary: SessionSummary) -> Standing:
    if summary.status == "idle":
        return "idle"
    if await log.holder(summary.session) is not None:
        return "running"
    try:
        [last] = await log.read_at(summary.session, [(await log.head(summary.session)).sequence])
    except LogDamaged:
        return "cut off"
    return "parked" if isinstance(last.event, SessionClosed) else "cut off"
