"""`evolve`: what it means for the state that an event happened. Total, and part of the schema:
a logged event is never refused, and an old one always means what it meant.
"""

from typing import assert_never

from msgspec import structs

from turnlog.actors.core import model_call, texts
from turnlog.actors.core.effects import AskQuestion, LoadContext, RunTool, effect_of
from turnlog.actors.core.state import Call, CallStatus, State, Turn
from turnlog.protocol.calls import ToolPlan
from turnlog.protocol.events import (
    ApprovalAsked,
    CallSettled,
    ContextAsked,
    ContextLoaded,
    Decision,
    EffectClosed,
    EffectLost,
    InputQueued,
    ItemsRecorded,
    ModelAsked,
    ModelCompleted,
    ModelFailed,
    ModelItemReceived,
    OpReceived,
    OpRefused,
    RateLimitsReceived,
    ResponseAbandoned,
    RetryScheduled,
    SessionClosed,
    SessionDecision,
    SessionEvent,
    SessionFact,
    SessionForked,
    SessionOpened,
    SessionStarted,
    StepFailed,
    TimerFired,
    ToolDispatched,
    ToolFinished,
    ToolStarted,
    TurnEnded,
    TurnOpened,
    TurnStopping,
)
from turnlog.protocol.ids import EffectId
from turnlog.protocol.items import CustomToolCall, FunctionCall
from turnlog.protocol.ops import (
    ExecApproval,
    OverrideTurnContext,
    PatchApproval,
    Shutdown,
    TextInput,
    UserInput,
    UserTurn,
)
from turnlog.protocol.summary import SessionSummary

REMEMBERED_OPS = 1024  # op ids that a repetition is recognised by
TITLE_LENGTH = 120  # characters
_TOLD_ONCE = frozenset({"user", "turn_aborted"})  # items that are no context


def evolve(state: State, event: SessionEvent, *, time_us: int) -> None:
    """Change `state` by `event`."""
    state.head += 1
    if isinstance(event, Decision):
        _decided(state, event)
        if (todo := effect_of(event)) is not None:
            state.outstanding[todo.effect] = todo
    else:
        state.facts += 1
        state.time_us = time_us
        _happened(state, event)


def _happened(state: State, fact: SessionFact) -> None:
    match fact:
        case SessionStarted(session=session, settings=settings):
            state.session, state.settings = session, settings
            state.summary = SessionSummary(
                session,
                created_us=state.time_us,
                updated_us=state.time_us,
                cwd=settings.cwd,
                model=settings.model,
                originator=fact.originator,
            )
        case SessionForked(session=session):
            _forked(state, fact)
        case SessionOpened(fence=fence):
            state.fence = fence
            state.closing = state.closed = False
        case OpReceived():
            _op_received(state, fact)
        case RateLimitsReceived(limits=limits):
            state.rate_limits = limits
        case ModelItemReceived(effect=effect):
            state.belongs_to = state.outstanding.get(effect)
            if state.belongs_to is not None and state.turn is not None:
                _item_received(state.turn, fact, state.head)
        case ToolStarted(effect=effect):
            running = state.outstanding.get(effect)
            if isinstance(running, RunTool):
                state.outstanding[effect] = RunTool(effect, running.call, started=True)
        case (
            EffectClosed(effect=effect)
            | TimerFired(effect=effect)
            | ContextLoaded(effect=effect)
            | ModelCompleted(effect=effect)
            | ModelFailed(effect=effect)
            | ToolFinished(effect=effect)
        ):
            _close(state, effect, fact)
        case _:
            assert_never(fact)


def _forked(state: State, fact: SessionForked) -> None:
    state.session = fact.session
    if state.summary is not None:
        state.summary = structs.replace(
            state.summary,
            session=fact.session,
            parent=fact.parent,
            cut=fact.cut,
            created_us=state.time_us,
            updated_us=state.time_us,
        )
    # What waited in the parent is the parent's, and so is what its user allowed or asked to end.
    state.queue.clear()
    state.queued_at.clear()
    state.approved.clear()
    state.closing = state.closed = False


