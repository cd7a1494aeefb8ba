"""Open questions, as a session's log has them."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import trio
from msgspec import Struct

from turnlog.actors.core import grants
from turnlog.actors.core.state import Call, State, Turn
from turnlog.actors.ports import EventLog
from turnlog.actors.stored_state.fold import folded
from turnlog.protocol.calls import CommandPreview
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.errors import NotFound
from turnlog.protocol.events import ApprovalAsked, ChildAsked, SessionClosed
from turnlog.protocol.ids import SessionId
from turnlog.protocol.ops import ApprovalAnswer
from turnlog.replay.views.event_text import preview_text

_PERIOD: Final = 0.1  # seconds between two looks for an agent that is about to begin


class Question(Struct, frozen=True):
    """One open question."""

    id: str
    session: SessionId
    tool: str
    outside: bool  # whether it would run without a sandbox
    denied: bool  # it has run, and its sandbox seems to have stopped it
    what: str  # whole: nobody should answer for what is not shown
    cwd: str | None
    reason: str | None  # the model's
    parked: bool  # its session is closed, and waits for the answer
    spawned_by: SessionId | None = None  # of a sub-agent's or a review's session
    changed: tuple[str, ...] = ()  # files that have changed since it was allowed before
    answer: ApprovalAnswer | None = None  # waits in the store until somebody runs the session


def open_questions(state: State) -> Iterator[Question]:
    """Yield the questions of a session that an answer could still decide."""
    turn = state.turn
    if not isinstance(turn, Turn) or turn.stopping is not None:
        return
    idle = turn.parking or state.maintenance
    for call in turn.calls:
        waits = call.status == "waiting" and idle and not _is_allowed(state, turn, call)
        if call.question is not None and (call.status == "asked" or waits):
            yield _question(state, turn, call, call.question)


def _is_allowed(state: State, turn: Turn, call: Call) -> bool:
    return call.approved or grants.is_granted(state, turn, call)


def _question(state: State, turn: Turn, call: Call, question: str) -> Question:
    plan, denied = call.plan, call.denied is not None
    return Question(
        question,
        state.session,
        plan.tool,
        plan.wants == "outside" or denied,
        denied,
        preview_text(plan.preview),
        plan.preview.cwd if isinstance(plan.preview, CommandPreview) else None,
        plan.reason,
        state.closed,
        state.summary.spawned_by if state.summary is not None else None,
        grants.changed_since(state, turn, call),
    )


async def find_question(log: EventLog, session: SessionId, wanted: str) -> Question | None:
    """Return an open question of a session; None if it is answered, or cannot be any more."""
    asked = open_questions(await folded(log, session))
    return next((question for question in asked if question.id == wanted), None)


async def watch_questions(
    log: EventLog, asked: Recorded, show: Callable[[SessionId, str], Awaitable[None]]
) -> None:
    """Pass on each question that a child session asks, until it is idle.

    Args:
        asked: the event by which its parent set it to work.
        show: gets the child, and the question's id.
    """
    assert isinstance(asked.event, ChildAsked)
    child = asked.event.child
    while True:
        try:
            await log.head(child)
            break
        except NotFound:  # it is about to be made
            await trio.sleep(_PERIOD)
    async for recorded in log.follow(child):
        if recorded.time_us < asked.time_us:
            continue
        match recorded.event:
            case ApprovalAsked() as event:
                await show(child, event.question)
            case SessionClosed():
                return
            case _:
                pass
