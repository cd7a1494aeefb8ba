"""Open questions, as a session's log has them and as a person at a terminal reads them."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import trio
from msgspec import Struct

from turnlog.actors.core import grants
from turnlog.actors.core.state import Call, State, Turn
from turnlog.actors.ports import EventLog
from turnlog.actors.stored_state.fold import folded
from turnlog.frontends.cli.output.terminal import style
from turnlog.protocol.calls import CommandPreview
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.errors import NotFound
from turnlog.protocol.events import ApprovalAsked, ChildAsked, SessionClosed
from turnlog.protocol.ids import SessionId
from turnlog.protocol.ops import ApprovalAnswer
from turnlog.replay.views.event_text import preview_text
from turnlog.replay.views.text import printable

_PERIOD: Final = 0.1  # seconds between two looks for an agent that is about to begin
_WANTS: Final = {
    (False, False): "may {tool} do this?",
    (True, False): "may {tool} do this outside of the sandbox?",
    (False, True): "its sandbox seems to have stopped {tool}; again, without one?",
    (True, True): "its sandbox seems to have stopped {tool}; again, without one?",
}


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
    if turn is None or turn.stopping is not None:
        return
    rests = turn.parking or state.dormant
    for call in turn.calls:
        waits = call.status == "waiting" and rests and not _is_allowed(state, call)
        if call.question is not None and (call.status == "asked" or waits):
            yield _question(state, turn, call, call.question)


def _is_allowed(state: State, call: Call) -> bool:
    turn = state.turn
    return call.approved or (turn is not None and grants.is_granted(state, turn, call))


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


def question_text(question: Question) -> str:
    """Return what is asked, for a terminal: what it is about is shown whole."""
    wants = _WANTS[question.outside, question.denied].format(tool=printable(question.tool))
    lines = [f"{style(question.id, bold=True)}  {wants}"]
    lines += [f"    {line}" for line in printable(question.what).split("\n")]
    if question.cwd is not None:
        lines.append(style(f"  in {printable(question.cwd)}", dim=True))
    lines += [f"  changed since it was allowed: {printable(path)}" for path in question.changed]
    if question.reason:
        reason = " ".join(printable(question.reason).split())
        lines.append(f"  the model says: {reason}")
    return "\n".join(lines)


async def find_question(log: EventLog, session: SessionId, wanted: str) -> Question | None:
    """Return an open question of a session; None if it is answered, or cannot be any more."""
    asked = open_questions(await folded(log, session))
    return next((question for question in asked if question.id == wanted), None)


async def question_note(log: EventLog, session: SessionId, wanted: str) -> str | None:
    """Return what a person is told who watches the session; None if it is answered already."""
    question = await find_question(log, session, wanted)
    if question is None:
        return None
    of = f" (of agent {session})" if question.spawned_by is not None else ""
    return (
        f"Question{of} {question_text(question)}\n"
        f"Answer from another terminal: turnlog approve {question.id}  (or --decline)"
    )


async def tell_questions(
    log: EventLog, asked: Recorded, tell: Callable[[SessionId, str], Awaitable[None]]
) -> None:
    """Tell of each question that a child session asks, until it is idle.

    Args:
        asked: the event by which its parent set it to work.
        tell: gets the child, and the question's id.
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
                await tell(child, event.question)
            case SessionClosed():
                return
            case _:
                pass
