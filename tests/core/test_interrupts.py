"""Interrupts in every state: the order of events, and a next request that a provider takes."""

from collections.abc import Callable

import pytest
from hypothesis import given

from tests.core.compacting import ANSWER, grown, kinds, limited, told
from tests.core.oracle import assert_sound, assert_valid_input, whole_responses
from tests.core.play import SETTINGS, Play, function_call, said, thought
from tests.strategies import sessions
from turnlog.actors.core import texts
from turnlog.protocol.calls import ContextFragment, ModelFailure, SpawnAgent, ToolPlan
from turnlog.protocol.events import (
    CallSettled,
    ContextAsked,
    ContextLoaded,
    EffectClosed,
    ItemsRecorded,
    ModelAsked,
    ModelFailed,
    PrefixChanged,
    ScanAsked,
    TurnEnded,
    TurnStopping,
    WorkspaceScanned,
)
from turnlog.protocol.items import Message, encode_item
from turnlog.protocol.ops import OverrideTurnContext, Review, RunUserShellCommand, Shutdown
from turnlog.protocol.settings import AgentLimits, SettingsUpdate

OUTSIDE = ToolPlan("exec_command", parallel=True, wants="outside", approval_key="rm")
CANCELLED = ModelFailure("cancelled", "interrupted")


def loading() -> Play:
    play = Play.started()
    play.say("go")
    return play


def streaming() -> Play:
    play = Play.started()
    play.ask("go")
    play.item(said("first"))
    return play


def calling() -> Play:
    play = streaming()
    play.call("c1")
    play.start(0)
    return play


def questioned() -> Play:
    play = streaming()
    play.item(function_call("c1"), OUTSIDE)
    play.complete()
    return play


def retrying() -> Play:
    play = Play.started()
    play.ask("go")
    play.fail(ModelFailure("server_error", "503", "request"))
    return play


def compacting() -> Play:
    play = grown(limited(at_tokens=350))
    play.ask("go")
    return play


def leading() -> Play:
    play = Play.started(type(SETTINGS)("/work", "gpt-test", agents=AgentLimits(1, 1)))
    play.ask("go")
    play.agent_call("c1", SpawnAgent("do this"))
    play.complete()
    return play


def scanning() -> Play:
    play = Play.started(type(SETTINGS)("/work", "gpt-test", scan_workspace=True))
    play.ask("go")
    play.call("c1")
    play.complete()
    return play


def reviewing() -> Play:
    play = Play.started()
    play.op(Review("look"))
    play.load()
    return play


def shell() -> Play:
    play = Play.started()
    play.op(RunUserShellCommand("make"))
    play.load()
    return play


STATES = [
    *(loading, streaming, calling, questioned, retrying),
    *(compacting, leading, scanning, reviewing, shell),
]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("by", ["interrupt", "shutdown"])
def test_a_turn_in_any_state_stops_then_ends_once_nothing_of_it_is_open(
    state: Callable[[], Play], by: str
) -> None:
    play = state()
    decided = play.interrupt() if by == "interrupt" else play.op(Shutdown())
    assert decided == [TurnStopping("interrupted")]
    assert play.say("meanwhile") != []
    while len(play.state.outstanding) > 1:
        decided = play.close(next(iter(play.state.outstanding.values())))
        assert "TurnEnded" not in kinds(decided)
    decided = play.close(next(iter(play.state.outstanding.values())))
    ended = next(one for one in decided if isinstance(one, TurnEnded))
    assert (ended.status, ended.error) == ("interrupted", None)
    assert_sound(play)
    assert_valid_input(play.state.history.texts(), whole_responses(play.events))
    assert ("SessionClosed" in kinds(decided)) == (by == "shutdown")


@pytest.mark.parametrize("state", [loading, streaming, calling, questioned, retrying, compacting])
def test_the_model_is_told_that_the_user_stopped_it(state: Callable[[], Play]) -> None:
    play = state()
    play.interrupt()
    play.settle(5)
    assert told(play)[-1] == texts.TURN_ABORTED


def test_an_aborted_turn_settles_its_calls_then_marks_it_then_ends() -> None:
    play = streaming()
    play.item(function_call("c1"), ToolPlan("exec_command"))
    play.item(function_call("c2"), ToolPlan("exec_command"))
    play.start(0)
    play.complete()
    play.interrupt()
    decided = play.close(next(iter(play.state.outstanding.values())))
    assert decided[:2] == [
        CallSettled(0, "c1", "stopped", texts.STOPPED, "called exec_command {} (stopped)"),
        CallSettled(1, "c2", "never_started", texts.NEVER_STARTED),
    ]
    assert kinds(decided[2:]) == ["ItemsRecorded", "TurnEnded"]
    assert isinstance(decided[2], ItemsRecorded)
    assert [item.kind for item in decided[2].items] == ["turn_aborted"]


