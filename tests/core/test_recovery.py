"""An engine that is gone: what the next one finds, and a fork, at every event of a session."""

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.oracle import (
    assert_sound,
    assert_valid_input,
    denials,
    dispatches,
    outcomes,
    running_tools,
    whole_responses,
)
from tests.core.play import Play, function_call, said, thought, user
from tests.strategies import sessions
from turnlog.actors.core import texts
from turnlog.actors.core.evolving import evolve
from turnlog.actors.core.model_input import model_input
from turnlog.actors.core.rebuild import rebuild
from turnlog.actors.core.state import Turn
from turnlog.protocol.calls import ModelFailure, ToolPlan
from turnlog.protocol.events import (
    ApprovalAsked,
    CallSettled,
    EffectLost,
    InputQueued,
    ItemsRecorded,
    ModelAsked,
    RecordedItem,
    ResponseAbandoned,
    StepFailed,
    ToolDispatched,
    TurnEnded,
    TurnOpened,
    TurnStopping,
)
from turnlog.protocol.ids import EffectId
from turnlog.protocol.items import FunctionCall, JsonText, output_item, text_message
from turnlog.protocol.ops import Shutdown
from turnlog.protocol.settings import OnRecovery
from turnlog.replay.verify.verifier import divergences

Ways = Literal["continue", "interrupt", "fork"]
WAYS: tuple[Ways, ...] = ("continue", "interrupt", "fork")
OUTSIDE = ToolPlan("exec_command", wants="outside")


def take_over(play: Play, way: Ways) -> None:
    if way == "fork":
        play.fork()
        play.open()
    else:
        play.open(way)


@given(sessions(most_facts=20), st.integers(0, 2))
def test_a_session_continues_from_a_cut_after_any_step(play: Play, first_way: int) -> None:
    for number, at in enumerate(play.ends[1:], first_way):
        way = WAYS[number % 3]
        cut = play.cut(at)
        before = cut.events
        take_over(cut, way)
        cut.settle(200)
        assert_sound(cut)
        assert cut.state.turn is None
        after = cut.events[at:]
        twice = dispatches(before).keys() & dispatches(after).keys()
        assert twice <= denials(before).keys()  # once more, outside of the sandbox
        running = running_tools(before)
        assert {call: outcomes(after)[call] for call in running} == running
        assert_valid_input(cut.state.history.texts(), whole_responses(cut.events))


@given(sessions(most_facts=20), st.integers(0, 2))
def test_a_cut_inside_a_step_breaks_neither_the_input_nor_the_session(
    play: Play, first_way: int
) -> None:
    whole = whole_responses(play.events)
    for at in set(range(1, play.state.head)).difference(play.ends):
        cut = play.cut(at)
        assert_valid_input(model_input(cut.state), whole)
        take_over(cut, WAYS[(at + first_way) % 3])
        assert not [one for one in cut.events[at:] if isinstance(one, StepFailed)]
        cut.fork()
        assert cut.state.turn is None


@given(sessions(most_facts=20), st.sampled_from(WAYS))
def test_what_continues_from_a_crash_replays_too(play: Play, way: Ways) -> None:
    for at in play.ends[1:]:
        cut = play.cut(at)
        take_over(cut, way)
        cut.settle(200)
        assert list(divergences(cut.records)) == []
        assert rebuild(cut.records) == cut.state


@given(sessions(most_facts=20))
def test_a_fork_leaves_what_was_before_it_in_the_conversation(play: Play) -> None:
    for at in play.ends[1:]:
        cut = play.cut(at)
        parent = cut.state.history.texts()
        cut.fork()
        assert cut.state.history.texts()[: len(parent)] == parent
        assert (cut.state.turn, cut.state.outstanding, cut.state.queue) == (None, {}, [])


