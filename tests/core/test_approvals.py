"""Who is asked before a call runs, under each policy, and what the answers mean."""

from typing import Literal

import pytest

from tests.core.play import SETTINGS, Play, function_call
from turnlog.actors.core import texts
from turnlog.protocol.calls import ErrorInfo, ToolPlan
from turnlog.protocol.events import (
    ApprovalAsked,
    CallSettled,
    EffectClosed,
    ModelAsked,
    OpRefused,
    ToolDispatched,
    TurnEnded,
    TurnStopping,
)
from turnlog.protocol.ops import ExecApproval, OverrideTurnContext, PatchApproval
from turnlog.protocol.settings import ApprovalPolicy, SandboxPolicy, SettingsUpdate

INSIDE = ToolPlan("exec_command", parallel=True, approval_key="ls")
OUTSIDE = ToolPlan("exec_command", parallel=True, wants="outside", approval_key="rm")


def asking(policy: ApprovalPolicy = "on-request") -> Play:
    play = Play.started()
    play.op(OverrideTurnContext(SettingsUpdate(approval_policy=policy)))
    play.ask("hi")
    return play


def waiting(plan: ToolPlan = OUTSIDE) -> Play:
    """Return a play whose whole response was one call that somebody is asked about."""
    play = asking("untrusted")
    play.item(function_call("c1"), plan)
    play.complete()
    return play


@pytest.mark.parametrize(
    ("policy", "wants", "decided"),
    [
        ("on-request", "inside", ToolDispatched),
        ("on-request", "outside", ApprovalAsked),
        ("untrusted", "inside", ApprovalAsked),
        ("untrusted", "outside", ApprovalAsked),
        ("on-failure", "inside", ToolDispatched),
        ("on-failure", "outside", CallSettled),
        ("never", "inside", ToolDispatched),
        ("never", "outside", CallSettled),
    ],
)
def test_each_policy_lets_a_call_run_asks_or_refuses(
    policy: ApprovalPolicy, wants: Literal["inside", "outside"], decided: type
) -> None:
    plan = ToolPlan("exec_command", wants=wants)
    (decision,) = asking(policy).item(function_call("c1"), plan)
    assert type(decision) is decided


def test_a_refused_escalation_names_the_policy() -> None:
    (settled,) = asking("never").item(function_call("c1"), OUTSIDE)
    text = texts.NO_ESCALATION.format(policy="never")
    assert settled == CallSettled(0, "c1", "refused", text)


def test_the_turn_keeps_the_policy_that_it_started_with() -> None:
    play = asking("never")
    play.op(OverrideTurnContext(SettingsUpdate(approval_policy="on-request")))
    (settled,) = play.item(function_call("c1"), OUTSIDE)
    assert isinstance(settled, CallSettled)


def test_a_call_that_the_registry_refuses_is_answered_and_nobody_is_asked() -> None:
    play = asking("untrusted")
    plan = ToolPlan("", refusal="unsupported call: frobnicate")
    (settled,) = play.item(function_call("c1", "frobnicate"), plan)
    assert settled == CallSettled(0, "c1", "refused", "unsupported call: frobnicate")


def test_an_approved_call_runs_where_it_asked_to() -> None:
    (dispatched,) = waiting(OUTSIDE).answer("approved")
    assert isinstance(dispatched, ToolDispatched)
    assert dispatched.sandbox == SandboxPolicy(mode="danger-full-access")
    (dispatched,) = waiting(INSIDE).answer("approved")
    assert isinstance(dispatched, ToolDispatched)
    assert dispatched.sandbox == SETTINGS.sandbox


def test_a_denied_call_is_declined_and_the_turn_continues() -> None:
    settled, asked = waiting().answer("denied")
    assert settled == CallSettled(0, "c1", "declined", texts.DECLINED)
    assert isinstance(asked, ModelAsked)


def test_abort_stops_the_turn() -> None:
    play = waiting()
    decided = play.answer("abort")
    assert decided[0] == TurnStopping("interrupted")
    assert decided[1] == CallSettled(0, "c1", "never_started", texts.NEVER_STARTED)
    assert isinstance(decided[-1], TurnEnded)


def test_a_patch_approval_answers_as_well() -> None:
    play = waiting()
    question = play.the(ApprovalAsked).question
    assert [type(one) for one in play.op(PatchApproval(question, "approved"))] == [ToolDispatched]


def test_an_answer_for_the_session_is_not_asked_for_again() -> None:
    play = waiting(INSIDE)
    play.answer("approved_for_session")
    play.finish(0)
    decided = play.item(function_call("c2"), INSIDE)
    assert [type(one) for one in decided] == [ToolDispatched]
    decided = play.item(function_call("c3"), OUTSIDE)
    assert [type(one) for one in decided] == [ApprovalAsked]


def test_calls_without_a_key_are_asked_about_each_time() -> None:
    plan = ToolPlan("exec_command")
    play = waiting(plan)
    play.answer("approved_for_session")
    play.finish(0)
    assert [type(one) for one in play.item(function_call("c2"), plan)] == [ApprovalAsked]


def test_questions_of_one_turn_are_answered_each_by_its_own_id() -> None:
    play = asking("untrusted")
    play.item(function_call("c1"), INSIDE)
    play.item(function_call("c2"), INSIDE)
    first, second = (effect.question for effect in play.all(ApprovalAsked))
    (dispatched,) = play.op(ExecApproval(second, "approved"))
    assert isinstance(dispatched, ToolDispatched)
    assert dispatched.call_id == "c2"
    (settled,) = play.op(ExecApproval(first, "denied"))
    assert settled == CallSettled(0, "c1", "declined", texts.DECLINED)


@pytest.mark.parametrize("answer", ["approved", "abort"])
def test_an_answer_to_no_question_is_refused_and_stops_nothing(
    answer: Literal["approved", "abort"],
) -> None:
    play = waiting()
    (refused,) = play.op(ExecApproval("nobody-asked", answer), "op-x")
    assert refused == OpRefused(
        "op-x", "no_such_question", "no question nobody-asked is waiting for an answer"
    )
    assert play.state.turn is not None
    assert play.state.turn.stopping is None


def test_a_question_that_nobody_answers_in_time_is_declined() -> None:
    play = waiting()
    settled, asked = play.send(EffectClosed(play.the(ApprovalAsked).effect, "failed"))
    assert settled == CallSettled(0, "c1", "declined", texts.UNANSWERED)
    assert isinstance(asked, ModelAsked)


@pytest.mark.parametrize("how", ["crashed", "cancelled"])
def test_a_question_that_breaks_down_fails_the_turn(how: Literal["crashed", "cancelled"]) -> None:
    play = waiting()
    decided = play.send(EffectClosed(play.the(ApprovalAsked).effect, how, "boom"))
    assert decided[0] == TurnStopping("failed", ErrorInfo(how, "boom"))
    assert isinstance(decided[-1], TurnEnded)


def test_an_answer_that_comes_while_the_turn_stops_starts_nothing() -> None:
    play = waiting()
    play.interrupt()
    decided = play.answer("approved")
    assert decided[0] == CallSettled(0, "c1", "never_started", texts.NEVER_STARTED)
    assert play.all(ToolDispatched) == []


def test_a_denial_that_comes_while_the_turn_stops_is_what_the_model_is_told() -> None:
    play = waiting()
    play.interrupt()
    decided = play.answer("denied")
    assert decided[0] == CallSettled(0, "c1", "declined", texts.DECLINED)
