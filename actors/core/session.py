"""The session's core: `step` applies a fact and each decision about it; `fold` rebuilds.

`decide` says what we do about a fact, `evolve` (in `evolving`) what it means that something
happened. Resume decides nothing again: it folds what was decided.
"""

from collections.abc import Iterable, Iterator
from typing import assert_never

from turnlog.actors.core import approval, model_call, tool_call, turn
from turnlog.actors.core.effects import AskQuestion, CallModel, LoadContext, RunTool, Wait
from turnlog.actors.core.evolving import evolve
from turnlog.actors.core.state import State, Turn
from turnlog.protocol.calls import ErrorInfo
from turnlog.protocol.events import (
    ContextLoaded,
    EffectClosed,
    EffectLost,
    ModelCompleted,
    ModelFailed,
    ModelItemReceived,
    OpReceived,
    OpRefused,
    RateLimitsReceived,
    ResponseAbandoned,
    SessionDecision,
    SessionEvent,
    SessionFact,
    SessionForked,
    SessionOpened,
    SessionStarted,
    StepFailed,
    TimerFired,
    ToolFinished,
    ToolStarted,
    TurnStopping,
)
from turnlog.protocol.ops import (
    ExecApproval,
    Interrupt,
    OverrideTurnContext,
    PatchApproval,
    Shutdown,
    UserInput,
    UserTurn,
    op_name,
)


def decide(state: State, fact: SessionFact) -> Iterator[SessionDecision]:
    """Yield what `fact` causes. `state` holds the fact, and each decision once yielded."""
    match fact:
        case SessionStarted() | RateLimitsReceived() | ToolStarted():
            return
        case SessionOpened() | SessionForked():
            yield from _take_over(state, fact)
        case OpReceived():
            yield from _receive(state, fact)
        case _ if state.belongs_to is None or state.turn is None:
            return  # late: it is recorded, and changes nothing
        case ContextLoaded():
            if state.turn.stopping is None:
                yield from turn.start(state, state.turn, fact)
        case ModelFailed():
            yield from model_call.failed(state, state.turn, fact)
        case EffectClosed():
            yield from _closed_early(state, state.turn, fact)
        case ModelItemReceived() | ModelCompleted() | TimerFired() | ToolFinished():
            pass
        case _:
            assert_never(fact)
    yield from turn.advance(state)


def _receive(state: State, fact: OpReceived) -> Iterator[SessionDecision]:
    op = fact.op
    if state.repeated_op:
        yield OpRefused(fact.op_id, "duplicate_op", "an op with this id has been done already")
        return
    match op:
        case UserInput() | UserTurn() if state.closing:
            yield OpRefused(fact.op_id, "closing", "the session is being closed")
        case UserInput() | UserTurn() if not op.items:
            yield OpRefused(fact.op_id, "empty_input", "there is nothing in this input")
        case UserInput() | UserTurn():
            yield from turn.receive_input(state, fact)
        case Interrupt() | Shutdown():
            if state.turn is not None and state.turn.stopping is None:
                yield TurnStopping("interrupted")
        case ExecApproval() | PatchApproval():
            yield from approval.answer(state, fact.op_id, op)
        case OverrideTurnContext():
            return
        case _:
            yield OpRefused(fact.op_id, "not_supported", f"sessions do not do {op_name(op)!r} yet")


def _take_over(state: State, fact: SessionOpened | SessionForked) -> Iterator[SessionDecision]:
    """Close what an engine that is gone had begun, so that the turn can go on, or end."""
    lost = tuple(state.outstanding.items())
    keep = state.turn is not None and model_call.keeps_items(state.turn)
    for effect, _ in lost:
        yield EffectLost(effect)
    current = state.turn
    if current is None:
        return
    interrupt = isinstance(fact, SessionForked) or fact.on_recovery == "interrupt"
    if interrupt and current.stopping is None:
        yield TurnStopping("interrupted")
    for effect, what in lost:
        if isinstance(what, CallModel):
            yield from model_call.abandon_lost(current, effect, keep=keep)
    yield from tool_call.settle_cut_off(current)


def _closed_early(state: State, current: Turn, fact: EffectClosed) -> Iterator[SessionDecision]:
    match state.belongs_to:
        case RunTool() | AskQuestion() as effect:
            yield from tool_call.closed_early(current, effect, fact)
        case CallModel():
            if current.items:  # the turn stops, so nothing is asked for again
                yield ResponseAbandoned(fact.effect, keep=True)
        case LoadContext() | Wait() | None:
            pass
        case _:
            assert_never(state.belongs_to)
    if current.stopping is None and not isinstance(state.belongs_to, RunTool | AskQuestion):
        yield TurnStopping("failed", ErrorInfo(fact.code or fact.how, fact.message))


def step(state: State, fact: SessionFact, *, time_us: int) -> list[SessionEvent]:
    """Apply `fact`; return it and the decisions that it causes, in order, as one batch.

    Args:
        time_us: when the fact was received; a time before the last fact's counts as that one.

    If deciding raises, the turn is closed by `StepFailed` and the session goes on.
    """
    time_us = max(time_us, state.time_us)
    evolve(state, fact, time_us=time_us)
    events: list[SessionEvent] = [fact]
    for decision in decisions(state, fact):
        evolve(state, decision, time_us=time_us)
        events.append(decision)
    return events


def decisions(state: State, fact: SessionFact) -> Iterator[SessionDecision]:
    """Yield what `decide` does. If it raises, its last decision is `StepFailed`."""
    try:
        yield from decide(state, fact)
    except Exception as error:  # whatever it is, the fact must not be lost
        yield StepFailed(f"{type(error).__name__}: {error}")


def fold(events: Iterable[tuple[int, SessionEvent]], state: State | None = None) -> State:
    """Return the state after `events`, each with its time. Resume is this and no more."""
    state = state or State()
    for time_us, event in events:
        evolve(state, event, time_us=time_us)
    return state