@given(sessions(most_facts=20))
def test_what_the_input_said_at_a_cut_is_what_an_interrupting_engine_records(play: Play) -> None:
    for at in play.ends[1:]:
        cut = play.cut(at)
        turn = cut.state.turn
        works = turn if isinstance(turn, Turn) else None
        whole_or_kept = works is None or not works.items or works.calls
        # An agent may become idle while the turn is stopped: then the call tells how.
        waits = [call.item.call_id for call in works.calls if call.waited] if works else []
        expected = model_input(cut.state)
        cut.open("interrupt")
        while turn is not None and cut.state.turn is not None:  # agents are at work
            if cut.state.turn.number != turn.number:
                break
            cut.close(next(iter(cut.state.outstanding.values())))
        if whole_or_kept:
            recorded = cut.state.history.texts()[: len(expected)]
            assert without_outputs(recorded, waits) == without_outputs(expected, waits)


def without_outputs(parts: list[JsonText], calls: list[str]) -> list[JsonText]:
    """Return the conversation without what these calls gave."""
    left_out = tuple(f'{{"type":"function_call_output","call_id":"{call}",' for call in calls)
    return [part for part in parts if not part.startswith(left_out)]


def running_call(play: Play, *, started: bool) -> None:
    play.ask("hi")
    play.call("c1")
    play.complete()
    if started:
        play.start(0)


@pytest.mark.parametrize(
    ("started", "outcome", "text"),
    [(True, "stopped", texts.STOPPED), (False, "unknown", texts.UNKNOWN)],
)
def test_a_continued_turn_tells_the_model_what_became_of_a_running_call(
    started: bool, outcome: Literal["stopped", "unknown"], text: str
) -> None:
    play = Play.started()
    running_call(play, started=started)
    effect = play.tool(0)
    decided = play.open("continue")
    assert decided[:2] == [
        EffectLost(effect),
        CallSettled(0, "c1", outcome, text, f"called exec_command {{}} ({outcome})"),
    ]
    assert isinstance(decided[2], ModelAsked)
    call = FunctionCall("c1", "exec_command", "{}")
    assert play.state.history.texts()[-2:] == [function_call("c1"), output_item(call, text)]


def test_a_model_call_that_was_cut_off_is_made_again_with_the_same_input() -> None:
    play = Play.started()
    asked = play.ask("hi")[-1]
    assert isinstance(asked, ModelAsked)
    play.item(thought())
    play.item(said("half an answer"))
    lost, abandoned, again = play.open("continue")
    assert (lost, abandoned) == (
        EffectLost(asked.effect),
        ResponseAbandoned(asked.effect, keep=False),
    )
    assert isinstance(again, ModelAsked)
    assert (again.request, again.attempt) == (asked.request, asked.attempt + 1)
    assert (again.parts, again.input_digest) == (asked.parts, asked.input_digest)


def test_a_waiting_question_is_asked_again_under_its_own_id() -> None:
    play = Play.started()
    play.ask("hi")
    play.item(function_call("c1"), OUTSIDE)
    play.complete()
    question = play.the(ApprovalAsked).question
    lost, again = play.open("continue")
    assert isinstance(lost, EffectLost)
    assert isinstance(again, ApprovalAsked)
    assert (again.question, again.effect != lost.effect) == (question, True)
    assert [type(one) for one in play.answer("approved")] == [ToolDispatched]


def test_a_question_is_asked_again_also_when_its_response_was_not_whole() -> None:
    play = Play.started()
    play.ask("hi")
    play.item(function_call("c1"), OUTSIDE)
    question = play.the(ApprovalAsked).question
    decided = play.open("continue")
    assert [type(one) for one in decided] == [
        EffectLost,
        EffectLost,
        ResponseAbandoned,
        ApprovalAsked,
    ]
    assert play.the(ApprovalAsked).question == question


