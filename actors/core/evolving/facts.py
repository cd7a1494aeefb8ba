"""What a fact means for the state."""

from typing import assert_never

import attrs
from msgspec import structs

from turnlog.actors.core import grants, ledger, model_call, texts
from turnlog.actors.core.evolving.adopting import adopt
from turnlog.actors.core.evolving.agents import child_ended, child_lost
from turnlog.actors.core.evolving.calls import is_running, mark, settle, unpark
from turnlog.actors.core.state import Call, InHand, State, Turn
from turnlog.protocol.calls import PatchReport, ToolPlan
from turnlog.protocol.events import (
    ApprovalAsked,
    CallPlanned,
    ChildAsked,
    ChildEnded,
    Closes,
    ClosingFact,
    CompactionAsked,
    ContextLoaded,
    EffectClosed,
    FilesSaved,
    ModelAsked,
    ModelCompleted,
    ModelFailed,
    ModelItemReceived,
    OpeningDecision,
    OpReceived,
    PlanAsked,
    RateLimitsReceived,
    SessionFact,
    SessionForked,
    SessionImported,
    SessionOpened,
    SessionStarted,
    ToolDispatched,
    ToolFinished,
    ToolStarted,
    TurnsRestored,
)
from turnlog.protocol.items import (
    CustomToolCall,
    FunctionCall,
    JsonText,
    OtherCall,
    OtherItem,
    other_call,
    other_output,
)
from turnlog.protocol.ops import (
    ELSEWHERE,
    Archive,
    ExecApproval,
    OverrideTurnContext,
    PatchApproval,
    SetName,
    Shutdown,
    UserTurn,
)
from turnlog.protocol.summary import SessionSummary

REMEMBERED_OPS = 1024  # op ids that a repetition is recognised by
NAME_LENGTH = 120  # characters


def happened(state: State, fact: SessionFact) -> None:
    """Change `state` by a fact. What a turn holds most of is looked for first."""
    match fact:
        case ModelItemReceived(effect=effect):
            state.in_hand = InHand(state.outstanding.get(effect))
            if state.in_hand.closes is not None and isinstance(state.turn, Turn):
                _item_received(state, state.turn, fact)
        case ToolStarted(effect=effect):
            running = state.outstanding.get(effect)
            if isinstance(running, ToolDispatched) and isinstance(state.turn, Turn):
                mark(state.turn, running.call, "running")
        case Closes():
            _close(state, fact)
        case SessionStarted():
            _started(state, fact)
        case SessionForked():
            _forked(state, fact)
        case SessionImported():
            state.place = ""
        case SessionOpened(fence=fence, rules=rules, on_recovery=on_recovery):
            state.fence, state.rules, state.place = fence, rules, fact.place
            state.closing = state.closed = False
            state.maintenance = on_recovery == "leave"
            if isinstance(state.turn, Turn):
                state.turn.parking = False
            if fact.adopted is not None:
                adopt(state, fact.adopted)
        case OpReceived():
            _op_received(state, fact)
        case RateLimitsReceived() | FilesSaved():
            pass
        case _:
            assert_never(fact)


def _started(state: State, fact: SessionStarted) -> None:
    state.session = state.cache_key = fact.session
    state.place = fact.place
    state.settings = fact.settings
    state.summary = SessionSummary(
        fact.session,
        created_us=state.time_us,
        updated_us=state.time_us,
        cwd=fact.settings.cwd,
        model=fact.settings.model,
        originator=fact.originator,
        spawned_by=fact.spawned_by,
    )


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
            ended="",
            spawned_by=None,
            name="",
            archived=False,
        )
    # What waited in the parent is the parent's, and so are its agents, and what its user allowed
    # or asked to end. What it undid cannot be redone here: the files are the parent's business.
    state.queue.clear()
    state.approved.clear()
    state.agents.clear()
    state.results.clear()
    state.undone = None
    state.closing = state.closed = state.maintenance = False


