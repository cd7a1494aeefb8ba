"""When calls start, in which order the model is told of them, and calls that end badly."""

from typing import Literal

import pytest

from tests.core.play import Play, custom_call, function_call, user
from turnlog.actors.core import texts
from turnlog.protocol.calls import ErrorInfo, ToolPlan
from turnlog.protocol.events import (
    CallOutcome,
    CallSettled,
    EffectClosed,
    ModelAsked,
    SessionDecision,
    ToolDispatched,
    ToolFinished,
    TurnEnded,
    TurnStopping,
)
from turnlog.protocol.items import CustomToolCall, FunctionCall, output_item


def asking() -> Play:
    play = Play.started()
    play.ask("hi")
    return play


def started(decisions: list[SessionDecision]) -> list[str]:
    return [one.call_id for one in decisions if isinstance(one, ToolDispatched)]


def test_a_call_starts_while_the_response_is_still_coming() -> None:
    assert started(asking().call("c1")) == ["c1"]


def test_calls_that_may_overlap_run_together_and_exclusive_ones_alone() -> None:
    play = asking()
    assert started(play.call("p1")) == ["p1"]
    assert started(play.call("p2")) == ["p2"]
    assert started(play.call("x3", parallel=False)) == []
    assert started(play.call("p4")) == []  # an earlier exclusive call comes first
    assert started(play.finish(1)) == []
    assert started(play.finish(0)) == ["x3"]
    assert started(play.finish(2)) == ["p4"]


def test_outputs_stand_in_call_order_whatever_ended_first() -> None:
    play = asking()
    play.call("c1")
    play.item(custom_call("c2"), ToolPlan("apply_patch", parallel=True))
    play.complete()
    assert play.finish(1, "second") == []
    (asked,) = play.finish(0, "first")
    assert isinstance(asked, ModelAsked)
    assert play.state.history.texts() == [
        user("hi"),
        function_call("c1"),
        custom_call("c2"),
        output_item(FunctionCall("c1", "exec_command", "{}"), "first"),
        output_item(CustomToolCall("c2", "apply_patch", "*** Begin Patch"), "second"),
    ]


def test_the_model_is_told_the_preamble_and_the_output_joined() -> None:
    play = asking()
    play.call("c1")
    play.complete()
    play.send(ToolFinished(play.tool(0), "failed", "exit code 1\n", "no such file"))
    call = FunctionCall("c1", "exec_command", "{}")
    assert play.state.history.texts()[-1] == output_item(call, "exit code 1\nno such file")


def test_calls_that_end_while_the_response_is_coming_wait_for_its_end() -> None:
    play = asking()
    play.call("c1")
    assert play.finish(0) == []
    assert play.state.history.texts() == [user("hi")]
    assert [type(one) for one in play.complete()] == [ModelAsked]


def test_calls_are_numbered_through_the_turn() -> None:
    play = asking()
    for number in range(3):
        (dispatched,) = play.call(f"c{number}")
        assert isinstance(dispatched, ToolDispatched)
        assert dispatched.call == number
        play.complete()
        play.finish(number)


@pytest.mark.parametrize("ran", [True, False])
def test_a_tool_that_crashes_fails_the_turn_and_the_model_is_told(ran: bool) -> None:
    play = asking()
    play.call("c1")
    play.complete()
    if ran:
        play.start(0)
    settled, stopping, ended = play.send(EffectClosed(play.tool(0), "crashed", "KeyError: x"))
    output = texts.CRASHED.format(message="KeyError: x")
    outcome: CallOutcome = "stopped" if ran else "unknown"
    note = f"called exec_command {{}} ({outcome})"
    assert settled == CallSettled(0, "c1", outcome, output, note)
    assert stopping == TurnStopping("failed", ErrorInfo("crashed", "KeyError: x"))
    assert isinstance(ended, TurnEnded)


def test_a_tool_that_fails_without_a_result_lets_the_turn_continue() -> None:
    play = asking()
    play.call("c1")
    play.complete()
    settled, asked = play.send(EffectClosed(play.tool(0), "failed", "no disk"))
    assert isinstance(settled, CallSettled)
    assert isinstance(asked, ModelAsked)


@pytest.mark.parametrize(
    ("ran", "outcome", "text"),
    [(True, "stopped", texts.STOPPED), (False, "never_started", texts.NEVER_STARTED)],
)
def test_an_interrupted_call_is_settled_by_whether_it_had_touched_the_world(
    ran: bool, outcome: Literal["stopped", "never_started"], text: str
) -> None:
    play = asking()
    play.call("c1")
    play.complete()
    if ran:
        play.start(0)
    play.interrupt()
    decided = play.close(play.the(ToolDispatched))
    note = f"called exec_command {{}} ({outcome})" if outcome == "stopped" else ""
    assert decided[0] == CallSettled(0, "c1", outcome, text, note)
    assert isinstance(decided[-1], TurnEnded)


def test_a_call_that_is_cancelled_though_nobody_stopped_the_turn_is_never_run_again() -> None:
    play = asking()
    play.call("c1")
    play.complete()
    decided = play.send(EffectClosed(play.tool(0), "cancelled", "lost"))
    assert decided[:2] == [
        TurnStopping("failed", ErrorInfo("cancelled", "lost")),
        CallSettled(0, "c1", "never_started", texts.NEVER_STARTED),
    ]
    assert isinstance(decided[-1], TurnEnded)


def test_a_stopped_tool_may_still_say_what_it_printed() -> None:
    play = asking()
    play.call("c1")
    play.complete()
    play.interrupt()
    play.send(ToolFinished(play.tool(0), "cancelled", "stopped after 2 s\n", "half"))
    call = FunctionCall("c1", "exec_command", "{}")
    assert output_item(call, "stopped after 2 s\nhalf") in play.state.history.texts()


def test_no_call_starts_once_the_turn_is_stopping() -> None:
    play = asking()
    play.interrupt()
    assert started(play.call("c1")) == []