def _op_received(state: State, fact: OpReceived) -> None:
    state.belongs_to = None
    state.repeated_op = fact.op_id in state.op_ids
    if state.repeated_op:
        return
    state.op, state.op_at = fact, state.head
    state.op_ids[fact.op_id] = None
    if len(state.op_ids) > REMEMBERED_OPS:
        del state.op_ids[next(iter(state.op_ids))]
    match fact.op:
        case UserTurn(update=update) | OverrideTurnContext(update=update):
            if state.settings is not None:
                state.settings = update.apply(state.settings)
        case (
            ExecApproval(id=question, decision=decision)
            | PatchApproval(id=question, decision=decision)
        ):
            _answered(state, question, decision)
        case Shutdown():
            state.closing = True
        case _:
            pass


def _answered(state: State, question: str, decision: str) -> None:
    asked = next(
        (
            effect
            for effect in state.outstanding.values()
            if isinstance(effect, AskQuestion) and effect.question == question
        ),
        None,
    )
    if asked is None or state.turn is None:
        return
    state.belongs_to = state.outstanding.pop(asked.effect)
    call = state.turn.find(asked.call)
    if call is not None and decision in ("approved", "approved_for_session"):
        call.status, call.approved = "waiting", True
        if decision == "approved_for_session" and call.plan.approval_key:
            state.approved.add(call.plan.approval_key)


def _item_received(turn: Turn, fact: ModelItemReceived, at: int) -> None:
    item = model_call.sendable(fact.item_json)
    if item is None:
        return
    turn.items.append(model_call.received(fact.item_json, item, at))
    if isinstance(item, FunctionCall | CustomToolCall):
        unplanned = ToolPlan(item.name, refusal=texts.UNPLANNED.format(name=item.name))
        turn.calls.append(Call(item, fact.plan or unplanned, at))
        turn.owes_request = True


def _close(
    state: State,
    effect: EffectId,
    fact: EffectClosed | TimerFired | ContextLoaded | ModelCompleted | ModelFailed | ToolFinished,
) -> None:
    """Close an effect by the fact about it. If it is closed already, the fact is late."""
    state.belongs_to = closed = state.outstanding.pop(effect, None)
    turn = state.turn
    if closed is None or turn is None:
        return
    match fact:
        case ContextLoaded(settings=settings, tools_json=tools_json):
            turn.settings, turn.tools_json, turn.owes_request = settings, tools_json, True
        case ModelCompleted(usage=usage):
            turn.progressed()
            if usage is not None:
                state.usage, state.last_usage = state.usage + usage, usage
            state.commit_items(turn)
        case ModelFailed():
            turn.owes_request = True
        case ToolFinished() if isinstance(closed, RunTool):
            _settle(state, turn, closed.call, fact.preamble + fact.output)
        case EffectClosed(how="cancelled") if isinstance(closed, RunTool):
            _mark(turn, closed.call, "stopped" if closed.started else "waiting")
        case _:
            pass


def _decided(state: State, decision: SessionDecision) -> None:
    turn = state.turn
    match decision:
        case TurnOpened():
            _turn_opened(state, decision)
        case EffectLost(effect=effect):
            _lost(state, effect)
        case StepFailed():
            _step_failed(state)
        case SessionClosed():
            state.closed = True
        case InputQueued(until="turn"):
            if state.op is not None:
                state.queue.append(state.op)
                state.queued_at.append(state.op_at)
        case ItemsRecorded(items=items):
            for index, item in enumerate(items):
                source = (state.head, index)
                state.history.add(item.item_json, source)
                if item.kind not in _TOLD_ONCE:
                    state.context[item.kind] = item.item_json
                    state.context_at[item.kind] = source
            if turn is not None:
                turn.prompted = True
                turn.steered.clear()
        case OpRefused() | ContextAsked():
            pass
        case _ if turn is None:
            pass  # only a log that was written by hand gets here
        case _:
            _turn_decided(state, turn, decision)


