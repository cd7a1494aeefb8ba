"""How a session stands: whether somebody runs it, or it was cut off, or it waits for an answer."""

from collections.abc import Iterable
from typing import Literal

from turnlog.actors.ports import EventLog
from turnlog.actors.stored_state.fold import folded
from turnlog.frontends.sessions.questions import open_questions
from turnlog.protocol.errors import SessionNotFound, TurnlogError
from turnlog.protocol.ids import SessionId
from turnlog.protocol.summary import SessionSummary

Standing = Literal["idle", "running", "cut off", "parked"]


async def standings(
    log: EventLog, summaries: Iterable[SessionSummary]
) -> dict[SessionId, Standing]:
    """Return how sessions stand now.

    A summary knows whether a turn is open. Whether anybody is at work on it, only the store does.
    A turn that was cut off, or is parked with a question, is finished by `turnlog exec resume`.
    """
    return {summary.session: await _standing(log, summary) for summary in summaries}


async def _standing(log: EventLog, summary: SessionSummary) -> Standing:
    if summary.status == "idle":
        return "idle"
    try:
        if await log.holder(summary.session) is not None:
            return "running"
        state = await folded(log, summary.session)
    except SessionNotFound:  # deleted since it was listed
        return "idle"
    except TurnlogError:  # damaged: whoever opens it is told
        return "cut off"
    return "parked" if any(open_questions(state)) else "cut off"
