"""Agents whose turn is interrupted, whose engine is gone, or whose session is forked."""

from collections.abc import Iterator

import pytest
from msgspec import structs

from tests.core.compacting import kinds
from tests.core.leading import TWO, answer, end, notes, spawn, talking, with_agent
from tests.core.play import Play, function_call
from turnlog.actors.core import model_call, turn
from turnlog.protocol.calls import (
    AwaitAgents,
    CloseAgent,
    ListAgents,
    ModelFailure,
    SpawnAgent,
    TellAgent,
    ToolPlan,
)
from turnlog.protocol.events import (
    AgentsAwaited,
    ApprovalAsked,
    ChildAsked,
    ChildStopping,
    ChildTold,
    EffectClosed,
    ModelAsked,
    SessionDecision,
    TurnEnded,
)
from turnlog.protocol.ids import SessionId
from turnlog.protocol.ops import TextInput, UserInput
from turnlog.protocol.settings import AgentLimits, TurnSettings, UnansweredPolicy


def test_an_interrupt_ends_the_turn_only_once_every_agent_is_gone() -> None:
    play = talking()
    first, second = spawn(play, "c1"), spawn(play, "c2")
    play.agent_call("c3", AwaitAgents((first,), 5000))
    play.interrupt()
    for effect in (play.the(ModelAsked).effect, play.the(AgentsAwaited).effect):
        assert "TurnEnded" not in kinds(play.send(EffectClosed(effect, "cancelled")))
    (settled,) = end(play, first, "interrupted")
    assert answer([settled]) == {"status": {first: "interrupted"}, "timed_out": False}
    assert kinds(end(play, second, "interrupted")) == ["ItemsRecorded", "TurnEnded"]
    assert [(note["agent_id"], note["status"]) for note in notes(play)] == [(second, "interrupted")]


def test_a_crash_while_a_call_waits_tells_how_the_agent_ended_and_nothing_else() -> None:
    play, child = with_agent()
    play.agent_call("c1", AwaitAgents((child,), 5000))
    play.complete()
    play.open("interrupt")
    settled, *_ = end(play, child, "completed")
    assert answer([settled]) == {"status": {child: {"completed": "found it"}}, "timed_out": False}
    assert notes(play) == []


def test_an_agent_that_cannot_be_reached_has_failed() -> None:
    play, child = with_agent()
    assert play.send(EffectClosed(play.the(ChildAsked).effect, "crashed", "boom")) == []
    play.complete()
    assert notes(play) == [{"agent_id": child, "nickname": "agent-1", "status": {"failed": ""}}]


def test_an_agent_whose_task_was_cancelled_was_interrupted() -> None:
    play, _ = with_agent()
    play.interrupt()
    play.settle(4)
    assert [note["status"] for note in notes(play)] == ["interrupted"]


def test_a_call_whose_wait_breaks_down_ends_the_turn_and_every_end_is_told() -> None:
    play, child = with_agent()
    play.agent_call("c2", AwaitAgents((child,), 5000))
    play.complete()
    decided = play.send(EffectClosed(play.the(AgentsAwaited).effect, "crashed", "boom"))
    assert kinds(decided) == ["TurnStopping"]
    settled, ended = end(play, child)
    assert answer([settled])["status"] == {child: {"completed": "found it"}}
    assert isinstance(ended, TurnEnded)
    assert ended.status == "failed"


def test_an_engine_that_takes_over_asks_for_the_same_run_again() -> None:
    play, child = with_agent()
    first = play.the(ChildAsked)
    play.agent_call("c2", TellAgent(child, "hurry"))
    word = play.the(ChildTold)
    play.agent_call("c3", AwaitAgents((child,), 5000))
    play.complete()
    decided = play.open()
    assert kinds(decided) == ["EffectLost"] * 3 + ["ChildAsked", "ChildTold", "AgentsAwaited"]
    again, told_again = play.the(ChildAsked), play.the(ChildTold)
    assert structs.replace(again, effect=first.effect) == first
    assert structs.replace(told_again, effect=word.effect) == word
    assert again.effect != first.effect
    end(play, child)
    assert sum("found it" in part for part in play.state.history.texts()) == 1


def test_an_agent_that_was_being_closed_is_stopped_again() -> None:
    play, child = with_agent()
    play.agent_call("c2", CloseAgent(child))
    play.complete()
    decided = play.open()
    effect = play.the(ChildAsked).effect
    assert ChildStopping(effect, SessionId(child)) in decided


def test_an_engine_that_interrupts_waits_for_the_agents_of_the_one_before() -> None:
    play, child = with_agent()
    decided = play.open("interrupt")
    assert kinds(decided) == ["EffectLost"] * 2 + ["TurnStopping", "ChildAsked"]
    assert kinds(end(play, child)) == ["ItemsRecorded", "TurnEnded"]


def test_a_fork_has_no_agents() -> None:
    play, child = with_agent()
    play.agent_call("c2", AwaitAgents((child,), 5000))
    play.complete()
    decided = play.fork()
    assert kinds(decided)[:2] == ["EffectLost", "EffectLost"]
    assert kinds(decided)[2:] == ["TurnStopping", "CallSettled", "ItemsRecorded", "TurnEnded"]
    assert (play.state.agents, play.state.results, play.state.outstanding) == ({}, {}, {})
    play.open()
    play.ask("go")
    assert answer(play.agent_call("c3", ListAgents())) == {"agents": []}


def test_effects_that_are_asked_for_again_share_no_name_with_new_ones() -> None:
    play = Play.started(structs.replace(TWO, agents=AgentLimits(3, 1)))
    parks = UnansweredPolicy("park", "park")
    play.limits = TurnSettings(play.turn_settings().session, unanswered=parks)
    play.ask("go")
    spawn(play, "c0")
    spawn(play, "c1")
    play.item(function_call("c2"), ToolPlan("exec_command", wants="outside"))
    play.send(EffectClosed(play.the(ApprovalAsked).effect, "failed"))
    assert play.agent_call("c3", SpawnAgent("go")) == []  # the session is about to close
    play.complete()
    asked = [one.effect for one in play.open() if isinstance(one, ChildAsked)]
    assert len(set(asked)) == 3


def test_what_waits_for_its_turn_begins_after_a_step_that_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    play = talking()
    play.op(UserInput((TextInput("then this"),), queue=True))

    def broken(*_: object) -> Iterator[SessionDecision]:
        raise RuntimeError("boom")

    with monkeypatch.context() as patched:
        patched.setattr(model_call, "failed", broken)
        decided = play.fail(ModelFailure("server_error", "503"))
    assert kinds(decided) == ["StepFailed", "TurnOpened", "ContextAsked"]


def test_a_step_that_fails_leaves_no_agent_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    play, child = with_agent()

    def broken(_: object) -> Iterator[SessionDecision]:
        raise RuntimeError("boom")

    with monkeypatch.context() as patched:
        patched.setattr(turn, "advance", broken)
        assert kinds(play.complete()) == ["StepFailed", "StepFailed"]  # so does what follows it
    assert play.state.agents[SessionId(child)].status == "failed"
    play.ask("go")
    assert notes(play) == [{"agent_id": child, "nickname": "agent-1", "status": {"failed": ""}}]