def _turn_decided(
    state: State,
    turn: Turn,
    decision: InputQueued
    | ModelAsked
    | ToolDispatched
    | ApprovalAsked
    | CallSettled
    | RetryScheduled
    | ResponseAbandoned
    | TurnStopping
    | TurnEnded,
) -> None:
    match decision:
        case InputQueued():
            if state.op is not None and isinstance(state.op.op, UserInput | UserTurn):
                turn.steered.append(state.op.op.items)
                turn.owes_request = True
        case ModelAsked(request=request, attempt=attempt):
            turn.request, turn.attempt, turn.owes_request = request, attempt, False
        case ToolDispatched(call=call):
            _mark(turn, call, "dispatched")
        case ApprovalAsked(call=call, question=question):
            if (asked := turn.find(call)) is not None:
                asked.status, asked.question = "asked", question
        case CallSettled(call=call, output=output):
            _settle(state, turn, call, output)
        case RetryScheduled(level=level):
            if level == "request":
                turn.request_retries += 1
            else:
                turn.request_retries = 0
                turn.stream_retries += 1
        case ResponseAbandoned(keep=keep):
            _abandon(state, turn, keep=keep)
        case TurnStopping():
            turn.stopping = decision
        case TurnEnded():
            _turn_over(state)
        case _:
            assert_never(decision)


def _mark(turn: Turn, number: int, status: CallStatus) -> None:
    if (call := turn.find(number)) is not None:
        call.status = status


def _settle(state: State, turn: Turn, number: int, output: str) -> None:
    if (call := turn.find(number)) is not None:
        call.settle(output, state.head)
        state.flush_outputs(turn)


def _turn_opened(state: State, decision: TurnOpened) -> None:
    op = state.op
    if state.queue and state.queue[0].op_id == decision.op_id:
        op = state.queue.pop(0)
        del state.queued_at[0]
    if op is None:
        return
    state.turns = decision.turn
    state.turn = Turn(decision.turn, decision.turn_id, op)
    if state.summary is not None and state.settings is not None:
        state.summary = structs.replace(
            state.summary,
            updated_us=state.time_us,
            title=state.summary.title or _title(op),
            cwd=state.settings.cwd,
            model=state.settings.model,
            turns=decision.turn,
            status="running",
        )


def _title(op: OpReceived) -> str:
    items = op.op.items if isinstance(op.op, UserInput | UserTurn) else ()
    text = next((item.text for item in items if isinstance(item, TextInput)), "")
    return " ".join(text.split())[:TITLE_LENGTH]


def _abandon(state: State, turn: Turn, *, keep: bool) -> None:
    if not keep:
        turn.items.clear()
        turn.calls.clear()
        turn.owes_request = True
        return
    while turn.items and turn.items[-1].is_reasoning:
        turn.items.pop()
    turn.progressed()
    state.commit_items(turn)


def _lost(state: State, effect: EffectId) -> None:
    lost, turn = state.outstanding.pop(effect, None), state.turn
    if turn is None:
        return
    match lost:
        case RunTool(call=call, started=started):
            _mark(turn, call, "stopped" if started else "unknown")
        case AskQuestion(call=call):
            _mark(turn, call, "waiting")
        case LoadContext() | None:
            pass
        case _:
            turn.owes_request = True


def _step_failed(state: State) -> None:
    if (turn := state.turn) is not None:
        _abandon(state, turn, keep=True)
        for call in turn.calls:
            if not call.settled:
                call.settle(texts.UNKNOWN, state.head)
        state.flush_outputs(turn)
    state.outstanding.clear()
    _turn_over(state)


def _turn_over(state: State) -> None:
    state.turn = None
    if state.summary is not None:
        state.summary = structs.replace(state.summary, status="idle")
