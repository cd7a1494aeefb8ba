"""Every policy with every wish and every answer; denials; questions that nobody answers."""

from itertools import product
from typing import Literal

import pytest
from msgspec import structs

from tests.core.compacting import kinds, told
from tests.core.play import SETTINGS, Play, function_call
from turnlog.actors.core import texts
from turnlog.protocol.calls import (
    CommandPreview,
    ErrorInfo,
    ModelFailure,
    PatchPreview,
    Preview,
    ToolPlan,
)
from turnlog.protocol.events import (
    ApprovalAsked,
    CallParked,
    CallSettled,
    EffectClosed,
    ItemsRecorded,
    ModelAsked,
    OpRefused,
    QuestionAnswered,
    SessionClosed,
    SessionDecision,
    ToolDispatched,
    ToolFinished,
    TurnEnded,
)
from turnlog.protocol.ops import ApprovalAnswer, ExecApproval, OverrideTurnContext
from turnlog.protocol.settings import (
    ApprovalPolicy,
    SandboxPolicy,
    SettingsUpdate,
    TurnSettings,
    Unanswered,
    UnansweredPolicy,
)

PLAIN = SandboxPolicy(mode="danger-full-access")
POLICIES: tuple[ApprovalPolicy, ...] = ("untrusted", "on-request", "on-failure", "never")
WANTS: tuple[Literal["inside", "outside"], ...] = ("inside", "outside")
ANSWERS: tuple[ApprovalAnswer, ...] = ("approved", "approved_for_session", "denied", "abort")
# Who is asked. Where nobody is, a call runs if it stays inside, and is refused if it does not.
ASKED: set[tuple[ApprovalPolicy, str, bool]] = {
    ("untrusted", "inside", False),
    ("untrusted", "outside", False),
    ("untrusted", "outside", True),
    ("on-request", "outside", False),
    ("on-request", "outside", True),
}
MATRIX = list(product(POLICIES, WANTS, (False, True)))
COMMAND = CommandPreview(("rm", "a"), "/work")
PATCH = PatchPreview(())
RAN = "called exec_command {} (failed)"


def asking(policy: ApprovalPolicy, limits: TurnSettings | None = None) -> Play:
    play = Play.started(structs.replace(SETTINGS, approval_policy=policy), limits=limits)
    play.ask("hi")
    return play


# --- the matrix -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("policy", "wants", "safe"), MATRIX)
def test_who_is_asked(
    policy: ApprovalPolicy, wants: Literal["inside", "outside"], safe: bool
) -> None:
    plan = ToolPlan("exec_command", wants=wants, known_safe=safe)
    (decided,) = asking(policy).item(function_call("c1"), plan)
    if (policy, wants, safe) in ASKED:
        assert isinstance(decided, ApprovalAsked)
        assert (decided.call, decided.call_id, decided.plan) == (0, "c1", plan)
    elif wants == "inside":
        assert isinstance(decided, ToolDispatched)
        assert decided.sandbox == SETTINGS.sandbox
    else:
        text = texts.NO_ESCALATION.format(policy=policy)
        assert decided == CallSettled(0, "c1", "refused", text)


@pytest.mark.parametrize(
    ("policy", "wants", "safe", "answer"),
    [(*case, answer) for case, answer in product(MATRIX, ANSWERS) if case in ASKED],
)
def test_what_each_answer_leads_to(
    policy: ApprovalPolicy,
    wants: Literal["inside", "outside"],
    safe: bool,
    answer: ApprovalAnswer,
) -> None:
    play = asking(policy)
    plan = ToolPlan("exec_command", wants=wants, known_safe=safe, approval_key="key")
    play.item(function_call("c1"), plan)
    play.complete()
    decided = play.answer(answer)
    if answer in ("approved", "approved_for_session"):
        (dispatched,) = decided
        assert isinstance(dispatched, ToolDispatched)
        assert dispatched.sandbox == (PLAIN if wants == "outside" else SETTINGS.sandbox)
        play.finish(0)
        again = play.item(function_call("c2"), plan)
        asked_again = "ApprovalAsked" if answer == "approved" else "ToolDispatched"
        assert kinds(again) == [asked_again]
    elif answer == "denied":
        assert decided[0] == CallSettled(0, "c1", "declined", texts.DECLINED)
        assert kinds(decided[1:]) == ["ModelAsked"]
    else:
        assert kinds(decided) == ["TurnStopping", "CallSettled", "ItemsRecorded", "TurnEnded"]


