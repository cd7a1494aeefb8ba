"""The core of approvals: may a call run, must somebody be asked, and what does an answer mean."""

from collections.abc import Iterator
from typing import Literal

from turnlog.actors.core import grants, texts
from turnlog.actors.core.settling import settled
from turnlog.actors.core.state import Call, State, Turn
from turnlog.protocol.calls import PatchPreview, ToolPlan
from turnlog.protocol.events import (
    ApprovalAsked,
    OpRefused,
    QuestionAnswered,
    SessionDecision,
    TurnStopping,
)
from turnlog.protocol.ids import effect_id, mint
from turnlog.protocol.ops import ExecApproval, PatchApproval
from turnlog.protocol.settings import ApprovalPolicy, TurnSettings, Unanswered

Permission = Literal["run", "ask", "refuse"]


def permission(plan: ToolPlan, policy: ApprovalPolicy) -> Permission:
    """Say whether a call may run under `policy`. Pure; the sandbox confines what runs inside it."""
    if plan.wants == "outside":
        return "ask" if policy in ("on-request", "untrusted") else "refuse"
    return "ask" if policy == "untrusted" and not plan.known_safe else "run"


def unanswered(plan: ToolPlan, settings: TurnSettings) -> Unanswered:
    """Say what becomes of a question about such a call that nobody answers in time."""
    policy = settings.unanswered
    return policy.patch if isinstance(plan.preview, PatchPreview) else policy.command


def parks(state: State, turn: Turn, call: Call) -> bool:
    """Say whether the session is to wait, closed, for an answer that did not come in time."""
    return unanswered(call.plan, turn.settings) == "park" and turn.stopping is None


def ask(state: State, turn: Turn, call: Call) -> ApprovalAsked:
    """Return the question about `call`. Asked again after a restart, it is the same question."""
    number = call.number
    question = call.question or mint(state.session, state.time_us, state.facts, "question", number)
    changed = grants.changed_since(state, turn, call)
    effect = effect_id(state.facts, "question", number)
    return ApprovalAsked(effect, question, number, call.item.call_id, call.plan, changed)


def answer(state: State, op_id: str, op: ExecApproval | PatchApproval) -> Iterator[SessionDecision]:
    """Decide on an answer. `evolve` has closed the question, if it was open."""
    turn, call = state.turn, state.in_hand.answers
    if call is None or not isinstance(turn, Turn):
        yield OpRefused(op_id, "no_such_question", f"no question {op.id} is waiting for an answer")
        return
    if op.decision == "abort" and turn.stopping is None:
        yield TurnStopping("interrupted")
    elif op.decision in ("denied", "abort"):
        output = texts.DECLINED if call.denied is None else call.denied + texts.DECLINED_OUTSIDE
        yield settled(call, "declined", output)
    elif op.decision == "approved_for_session":
        yield from _answer_others(state, turn)


def _answer_others(state: State, turn: Turn) -> Iterator[SessionDecision]:
    """Close the open questions that an answer for the whole session has answered, too."""
    for asked in state.open(ApprovalAsked):
        if grants.is_granted(state, turn, turn.call(asked.call)):
            yield QuestionAnswered(asked.effect, asked.call, asked.call_id)
