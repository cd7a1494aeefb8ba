"""The session's core: `step` applies a fact and each decision about it.

`decide` says what we do about a fact, `evolve` (in `evolving`) what it means that something
happened. Resume decides nothing again: `rebuild` folds what was decided.
"""

from collections.abc import Iterator, Sequence
from typing import assert_never

from turnlog.actors.core import (
    agents,
    approval,
    compaction,
    model_call,
    review,
    texts,
    tool_call,
    turn,
    undo,
)
from turnlog.actors.core.evolving import evolve
from turnlog.actors.core.evolving.adopting import reads_files
from turnlog.actors.core.state import OpenTurn, State, Turn
from turnlog.protocol.calls import ErrorInfo
from turnlog.protocol.envelope import require_storable
from turnlog.protocol.events import (
    AgentsAwaited,
    ApprovalAsked,
    ChildAsked,
    ChildEnded,
    ChildTold,
    Closes,
    ClosingFact,
    CompactionAsked,
    CompactionWanted,
    ConversationResumed,
    EffectClosed,
    EffectLost,
    FilesSaved,
    ModelAsked,
    ModelCompleted,
    ModelFailed,
    ModelItemReceived,
    OpeningDecision,
    OpReceived,
    OpRefused,
    RateLimitsReceived,
    ResponseAbandoned,
    ScanAsked,
    SessionDecision,
    SessionEvent,
    SessionFact,
    SessionForked,
    SessionImported,
    SessionOpened,
    SessionStarted,
    StepFailed,
    TimerFired,
    ToolDispatched,
    ToolStarted,
    TurnStopping,
    UserShellAsked,
)
from turnlog.protocol.ops import (
    ELSEWHERE,
    Archive,
    Compact,
    ExecApproval,
    Interrupt,
    OverrideTurnContext,
    PatchApproval,
    Redo,
    Review,
    RunUserShellCommand,
    SetName,
    Shutdown,
    Undo,
    UserInput,
    UserTurn,
    op_name,
)

# Ops that mean the same in a session that nobody continues.
TAKEN_AT_REST = (SetName, Archive, OverrideTurnContext, ExecApproval, PatchApproval, Shutdown)


def decide(state: State, fact: SessionFact) -> Iterator[SessionDecision]:
    """Yield what `fact` causes. `state` holds the fact, and each decision once yielded."""
    match fact:
        case (
            SessionStarted()
            | SessionImported()
            | RateLimitsReceived()
            | ToolStarted()
            | FilesSaved()
        ):
            return
        case SessionOpened() | SessionForked():
            yield from _take_over(state, fact)
        case OpReceived():
            yield from _receive(state, fact)
        case _ if state.in_hand.closes is None or state.turn is None:
            return  # late: it is recorded, and changes nothing
        case ModelItemReceived() | Closes():
            if isinstance(state.turn, Turn):
                yield from _heard(state, state.turn, fact)
            elif isinstance(fact, EffectClosed):
                yield from _stop(state.turn, fact)
        case _:
            assert_never(fact)
    yield from turn.advance(state)


def _heard(
    state: State, current: Turn, fact: ModelItemReceived | ClosingFact
) -> Iterator[SessionDecision]:
    """Decide about a fact of an open effect of a turn that has its context."""
    match fact:
        case ModelFailed() | ModelCompleted():
            yield from _attempt_ended(state, current, fact)
        case EffectClosed():
            yield from _closed_early(state, current, fact)
        case ChildEnded():
            yield from agents.settle_waiting(state, current)
            yield from review.ended(current, fact)
        case TimerFired():
            if isinstance(waited := state.in_hand.closes, AgentsAwaited):
                yield from agents.settle_waiting(state, current, timed_out=waited.call)
        case _:
            pass