def test_a_plan_may_say_itself_why_the_policy_forbids_it() -> None:
    plan = ToolPlan("apply_patch", wants="outside", denial="writing outside of the project")
    (settled,) = asking("never").item(function_call("c1"), plan)
    assert settled == CallSettled(0, "c1", "refused", "writing outside of the project")


# --- on failure -----------------------------------------------------------------------------------


def denied(play: Play, call: int = 0, output: str = "cannot write") -> list[SessionDecision]:
    """End a call as one that its sandbox stopped."""
    fact = ToolFinished(play.tool(call), "failed", "ran\n", output, denial="permission denied")
    return play.send(fact)


def stopped_by_its_sandbox() -> Play:
    play = asking("on-failure")
    play.item(function_call("c1"), ToolPlan("exec_command", approval_key="make"))
    play.complete()
    denied(play)
    return play


def test_a_call_that_its_sandbox_stopped_is_asked_about() -> None:
    play = asking("on-failure")
    plan = ToolPlan("exec_command")
    play.item(function_call("c1"), plan)
    play.complete()
    (asked,) = denied(play)
    assert isinstance(asked, ApprovalAsked)
    assert (asked.call_id, asked.plan) == ("c1", plan)


@pytest.mark.parametrize("policy", ["untrusted", "on-request", "never"])
def test_under_the_other_policies_the_model_is_told_what_the_call_printed(
    policy: ApprovalPolicy,
) -> None:
    play = asking(policy)
    play.item(function_call("c1"), ToolPlan("exec_command", known_safe=True))
    play.complete()
    assert kinds(denied(play)) == ["ModelAsked"]
    assert "cannot write" in play.state.history.texts()[-1]


def test_once_approved_it_runs_without_the_sandbox_and_is_not_asked_about_again() -> None:
    play = stopped_by_its_sandbox()
    (dispatched,) = play.answer("approved")
    assert isinstance(dispatched, ToolDispatched)
    assert (dispatched.call, dispatched.sandbox) == (0, PLAIN)
    assert kinds(denied(play, output="not even so")) == ["ModelAsked"]
    assert "not even so" in play.state.history.texts()[-1]


def test_once_declined_the_model_is_told_what_the_first_run_printed() -> None:
    settled, asked = stopped_by_its_sandbox().answer("denied")
    text = "ran\ncannot write" + texts.DECLINED_OUTSIDE
    assert settled == CallSettled(0, "c1", "declined", text, RAN)
    assert isinstance(asked, ModelAsked)


def test_nobody_answering_is_told_as_what_the_first_run_printed() -> None:
    play = stopped_by_its_sandbox()
    settled, _ = play.send(EffectClosed(play.the(ApprovalAsked).effect, "failed"))
    assert settled == CallSettled(0, "c1", "declined", "ran\ncannot write", RAN)


def test_an_interrupt_meanwhile_tells_what_the_first_run_printed() -> None:
    play = stopped_by_its_sandbox()
    play.interrupt()
    (settled, *_) = play.close(play.the(ApprovalAsked))
    assert settled == CallSettled(0, "c1", "never_started", "ran\ncannot write", RAN)


def test_what_was_approved_for_the_session_runs_without_the_sandbox_at_once() -> None:
    play = stopped_by_its_sandbox()
    play.answer("approved_for_session")
    play.finish(0)
    play.item(function_call("c2"), ToolPlan("exec_command", approval_key="make"))
    play.complete()
    (again,) = denied(play, 1)
    assert isinstance(again, ToolDispatched)
    assert again.sandbox == PLAIN


def test_a_denial_while_the_turn_stops_is_no_question() -> None:
    play = asking("on-failure")
    play.item(function_call("c1"), ToolPlan("exec_command"))
    play.complete()
    play.interrupt()
    assert kinds(denied(play)) == ["ItemsRecorded", "TurnEnded"]


# --- one answer for several -----------------------------------------------------------------------