def _op_received(state: State, fact: OpReceived) -> None:
    if fact.op_id in state.op_ids:
        state.in_hand = InHand(is_repeated=True)
        return
    if fact.origin == ELSEWHERE:
        return
    state.in_hand = InHand(op=fact, at=state.head)
    state.op_ids[fact.op_id] = None
    if len(state.op_ids) > REMEMBERED_OPS:
        del state.op_ids[next(iter(state.op_ids))]
    match fact.op:
        case UserTurn() if not state.takes_input(fact.op.items):
            pass  # it is refused, with the settings that came with it
        case UserTurn(update=update) | OverrideTurnContext(update=update):
            if state.settings is not None:
                state.settings = update.apply(state.settings)
        case (
            ExecApproval(id=question, decision=decision)
            | PatchApproval(id=question, decision=decision)
        ):
            _answered(state, question, decision)
        case SetName(name=name) if state.summary is not None:
            name = " ".join(name.split())[:NAME_LENGTH]
            state.summary = structs.replace(state.summary, name=name)
        case Archive(archived=archived) if state.summary is not None:
            state.summary = structs.replace(state.summary, archived=archived)
        case Shutdown():
            state.closing = True
        case _:
            pass


def _answered(state: State, question: str, decision: str) -> None:
    turn = state.turn
    if not isinstance(turn, Turn) or (call := _close_question(state, turn, question)) is None:
        return
    state.in_hand = attrs.evolve(state.in_hand, answers=call)
    if decision not in ("approved", "approved_for_session"):
        return
    call.status, call.approved, call.changed = "waiting", True, ()
    unpark(state, turn)
    if decision == "approved_for_session":
        grants.grant(state, turn, call)


def _close_question(state: State, turn: Turn, question: str) -> Call | None:
    """Close a question and return the call that it is about. None: no such question waits.

    A parked question waits, with its session, for whoever answers it or asks it again.
    """
    for asked in state.open(ApprovalAsked):
        if asked.question == question:
            del state.outstanding[asked.effect]
            return turn.find(asked.call)
    if turn.parking or state.maintenance:
        for call in turn.calls:
            if call.question == question and call.status == "waiting" and not call.approved:
                return call
    return None


def _item_received(state: State, turn: Turn, fact: ModelItemReceived) -> None:
    item = model_call.sendable(fact.item_json)
    if item is None:
        return
    received = model_call.received(fact.item_json, item, state.head)
    if isinstance(state.in_hand.closes, CompactionAsked):
        if turn.compaction is not None and received.text is not None:
            turn.compaction.summary = received.text
        return
    turn.answered = True
    if isinstance(item, OtherItem):
        if not _answers_itself(state, turn, fact.item_json):
            return
        if (other := other_call(fact.item_json)) is not None:
            refusal = texts.UNPLANNED.format(name=other.name)
            turn.add_call(other, ToolPlan(other.name, refusal=refusal), state.head)
    turn.items.append(received)
    if isinstance(item, FunctionCall | CustomToolCall):
        unplanned = ToolPlan(item.name, refusal=texts.UNPLANNED.format(name=item.name))
        turn.add_call(item, fact.plan or unplanned, state.head)
        turn.owes_request = True


def _answers_itself(state: State, turn: Turn, item_json: JsonText) -> bool:
    """Note that the provider has answered a call itself; say whether the item can be sent.

    An output without its call would make every later input invalid.
    """
    if (answered := other_output(item_json)) is None:
        return True
    for call in turn.calls:
        if isinstance(call.item, OtherCall) and call.item.call_id == answered and not call.settled:
            call.settle("", state.head)
            call.served = True
            return True
    return False