def _receive(state: State, fact: OpReceived) -> Iterator[SessionDecision]:
    op = fact.op
    if state.in_hand.is_repeated:
        yield OpRefused(fact.op_id, "duplicate_op", "an op with this id has been done already")
        return
    if fact.origin == ELSEWHERE:
        yield OpRefused(fact.op_id, "from_elsewhere", texts.LEFT_ELSEWHERE)
        return
    match op:
        case _ if state.maintenance and not isinstance(op, TAKEN_AT_REST):
            reason = "the session was opened to be looked after only; resume it to continue"
            yield OpRefused(fact.op_id, "not_resumed", reason)
        case UserInput() | UserTurn() if state.closing:
            yield OpRefused(fact.op_id, "closing", "the session is being closed")
        case UserInput() | UserTurn() if not state.takes_input(op.items):
            yield OpRefused(fact.op_id, "empty_input", "there is nothing in this input")
        case UserInput() | UserTurn():
            yield from turn.receive_input(state, fact)
        case Shutdown() if state.maintenance:
            return
        case Interrupt() | Shutdown():
            if state.turn is not None and state.turn.stopping is None:
                yield TurnStopping("interrupted")
        case ExecApproval() | PatchApproval():
            yield from approval.answer(state, fact.op_id, op)
        case OverrideTurnContext() | SetName() | Archive():
            return
        case Compact() | Review() | RunUserShellCommand() | Undo() | Redo():
            yield from _receive_task(state, fact)
        case _:
            yield OpRefused(fact.op_id, "not_supported", f"sessions do not do {op_name(op)!r} yet")


def _receive_task(state: State, fact: OpReceived) -> Iterator[SessionDecision]:
    """Decide about an op that asks for more than a word with the model."""
    op = fact.op
    if state.closing:
        yield OpRefused(fact.op_id, "closing", "the session is being closed")
    elif isinstance(op, RunUserShellCommand | Review) and not _text(op).strip():
        yield OpRefused(fact.op_id, "empty_input", "there is nothing in this input")
    elif isinstance(op, Undo | Redo) and (refusal := undo.refusal(state, fact)) is not None:
        yield refusal
    elif isinstance(op, Compact) and _is_talking(state):
        yield CompactionWanted(fact.op_id)
    else:
        yield from turn.receive_task(state, fact)


def _text(op: RunUserShellCommand | Review) -> str:
    return op.command if isinstance(op, RunUserShellCommand) else op.prompt


def _is_talking(state: State) -> bool:
    running = state.turn
    return running is not None and running.kind == "regular" and running.stopping is None


def _attempt_ended(
    state: State, current: Turn, fact: ModelFailed | ModelCompleted
) -> Iterator[SessionDecision]:
    compacting = current.compaction
    if isinstance(state.in_hand.closes, CompactionAsked):
        if compacting is None or current.stopping is not None:
            return
        if isinstance(fact, ModelFailed):
            yield from compaction.failed(state, current, compacting, fact)
        else:
            yield from compaction.answered(state, current, compacting)
    elif isinstance(fact, ModelFailed):
        yield from model_call.failed(state, current, fact)


def _take_over(state: State, fact: SessionOpened | SessionForked) -> Iterator[SessionDecision]:
    """Close what a dead engine had begun, so that the turn can continue, or end."""
    if state.maintenance:
        return
    history = state.history
    if history.parts and isinstance(fact, SessionOpened):
        yield ConversationResumed(len(history.parts), state.tokens, history.digest.hex())
    lost = tuple(state.outstanding.values())
    keep = isinstance(state.turn, Turn) and model_call.keeps_items(state.turn)
    for asked in lost:
        yield EffectLost(asked.effect)
    if (current := state.turn) is not None:
        yield from _take_over_turn(state, current, fact, lost, keep=keep)