def test_an_answer_for_the_session_answers_the_other_questions_of_its_kind() -> None:
    play = asking("untrusted")
    ls, rm = (ToolPlan("exec_command", parallel=True, approval_key=key) for key in ("ls", "rm"))
    for call_id, plan in (("c1", ls), ("c2", rm), ("c3", ls)):
        play.item(function_call(call_id), plan)
    first, second, third = play.all(ApprovalAsked)
    decided = play.op(ExecApproval(third.question, "approved_for_session"))
    assert kinds(decided) == ["QuestionAnswered", "ToolDispatched", "ToolDispatched"]
    assert decided[0] == QuestionAnswered(first.effect, 0, "c1")
    assert play.all(ApprovalAsked) == [second]
    (refused,) = play.op(ExecApproval(first.question, "denied"))
    assert isinstance(refused, OpRefused)
    assert refused.code == "no_such_question"


def test_a_later_call_of_its_kind_is_not_asked_about_but_one_in_a_fork_is() -> None:
    play = asking("untrusted")
    plan = ToolPlan("exec_command", approval_key="ls")
    play.item(function_call("c1"), plan)
    play.answer("approved_for_session")
    play.finish(0)
    play.complete()
    play.complete()
    play.fork()
    play.open()
    play.ask("again")
    assert kinds(play.item(function_call("c2"), plan)) == ["ApprovalAsked"]


# --- nobody answers -------------------------------------------------------------------------------


def unanswered(kind: Literal["command", "patch"], policy: Unanswered) -> Play:
    """Return a play with a question of this kind whose time is over, and one that runs."""
    other: Unanswered = "decline" if policy == "park" else "park"
    rules = (
        UnansweredPolicy(policy, other) if kind == "command" else UnansweredPolicy(other, policy)
    )
    play = asking("untrusted", TurnSettings(SETTINGS, unanswered=rules))
    preview: Preview = COMMAND if kind == "command" else PATCH
    play.item(function_call("c0"), ToolPlan("exec_command", parallel=True, known_safe=True))
    play.item(function_call("c1"), ToolPlan("tool", parallel=True, preview=preview))
    play.complete()
    return play


def nobody(play: Play) -> list[SessionDecision]:
    return play.send(EffectClosed(play.the(ApprovalAsked).effect, "failed"))


@pytest.mark.parametrize("kind", ["command", "patch"])
@pytest.mark.parametrize("policy", ["decline", "wait"])
def test_a_question_that_nobody_answers_is_declined(
    kind: Literal["command", "patch"], policy: Unanswered
) -> None:
    play = unanswered(kind, policy)
    assert nobody(play) == [CallSettled(1, "c1", "declined", texts.UNANSWERED)]
    assert kinds(play.finish(0)) == ["ModelAsked"]


@pytest.mark.parametrize("kind", ["command", "patch"])
def test_a_question_may_park_its_session_once_the_rest_is_done(
    kind: Literal["command", "patch"],
) -> None:
    play = unanswered(kind, "park")
    assert nobody(play) == [CallParked(1, "c1")]
    assert play.finish(0) == [SessionClosed("parked")]
    assert play.state.closed
    assert play.state.turn is not None
    assert play.op(OverrideTurnContext(SettingsUpdate())) == []  # it is closed once


def parked() -> tuple[Play, str]:
    play = unanswered("command", "park")
    question = play.the(ApprovalAsked).question
    nobody(play)
    play.finish(0)
    return play, question


def test_a_parked_session_asks_the_same_question_when_it_is_opened_again() -> None:
    play, question = parked()
    (asked,) = play.open()
    assert isinstance(asked, ApprovalAsked)
    assert (asked.question, asked.call_id) == (question, "c1")
    assert kinds(play.op(ExecApproval(question, "approved"))) == ["ToolDispatched"]
    assert kinds(play.finish(1)) == ["ModelAsked"]
    assert told(play)[-2:] == ["function_call_output c0", "function_call_output c1"]


@pytest.mark.parametrize("door", ["parked", "looked after"])
@pytest.mark.parametrize(
    ("answer", "then"),
    [
        ("approved", ["ToolDispatched"]),
        ("denied", ["ModelAsked"]),
        ("abort", ["CallSettled", "ItemsRecorded", "TurnEnded"]),
    ],
)
def test_an_answer_to_a_parked_session_is_never_lost(
    door: str, answer: ApprovalAnswer, then: list[str]
) -> None:
    play, question = parked()
    if door == "looked after":
        play.open("leave")
    early = kinds(play.op(ExecApproval(question, answer)))
    assert "OpRefused" not in early
    assert play.all(ToolDispatched) == []
    late = kinds(play.open())
    assert [kind for kind in early + late if kind in then] == then