def test_what_had_been_said_is_kept_but_not_reasoning_that_led_to_nothing() -> None:
    play = streaming()
    play.item(thought("t"))
    play.interrupt()
    decided = play.send(ModelFailed(play.the(ModelAsked).effect, CANCELLED, "half a"))
    assert kinds(decided) == ["ResponseAbandoned", "ItemsRecorded", "TurnEnded"]
    assert told(play) == ["go", "first", texts.TURN_ABORTED]
    ended = decided[-1]
    assert isinstance(ended, TurnEnded)
    assert ended.last_agent_message == "first"


def test_a_response_that_is_whole_when_the_interrupt_comes_is_kept() -> None:
    play = streaming()
    play.interrupt()
    assert kinds(play.complete()) == ["ItemsRecorded", "TurnEnded"]
    assert told(play) == ["go", "first", texts.TURN_ABORTED]


def test_a_tool_that_finishes_while_the_turn_stops_keeps_its_output() -> None:
    play = calling()
    play.complete()
    play.interrupt()
    play.finish(0, "made it")
    assert "made it" in play.state.history.texts()[-2]


def test_a_failed_turn_is_not_said_to_be_the_user_s_doing() -> None:
    play = streaming()
    play.fail(ModelFailure("bad_request", "no"))
    assert texts.TURN_ABORTED not in told(play)


@given(sessions(most_facts=20))
def test_an_interrupt_at_any_event_leaves_a_session_whose_next_request_is_valid(
    play: Play,
) -> None:
    for at in play.ends[1:]:
        cut = play.cut(at)
        if cut.state.maintenance or cut.state.closed:
            cut.open()
        cut.interrupt()
        cut.settle(200)
        assert_sound(cut)
        if cut.state.closed:
            cut.open()
            cut.settle(200)
        cut.limits = None
        cut.ask("and now")
        asked = cut.events[-1]
        assert isinstance(asked, ModelAsked)
        assert asked.parts == len(cut.state.history.parts)
        assert_valid_input(cut.state.history.texts(), whole_responses(cut.events))


# --- the surroundings that tools wait for ---------------------------------------------------------


def test_tools_wait_until_the_files_of_their_turn_are_kept() -> None:
    play = scanning()
    scan = play.the(ScanAsked).effect
    assert kinds(play.send(WorkspaceScanned(scan, 3, 0))) == ["ToolDispatched"]
    play.finish(0)
    assert kinds(play.call("c2")) == ["ToolDispatched"]  # kept once a turn


def test_tools_run_without_a_way_back_if_the_files_cannot_be_kept() -> None:
    play = scanning()
    decided = play.send(EffectClosed(play.the(ScanAsked).effect, "failed", "no room"))
    assert kinds(decided) == ["ToolDispatched"]


def test_the_files_are_kept_by_the_engine_that_takes_over_if_they_were_not_yet() -> None:
    play = scanning()
    assert kinds(play.open()) == ["EffectLost", "ScanAsked"]
    decided = play.send(WorkspaceScanned(play.the(ScanAsked).effect, 3, 0))
    assert kinds(decided) == ["ToolDispatched"]


# --- what makes a request begin otherwise than the last -------------------------------------------


def changed(play: Play, tools: str = "[]") -> tuple[str, ...]:
    """Start a turn with these tools; return why its request begins otherwise."""
    play.say("go")
    assert play.state.turn is not None
    loaded = ContextLoaded(
        play.the(ContextAsked).effect,
        play.turn_settings(),
        tools,
        (ContextFragment("environment", "user", "/a"),),
        encode_item(Message("user", [])),
    )
    decided = play.send(loaded)
    play.complete()
    return next((one.causes for one in decided if isinstance(one, PrefixChanged)), ())


def test_a_change_of_model_or_tools_is_an_event_with_its_cause() -> None:
    play = Play.started()
    assert changed(play) == ()
    assert changed(play) == ()
    assert changed(play, '[{"name":"new"}]') == ("tools",)
    play.op(OverrideTurnContext(SettingsUpdate(model="gpt-2")))
    assert changed(play, '[{"name":"new"}]') == ("model",)
    play.op(OverrideTurnContext(SettingsUpdate(model="gpt-3")))
    assert changed(play) == ("model", "tools")
    play.open()
    play.fork()
    play.open()
    assert changed(play) == ()


def test_a_compaction_and_an_undo_are_breaks_that_need_no_other_event() -> None:
    play = grown()
    play.undo()
    assert kinds(play.ask("go")) == ["TurnOpened", "ContextAsked", "ItemsRecorded", "ModelAsked"]
    assert ANSWER in told(play)[1]