def _take_over_turn(
    state: State,
    current: OpenTurn,
    fact: SessionOpened | SessionForked,
    lost: Sequence[OpeningDecision],
    *,
    keep: bool,
) -> Iterator[SessionDecision]:
    interrupt = isinstance(fact, SessionForked) or fact.on_recovery == "interrupt"
    # What the user ran cannot be run again, nor told to the model: it is over.
    interrupt = interrupt or any(isinstance(asked, UserShellAsked) for asked in lost)
    interrupt = interrupt or _touches_this_machine(current)
    if interrupt and current.stopping is None:
        yield TurnStopping("interrupted")
    if isinstance(current, Turn):
        for asked in lost:
            if isinstance(asked, ModelAsked):
                yield from model_call.abandon_lost(current, asked.effect, keep=keep)
        yield from tool_call.settle_cut_off(current)
    if isinstance(fact, SessionOpened):
        mine = (asked for asked in lost if not _is_foreign_child(state, current, asked))
        yield from agents.ask_lost(state, mine)


def _touches_this_machine(current: OpenTurn) -> bool:
    """Say whether a turn from elsewhere would use what belongs to this machine, if it continued."""
    is_talk = current.kind == "regular" and (current.prompted or not reads_files(current.op.op))
    return current.is_foreign and not is_talk


def _is_foreign_child(state: State, current: OpenTurn, asked: OpeningDecision) -> bool:
    """Say whether an effect speaks to a session that another machine has named."""
    match asked:
        case ChildAsked(child=child) | ChildTold(child=child):
            return current.is_foreign and child not in state.agents

        case _:
            return False


def _closed_early(state: State, current: Turn, fact: EffectClosed) -> Iterator[SessionDecision]:
    match state.in_hand.closes:
        case ToolDispatched() | ApprovalAsked() as effect:
            yield from tool_call.closed_early(state, current, effect, fact)
            return
        case ModelAsked():
            if current.items:  # the turn stops, so nothing is asked for again
                yield ResponseAbandoned(fact.effect, keep=True)
        case CompactionAsked() if fact.how != "cancelled" and current.compaction is not None:
            if current.stopping is None:
                yield from compaction.finish(state, current, current.compaction, "")
            return
        case ChildAsked(kind="agent"):
            yield from agents.settle_waiting(state, current)
            return
        case ChildTold() as told if fact.how == "failed":
            if current.stopping is None:
                yield from agents.tell_again(state, told)
            return
        case ScanAsked() if fact.how == "failed":
            return  # the turn continues without a way back
        case _:
            pass
    yield from _stop(current, fact)


def _stop(current: OpenTurn, fact: EffectClosed) -> Iterator[SessionDecision]:
    """End a turn with the failure of what it needs to continue, unless it stops already."""
    if current.stopping is None:
        yield TurnStopping("failed", ErrorInfo(fact.code or fact.how, fact.message))


def step(state: State, fact: SessionFact, *, time_us: int) -> list[SessionEvent]:
    """Apply `fact`; return it and the decisions that it causes, in order, as one batch.

    Args:
        time_us: when the fact was received; a time before the last fact's counts as that one.

    If deciding raises, the turn is closed by `StepFailed` and the session continues.
    """
    time_us = max(time_us, state.time_us)
    evolve(state, fact, time_us=time_us)
    events: list[SessionEvent] = [fact]
    for decision in decisions(state, fact):
        evolve(state, decision, time_us=time_us)
        events.append(decision)
    return events


def decisions(state: State, fact: SessionFact) -> Iterator[SessionDecision]:
    """Yield what `decide` does. If it raises, `StepFailed` ends the turn, and what waits begins.

    A decision that the log could not give back counts as one that raised: it is never taken.
    """
    try:
        for decision in decide(state, fact):
            require_storable(decision)
            yield decision
    except Exception as error:  # whatever it is, the fact must not be lost
        yield _failed(error)
        try:
            yield from turn.advance(state)
        except Exception as again:
            yield _failed(again)


def _failed(error: Exception) -> StepFailed:
    text = f"{type(error).__name__}: {error}"
    return StepFailed(text.encode(errors="replace").decode())