def test_no_call_starts_and_nothing_is_asked_of_the_model_while_a_session_parks() -> None:
    play = unanswered("command", "park")
    nobody(play)
    play.say("word")
    play.finish(0)
    assert (play.all(ToolDispatched), play.all(ModelAsked)) == ([], [])


@pytest.mark.parametrize(
    ("answer", "then"), [("approved", "ToolDispatched"), ("denied", "ModelAsked")]
)
def test_a_question_that_is_answered_before_the_session_has_parked_parks_it_no_more(
    answer: ApprovalAnswer, then: str
) -> None:
    play = asking("untrusted", TurnSettings(SETTINGS, unanswered=UnansweredPolicy("park", "park")))
    play.item(function_call("c0"), ToolPlan("tool", parallel=True, known_safe=True))
    play.item(function_call("c1"), ToolPlan("tool", parallel=True, preview=COMMAND))
    play.complete()
    asked = play.the(ApprovalAsked)
    assert kinds(play.send(EffectClosed(asked.effect, "failed"))) == ["CallParked"]
    play.op(ExecApproval(asked.question, answer))
    running = play.all(ToolDispatched)
    play.finish(running[0].call)
    assert not play.state.closed
    assert [type(one).__name__ for one in play.state.outstanding.values()] == [then]


def test_questions_that_are_open_when_a_session_parks_stay_open() -> None:
    rules = UnansweredPolicy("park", "wait")
    play = asking("untrusted", TurnSettings(SETTINGS, unanswered=rules))
    play.item(function_call("c0"), ToolPlan("tool", parallel=True, preview=PATCH))
    play.item(function_call("c1"), ToolPlan("tool", parallel=True, preview=COMMAND))
    play.complete()
    patch, command = play.all(ApprovalAsked)
    decided = play.send(EffectClosed(command.effect, "failed"))
    assert kinds(decided) == ["CallParked", "SessionClosed"]
    asked = [one for one in play.open() if isinstance(one, ApprovalAsked)]
    assert [one.question for one in asked] == [patch.question, command.question]


@pytest.mark.parametrize("crash", [False, True])
def test_a_parked_question_outlives_the_response_that_it_was_part_of(*, crash: bool) -> None:
    play = asking("untrusted", TurnSettings(SETTINGS, unanswered=UnansweredPolicy("park", "park")))
    play.item(function_call("c1"), ToolPlan("tool", preview=COMMAND))
    question = play.the(ApprovalAsked).question
    nobody(play)
    if not crash:  # the stream is cut, and tried again before the session closes
        play.fail(ModelFailure("stream_disconnected", "stream closed", "stream"))
        assert kinds(play.fire()) == ["SessionClosed"]
    asked = next(one for one in play.open() if isinstance(one, ApprovalAsked))
    assert (asked.question, asked.call_id) == (question, "c1")
    play.answer("denied")
    assert told(play) == ["hi", "function_call c1", "function_call_output c1"]


def test_an_interrupted_turn_does_not_park() -> None:
    play = unanswered("command", "park")
    play.interrupt()
    assert kinds(nobody(play)) == ["CallSettled"]
    assert kinds(play.finish(0)) == ["ItemsRecorded", "TurnEnded"]


def test_a_parked_session_is_interrupted_by_the_engine_that_takes_over() -> None:
    play, _ = parked()
    decided = play.open("interrupt")
    assert kinds(decided) == ["TurnStopping", "CallSettled", "ItemsRecorded", "TurnEnded"]
    assert isinstance(decided[2], ItemsRecorded)
    ended = decided[3]
    assert isinstance(ended, TurnEnded)
    assert (ended.status, ended.error) == ("interrupted", None)


def test_every_end_of_a_turn_by_a_broken_question_names_its_cause() -> None:
    play = unanswered("command", "park")
    fact = EffectClosed(play.the(ApprovalAsked).effect, "crashed", "boom", "no_terminal")
    play.send(fact)
    play.finish(0)
    ended = play.events[-1]
    assert isinstance(ended, TurnEnded)
    assert ended.error == ErrorInfo("no_terminal", "boom")