def test_a_call_that_had_been_approved_is_not_asked_about_again() -> None:
    play = Play.started()
    play.ask("hi")
    play.call("c1", parallel=False)
    play.item(function_call("c2"), OUTSIDE)
    play.complete()
    play.answer("approved")
    decided = play.open("continue")
    assert [one for one in decided if isinstance(one, ApprovalAsked)] == []
    assert [effect.call for effect in play.all(ToolDispatched)] == [1]


def test_a_retry_that_was_waited_for_is_made_at_once() -> None:
    play = Play.started()
    play.ask("hi")
    play.fail(ModelFailure("server_error", "503", "request"))
    lost, again = play.open("continue")
    assert isinstance(lost, EffectLost)
    assert isinstance(again, ModelAsked)
    assert again.attempt == 2


@pytest.mark.parametrize("way", ["interrupt", "fork"])
def test_an_interrupting_engine_keeps_a_cut_response_and_ends_the_turn(way: Ways) -> None:
    play = Play.started()
    play.ask("hi")
    play.call("c1", parallel=False)
    play.call("c2", parallel=False)
    play.item(thought())
    play.start(0)
    take_over(play, way)
    calls = [FunctionCall(name, "exec_command", "{}") for name in ("c1", "c2")]
    assert play.state.history.texts() == [
        user("hi"),
        function_call("c1"),
        function_call("c2"),
        output_item(calls[0], texts.STOPPED),
        output_item(calls[1], texts.NEVER_STARTED),
        text_message("user", texts.TURN_ABORTED),
    ]
    assert play.state.turn is None


def test_a_prompt_whose_context_was_never_loaded_is_told_all_the_same() -> None:
    play = Play.started()
    play.say("hi")
    *_, recorded, ended = play.open("interrupt")
    marker = text_message("user", texts.TURN_ABORTED)
    assert recorded == ItemsRecorded(
        (RecordedItem("user", user("hi")), RecordedItem("turn_aborted", marker))
    )
    assert isinstance(ended, TurnEnded)


@pytest.mark.parametrize("policy", ["continue", "interrupt"])
def test_input_that_was_queued_at_shutdown_is_worked_at_the_next_opening(
    policy: OnRecovery,
) -> None:
    play = Play.started()
    play.ask("one")
    play.interrupt()
    assert play.say("two")[0] == InputQueued("op-3", "turn")
    play.op(Shutdown())
    play.settle(3)
    assert play.state.closed
    opened = [one for one in play.open(policy) if isinstance(one, TurnOpened)]
    assert [(one.turn, one.op_id) for one in opened] == [(2, "op-3")]


def test_a_fork_asks_again_for_what_its_parent_had_been_allowed() -> None:
    play = Play.started()
    plan = ToolPlan("exec_command", wants="outside", approval_key="rm")
    play.ask("one")
    play.item(function_call("c1"), plan)
    play.answer("approved_for_session")
    play.complete()
    play.finish(0)
    play.fork()
    play.open()
    play.ask("two")
    assert [type(one) for one in play.item(function_call("c2"), plan)] == [ApprovalAsked]


def test_a_fork_of_a_session_that_was_closing_stays_open() -> None:
    play = Play.started()
    play.ask("one")
    play.op(Shutdown())
    decided = play.fork()
    assert [type(one) for one in decided] == [EffectLost, ItemsRecorded, TurnEnded]
    assert not play.state.closing


def test_an_engine_takes_over_a_turn_that_was_already_stopping() -> None:
    play = Play.started()
    running_call(play, started=True)
    play.interrupt()
    decided = play.open("continue")
    assert [type(one) for one in decided] == [EffectLost, CallSettled, ItemsRecorded, TurnEnded]
    assert [one for one in decided if isinstance(one, TurnStopping)] == []


def test_an_effect_that_is_lost_where_no_turn_runs_is_passed_over() -> None:
    state = Play.started().state
    evolve(state, EffectLost(EffectId("7.tool.0")), time_us=state.time_us)
    assert (state.turn, state.outstanding) == (None, {})
