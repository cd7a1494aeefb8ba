"""The core of tool calls: when each may start, and how one that cannot run is settled."""

from collections.abc import Iterator

from turnlog.actors.core import agents, approval, grants, texts
from turnlog.actors.core.settling import settled
from turnlog.actors.core.state import Call, State, Turn
from turnlog.protocol.calls import ErrorInfo
from turnlog.protocol.events import (
    ApprovalAsked,
    CallOutcome,
    CallParked,
    EffectClosed,
    ModelAsked,
    PlanAsked,
    ScanAsked,
    SessionDecision,
    ToolDispatched,
    TurnStopping,
)
from turnlog.protocol.ids import effect_id
from turnlog.protocol.items import OtherCall
from turnlog.protocol.settings import ApprovalPolicy


def start_calls(state: State, turn: Turn) -> Iterator[SessionDecision]:
    """Yield what can be done now about the calls that wait, in call order.

    A call that may overlap starts unless an earlier one that may not is unsettled; one that may
    not overlap starts once every earlier call is settled.
    """
    for call in tuple(turn.calls):
        if call.status != "waiting":
            continue
        if isinstance(call.item, OtherCall) and _is_responding(state):
            continue  # the provider may answer it itself, in the same response
        if call.origin == "elsewhere":
            effect = effect_id(state.facts, "plan", call.number)
            yield PlanAsked(effect, call.number, call.item.call_id)
            continue
        if call.plan.refusal is not None:
            yield settled(call, "refused", call.plan.refusal)
            continue
        if call.plan.agent is not None and (call.origin == "here" or call.approved):
            yield from agents.act(state, turn, call, call.plan.agent)
            continue
        match _permission(state, turn, call):
            case "refuse":
                yield settled(call, "refused", _refusal(turn, call))
            case "ask":
                yield approval.ask(state, turn, call)
            case "run":
                if _must_scan(turn):
                    yield ScanAsked(effect_id(state.facts, "scan"))
                if _is_free(turn, call) and not _is_scanning(state):
                    yield _dispatch(state, turn, call)


def _is_responding(state: State) -> bool:
    return bool(state.open(ModelAsked))


def _permission(state: State, turn: Turn, call: Call) -> approval.Permission:
    if _is_allowed(state, turn, call):
        return "run"
    if call.origin == "planned":
        return "refuse" if _policy(turn) == "never" else "ask"
    if call.denied is not None:
        return "ask"
    return approval.permission(call.plan, _policy(turn))


def _refusal(turn: Turn, call: Call) -> str:
    if call.origin == "planned":
        return call.denied or texts.FROM_ELSEWHERE
    return call.plan.denial or texts.NO_ESCALATION.format(policy=_policy(turn))


def _is_allowed(state: State, turn: Turn, call: Call) -> bool:
    """Say whether somebody has allowed this call, alone or for the whole session."""
    return call.approved or grants.is_granted(state, turn, call)


def _policy(turn: Turn) -> ApprovalPolicy:
    return turn.settings.session.approval_policy


def _is_free(turn: Turn, call: Call) -> bool:
    earlier = [one for one in turn.calls if one.number < call.number and not one.settled]
    return all(one.plan.parallel for one in earlier) if call.plan.parallel else not earlier


def _dispatch(state: State, turn: Turn, call: Call) -> ToolDispatched:
    sandbox, effect = grants.sandbox_of(turn, call), effect_id(state.facts, "tool", call.number)
    call_id, tool, approved = call.item.call_id, call.plan.tool, _is_allowed(state, turn, call)
    return ToolDispatched(effect, call.number, call_id, tool, sandbox, approved)


def _must_scan(turn: Turn) -> bool:
    return turn.settings.session.scan_workspace and not turn.scanned


def _is_scanning(state: State) -> bool:
    return bool(state.open(ScanAsked))


def settle_cut_off(turn: Turn) -> Iterator[SessionDecision]:
    """Settle the calls that had been dispatched when their engine went away."""
    for call in tuple(turn.calls):
        if call.status == "stopped":
            yield settled(call, "stopped", texts.STOPPED)
        elif call.status == "unknown":
            yield settled(call, "unknown", texts.UNKNOWN)


def settle_never_started(turn: Turn) -> Iterator[SessionDecision]:
    """Settle the calls of a turn that ends before they could start."""
    for call in tuple(turn.calls):
        if not call.settled:
            yield settled(call, "never_started", never_started(call))


def never_started(call: Call) -> str:
    """Return what the model is told of a call that ran nothing before its turn ended."""
    if call.denied is None and call.waited:
        return texts.WAIT_STOPPED
    return call.denied or texts.NEVER_STARTED


def closed_early(
    state: State, turn: Turn, effect: ToolDispatched | ApprovalAsked, fact: EffectClosed
) -> Iterator[SessionDecision]:
    """Decide about a tool or a question that ended without a result of its own."""
    call = turn.call(effect.call)
    if isinstance(effect, ApprovalAsked):
        if fact.how == "failed" and approval.parks(state, turn, call):
            yield CallParked(effect.call, call.item.call_id)
        elif fact.how == "failed":
            yield settled(call, "declined", call.denied or texts.UNANSWERED)
    elif fact.how == "cancelled":
        yield from settle_cut_off(turn)
    else:
        output = texts.CRASHED.format(message=fact.message)
        outcome: CallOutcome = "stopped" if call.status == "running" else "unknown"
        yield settled(call, outcome, output)
    if fact.how != "failed" and turn.stopping is None:
        yield TurnStopping("failed", ErrorInfo(fact.code or fact.how, fact.message))