def _close(state: State, fact: ClosingFact) -> None:
    """Close an effect by the fact about it. If it is closed already, the fact is late."""
    closed = state.outstanding.pop(fact.effect, None)
    state.in_hand = InHand(closed)
    turn = state.turn
    if closed is None or turn is None:
        return
    if isinstance(turn, Turn):
        _close_of_turn(state, turn, closed, fact)
    elif isinstance(fact, ContextLoaded):
        state.turn = Turn.begin(turn, fact)


def _close_of_turn(state: State, turn: Turn, closed: OpeningDecision, fact: ClosingFact) -> None:
    match fact:
        case ModelCompleted() | ModelFailed():
            _attempt_ended(state, turn, closed, fact)
        case ToolFinished():
            _tool_finished(state, turn, closed, fact)
        case CallPlanned(plan=plan):
            _planned(turn, closed, plan)
        case ChildEnded() if isinstance(closed, ChildAsked):
            child_ended(state, turn, fact)
        case TurnsRestored():
            turn.restored, turn.restored_at = fact, state.head
        case EffectClosed():
            _closed_early(state, turn, closed, fact)
        case _:
            pass  # that it is closed is all that it means


def _attempt_ended(
    state: State, turn: Turn, closed: OpeningDecision, fact: ModelCompleted | ModelFailed
) -> None:
    if isinstance(fact, ModelFailed):
        if isinstance(closed, ModelAsked):
            turn.owes_request = True
            _measure_overflow(state, turn, fact)
        return
    if fact.usage is not None:
        state.usage = state.usage + fact.usage
    if isinstance(closed, CompactionAsked) and (compaction := turn.compaction) is not None:
        compaction.empty += not (compaction.summary or "").strip()
    if not isinstance(closed, ModelAsked):
        return
    turn.answered = True
    turn.progressed()
    state.commit_items(turn, fact.usage.total_tokens if fact.usage else None)
    turn.rescued = False
    limit = turn.settings.compaction.at_tokens
    if limit is None or state.tokens < limit:  # before the outputs of tools that were quick
        turn.over_limit = False
    state.flush_outputs(turn)


def _measure_overflow(state: State, turn: Turn, fact: ModelFailed) -> None:
    """Count a conversation that the provider found too long as one that fills the window."""
    window = turn.settings.context_window
    too_long = fact.failure.code == "context_window_exceeded"
    if too_long and window is not None:
        state.measured = (max(state.tokens, window), state.history.size)


def _planned(turn: Turn, closed: OpeningDecision, plan: ToolPlan) -> None:
    """A call has to be decided about again, by this plan."""
    call = turn.find(closed.call) if isinstance(closed, ToolDispatched | PlanAsked) else None
    if call is not None:
        call.plan_again(plan, grants.differing(call.plan.files, plan.files))


def _tool_finished(state: State, turn: Turn, closed: OpeningDecision, fact: ToolFinished) -> None:
    if isinstance(closed, ToolDispatched):
        call = turn.find(closed.call)
        output = fact.preamble + fact.output
        if isinstance(fact.report, PatchReport) and fact.report.applied:
            turn.compactions = 0
        if call is not None:
            call.note = ledger.note(call.item, call.plan, fact.outcome, fact.report)
        if call is not None and fact.denial is not None and _may_ask_again(turn, call):
            call.status, call.denied = "waiting", output
        else:
            settle(state, turn, closed.call, output, images=fact.images)


def _may_ask_again(turn: Turn, call: Call) -> bool:
    """Say whether a call that its sandbox stopped may be asked about, to run without one."""
    return (
        turn.stopping is None
        and turn.settings.session.approval_policy == "on-failure"
        and call.denied is None
        and not call.approved
    )


def _closed_early(state: State, turn: Turn, closed: OpeningDecision, fact: EffectClosed) -> None:
    match closed:
        case ToolDispatched() if fact.how == "cancelled":
            mark(turn, closed.call, "stopped" if is_running(turn, closed.call) else "waiting")
        case ChildAsked():
            child_lost(state, closed, fact.how)
        case _:
            pass
