"""The status of a session: running, cut off, waiting for an answer, or how its last turn ended."""

from collections.abc import Iterable
from typing import Final, Literal

from turnlog.actors.ports import EventLog
from turnlog.actors.stored_state.fold import folded
from turnlog.frontends.sessions.questions import open_questions
from turnlog.protocol.errors import NotFound, TurnlogError
from turnlog.protocol.ids import SessionId
from turnlog.protocol.summary import SessionSummary

Standing = Literal["idle", "running", "waiting", "parked", "cut off", "interrupted", "failed"]

# For a person: what each means.
MEANINGS: Final[dict[Standing, str]] = {
    "idle": "its last turn was completed, or it has none",
    "running": "a process works on a turn",
    "waiting": "a process runs it, and a question waits for an answer",
    "parked": "it is closed, and a question waits for an answer",
    "cut off": "its process died in a turn",
    "interrupted": "its last turn was interrupted",
    "failed": "its last turn failed",
}


async def standings(
    log: EventLog, summaries: Iterable[SessionSummary]
) -> dict[SessionId, Standing]:
    """Return the status that sessions have now.

    A summary knows whether a turn is open. Whether anybody is at work on it, only the store does.
    A turn that was cut off, or is parked with a question, is finished by `turnlog exec resume`.
    """
    return {summary.session: await _standing(log, summary) for summary in summaries}


async def _standing(log: EventLog, summary: SessionSummary) -> Standing:
    if summary.status == "idle":
        return summary.ended if summary.ended in ("failed", "interrupted") else "idle"
    is_held = False
    try:
        is_held = await log.holder(summary.session) is not None
        asks = any(open_questions(await folded(log, summary.session)))
    except NotFound:  # deleted since it was listed
        return "idle"
    except TurnlogError:  # damaged: whoever opens it is told
        asks = False
    if is_held:
        return "waiting" if asks else "running"
    return "parked" if asks else "cut off"
