"""The core of tool calls: when each may start, and how one that cannot run is settled."""

from collections.abc import Iterator
from typing import Literal

from turnlog.actors.core import approval, texts
from turnlog.actors.core.effects import AskQuestion, RunTool
from turnlog.actors.core.state import Call, State, Turn
from turnlog.protocol.calls import ErrorInfo
from turnlog.protocol.events import (
    CallSettled,
    EffectClosed,
    SessionDecision,
    ToolDispatched,
    TurnStopping,
)
from turnlog.protocol.ids import effect_id
from turnlog.protocol.settings import ApprovalPolicy, SandboxPolicy

_PLAIN = SandboxPolicy(mode="danger-full-access")


def start_calls(state: State, turn: Turn) -> Iterator[SessionDecision]:
    """Yield what can be done now about the calls that wait, in call order.

    A call that may overlap starts unless an earlier one that may not is unsettled; one that may
    not overlap starts once every earlier call is settled.
    """
    for number, call in enumerate(tuple(turn.calls), turn.first_call):
        if call.status != "waiting":
            continue
        if call.plan.refusal is not None:
            yield settle(call, number, "refused", call.plan.refusal)
            continue
        match "run" if call.approved else _permission(state, turn, call):
            case "refuse":
                default = texts.NO_ESCALATION.format(policy=_policy(turn))
                yield settle(call, number, "refused", call.plan.denial or default)
            case "ask":
                yield approval.ask(state, turn, call, number)
            case "run":
                if _is_free(turn, call, number):
                    yield _dispatch(state, turn, call, number)


def _permission(state: State, turn: Turn, call: Call) -> approval.Permission:
    if call.plan.approval_key and call.plan.approval_key in state.approved:
        return "run"
    return approval.permission(call.plan, _policy(turn))


def _policy(turn: Turn) -> ApprovalPolicy:
    assert turn.settings is not None  # calls come after the context
    return turn.settings.session.approval_policy


def _is_free(turn: Turn, call: Call, number: int) -> bool:
    earlier = [other for other in turn.calls[: number - turn.first_call] if not other.settled]
    return all(other.plan.parallel for other in earlier) if call.plan.parallel else not earlier


def _dispatch(state: State, turn: Turn, call: Call, number: int) -> ToolDispatched:
    assert turn.settings is not None
    sandbox = _PLAIN if call.plan.wants == "outside" else turn.settings.session.sandbox
    effect = effect_id(state.facts, "tool", number)
    return ToolDispatched(effect, number, call.item.call_id, call.plan.tool, sandbox)


def settle(
    call: Call,
    number: int,
    outcome: Literal["refused", "declined", "never_started", "stopped", "unknown"],
    output: str,
) -> CallSettled:
    """Return the decision that gives `call` its output without a run to the end."""
    return CallSettled(number, call.item.call_id, outcome, output)


def settle_cut_off(turn: Turn) -> Iterator[SessionDecision]:
    """Settle the calls that had been dispatched when their engine went away."""
    for number, call in enumerate(tuple(turn.calls), turn.first_call):
        if call.status == "stopped":
            yield settle(call, number, "stopped", texts.STOPPED)
        elif call.status == "unknown":
            yield settle(call, number, "unknown", texts.UNKNOWN)


def settle_never_started(turn: Turn) -> Iterator[SessionDecision]:
    """Settle the calls of a turn that ends before they could start."""
    for number, call in enumerate(tuple(turn.calls), turn.first_call):
        if not call.settled:
            yield settle(call, number, "never_started", texts.NEVER_STARTED)


def closed_early(
    turn: Turn, effect: RunTool | AskQuestion, fact: EffectClosed
) -> Iterator[SessionDecision]:
    """Decide about a tool or a question that ended without a result of its own."""
    call = turn.call(effect.call)
    if isinstance(effect, AskQuestion):
        if fact.how == "failed":
            yield settle(call, effect.call, "declined", texts.UNANSWERED)
    elif fact.how == "cancelled":
        yield from settle_cut_off(turn)
    else:
        output = texts.CRASHED.format(message=fact.message)
        yield settle(call, effect.call, "stopped" if effect.started else "unknown", output)
    if fact.how != "failed" and turn.stopping is None:
        yield TurnStopping("failed", ErrorInfo(fact.code or fact.how, fact.message))
