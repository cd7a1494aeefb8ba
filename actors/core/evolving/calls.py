"""What events mean for a tool call."""

from turnlog.actors.core.evolving.agents import told_by_waiting
from turnlog.actors.core.state import CallStatus, State, Turn
from turnlog.protocol.events import (
    AgentsAwaited,
    ApprovalAsked,
    CallParked,
    CallSettled,
    PlanAsked,
    QuestionAnswered,
    ToolDispatched,
)
from turnlog.protocol.images import Image
from turnlog.protocol.items import OtherCall

CallDecision = (
    ToolDispatched
    | AgentsAwaited
    | ApprovalAsked
    | QuestionAnswered
    | CallParked
    | PlanAsked
    | CallSettled
)


def call_decided(state: State, turn: Turn, decision: CallDecision) -> None:
    """Something was decided about a call."""
    match decision:
        case ToolDispatched(call=call):
            mark(turn, call, "dispatched")
        case AgentsAwaited(call=call):
            if (waiting := turn.find(call)) is not None:
                waiting.status, waiting.waited = "awaiting", True
        case ApprovalAsked(call=call, question=question):
            if (asked := turn.find(call)) is not None:
                asked.status, asked.question = "asked", question
        case QuestionAnswered(effect=effect, call=call):
            if state.outstanding.pop(effect, None) is not None:
                mark(turn, call, "waiting")
        case PlanAsked(call=call):
            mark(turn, call, "planning")
        case CallParked(call=call):
            turn.parking = True
            mark(turn, call, "waiting")
        case CallSettled(call=call, output=output, outcome=outcome, note=note):
            if (done := turn.find(call)) is not None:
                done.note = note
                turn.owes_request = turn.owes_request or isinstance(done.item, OtherCall)
            settle(state, turn, call, output, answered=outcome == "answered")
            unpark(state, turn)


def unpark(state: State, turn: Turn) -> None:
    """Stop parking when no question is open any more: this engine continues the turn."""
    if not state.closed:
        turn.parking = turn.parking and any(
            call.question is not None and call.status == "waiting" and not call.approved
            for call in turn.calls
        )


def mark(turn: Turn, number: int, status: CallStatus) -> None:
    """Give a call a status, if its output is still awaited."""
    if (call := turn.find(number)) is not None:
        call.status = status


def is_running(turn: Turn, number: int) -> bool:
    """Say whether a call's tool has begun to touch the world."""
    return (call := turn.find(number)) is not None and call.status == "running"


def settle(
    state: State,
    turn: Turn,
    number: int,
    output: str,
    *,
    images: tuple[Image, ...] = (),
    answered: bool = False,
) -> None:
    """Give a call its output. Once all calls of a response have theirs, the model is told.

    Args:
        images: follow the text of the output.
        answered: whether the session itself gave the answer, as it does to calls for agents.
    """
    if (call := turn.find(number)) is None:
        return
    if answered:
        told_by_waiting(state, call)
    if call.status == "awaiting":
        for awaited in state.open(AgentsAwaited):
            if awaited.call == number:
                del state.outstanding[awaited.effect]
    call.settle(output, state.head, images)
    state.flush_outputs(turn)
