"""Sub-agents: started, told, waited for, closed; and each end told to the model exactly once."""

import pytest
from msgspec import structs

from tests.core.compacting import kinds
from tests.core.leading import TWO, answer, end, notes, spawn, talking, with_agent
from tests.core.play import SESSION, SETTINGS, Play, said
from turnlog.actors.core.snapshot import Restoration, snapshot
from turnlog.protocol.calls import (
    AgentRequest,
    AwaitAgents,
    CloseAgent,
    ListAgents,
    SpawnAgent,
    TellAgent,
)
from turnlog.protocol.events import (
    AgentsAwaited,
    CallSettled,
    ChildAsked,
    ChildStopping,
    ChildTold,
    EffectClosed,
    EffectDone,
    ModelAsked,
    TimerFired,
    TurnEnded,
)
from turnlog.protocol.ids import EffectId, SessionId
from turnlog.protocol.settings import AgentLimits

# --- started --------------------------------------------------------------------------------------


def test_an_agent_is_started_with_the_turn_s_settings_and_the_call_answered_at_once() -> None:
    play = talking()
    request = SpawnAgent("look around", "scout", "gpt-small", "low")
    asked, settled = play.agent_call("c1", request)
    assert isinstance(asked, ChildAsked)
    settings = structs.replace(TWO, model="gpt-small", reasoning_effort="low", depth=1)
    assert asked == ChildAsked(
        play.the(ChildAsked).effect, asked.child, "agent", "scout", 1, "look around", settings
    )
    assert answer([settled]) == {"agent_id": asked.child, "nickname": "scout"}


def test_agents_without_a_name_are_numbered() -> None:
    play = talking()
    names = [answer(play.agent_call(f"c{n}", SpawnAgent("go")))["nickname"] for n in (1, 2)]
    assert names == ["agent-1", "agent-2"]


def test_the_model_continues_while_its_agents_work() -> None:
    play = talking()
    spawn(play)
    (asked,) = play.complete()
    assert isinstance(asked, ModelAsked)
    assert (asked.request, len(play.all(ChildAsked))) == (2, 1)


def test_no_more_agents_run_than_may_and_the_model_can_read_why() -> None:
    play = talking()
    spawn(play, "c1")
    spawn(play, "c2")
    assert answer(play.agent_call("c3", SpawnAgent("go"))) == {
        "error": "2 agents are running, which is the most; wait for one of them, or close one"
    }
    assert len(play.all(ChildAsked)) == 2


def test_an_agent_that_is_idle_makes_room_for_another() -> None:
    play, child = with_agent(structs.replace(SETTINGS, agents=AgentLimits(1, 1)))
    end(play, child)
    assert spawn(play, "c2") != child


def test_agents_nest_no_deeper_than_they_may() -> None:
    play = talking(structs.replace(TWO, depth=1))
    assert answer(play.agent_call("c1", SpawnAgent("go"))) == {
        "error": "agents nest 1 deep at most: do this yourself"
    }


# --- told -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("interrupt", [False, True])
def test_an_agent_that_works_is_steered(*, interrupt: bool) -> None:
    play, child = with_agent()
    request = TellAgent(child, "hurry", interrupt)
    told_child, settled = play.agent_call("c2", request)
    assert told_child == ChildTold(
        play.the(ChildTold).effect,
        SessionId(child),
        f"{SESSION}/{play.state.facts}/1",
        "hurry",
        interrupt,
    )
    assert answer([settled]) == {"agent_id": child, "status": "running"}
    assert kinds(play.complete()) == ["ModelAsked"]  # which does not wait for it
    assert play.send(EffectDone(play.the(ChildTold).effect)) == []


def test_an_agent_that_is_idle_is_set_to_work_again() -> None:
    play, child = with_agent()
    end(play, child)
    play.complete()  # its end is told
    asked, settled = play.agent_call("c2", TellAgent(child, "and that"))
    assert isinstance(asked, ChildAsked)
    assert (asked.child, asked.run, asked.prompt) == (child, 2, "and that")
    assert answer([settled]) == {"agent_id": child, "status": "running"}


def test_an_end_that_nobody_heard_of_is_told_before_the_agent_works_again() -> None:
    play, child = with_agent()
    end(play, child)
    answered = answer(play.agent_call("c2", TellAgent(child, "and that")))
    assert answered["previous"] == {"completed": "found it"}
    play.complete()
    assert notes(play) == []


def test_an_agent_is_not_set_to_work_where_too_many_run() -> None:
    play, child = with_agent(structs.replace(SETTINGS, agents=AgentLimits(1, 1)))
    end(play, child)
    spawn(play, "c2")
    assert "1 agents are running" in answer(play.agent_call("c3", TellAgent(child, "go")))["error"]


def test_a_word_to_an_agent_that_has_just_come_to_rest_sets_it_to_work_again() -> None:
    play, child = with_agent()
    play.agent_call("c2", TellAgent(child, "hurry"))
    end(play, child)
    effect = play.the(ChildTold).effect
    (asked,) = play.send(EffectClosed(effect, "failed", "it is idle"))
    assert isinstance(asked, ChildAsked)
    assert (asked.child, asked.run, asked.prompt) == (child, 2, "hurry")
    end(play, child, output="found more")
    play.complete()
    assert [note["status"] for note in notes(play)] == [{"completed": "found it\n\nfound more"}]


def test_a_word_that_came_before_the_agent_began_is_told_again() -> None:
    play, child = with_agent()
    play.agent_call("c2", TellAgent(child, "hurry"))
    word = play.the(ChildTold)
    (again,) = play.send(EffectClosed(word.effect, "failed", "it is idle"))
    assert again == structs.replace(word, effect=play.the(ChildTold).effect)


def test_a_word_to_an_agent_that_was_closed_meanwhile_is_gone() -> None:
    play, child = with_agent()
    play.agent_call("c2", TellAgent(child, "hurry"))
    play.agent_call("c3", CloseAgent(child))
    end(play, child, "interrupted")
    assert play.send(EffectClosed(play.the(ChildTold).effect, "failed", "it is idle")) == []


def test_a_word_after_an_end_that_nobody_heard_of_is_answered_with_it() -> None:
    play, child = with_agent()
    play.agent_call("c2", TellAgent(child, "hurry"))
    end(play, child)
    play.send(EffectClosed(play.the(ChildTold).effect, "failed", "it is idle"))
    answered = answer(play.agent_call("c3", TellAgent(child, "more")))
    assert answered["previous"] == {"running": "found it"}
    end(play, child, output="found more")
    play.complete()
    assert [note["status"] for note in notes(play)] == [{"completed": "found more"}]


@pytest.mark.parametrize("request_", [TellAgent("nobody", "hi"), CloseAgent("nobody")])
def test_an_agent_that_is_not_there_is_named_with_those_that_are(request_: AgentRequest) -> None:
    play = talking()
    why = "there is no agent 'nobody' here; there are: none"
    assert answer(play.agent_call("c1", request_)) == {"error": why}
    child = spawn(play, "c2")
    why = f"there is no agent 'nobody' here; there are: {child}"
    assert answer(play.agent_call("c3", request_)) == {"error": why}


# --- waited for -----------------------------------------------------------------------------------


def test_a_call_that_waits_is_answered_by_the_first_end() -> None:
    play = talking()
    first, second = spawn(play, "c1"), spawn(play, "c2")
    (awaited,) = play.agent_call("c3", AwaitAgents((first, second), 5000))
    wait = play.the(AgentsAwaited)
    assert awaited == AgentsAwaited(wait.effect, 2, "c3", 5000)
    assert play.complete() == []
    settled, model = end(play, second)
    assert answer([settled]) == {
        "status": {second: {"completed": "found it"}},
        "timed_out": False,
    }
    assert isinstance(model, ModelAsked)
    assert play.all(AgentsAwaited) == []
    assert notes(play) == []


def test_an_agent_that_is_idle_already_is_not_waited_for() -> None:
    play, child = with_agent()
    end(play, child)
    assert answer(play.agent_call("c2", AwaitAgents((child,), 5000))) == {
        "status": {child: {"completed": "found it"}},
        "timed_out": False,
    }


def test_the_end_that_a_call_was_answered_with_at_once_is_not_told_again() -> None:
    play, child = with_agent()
    end(play, child)
    play.agent_call("c2", AwaitAgents((child,), 5000))
    assert kinds(play.complete()) == ["ModelAsked"]
    assert notes(play) == []
    assert kinds(play.complete()) == ["TurnEnded"]


def test_a_wait_that_takes_too_long_is_answered_and_the_agent_works_on() -> None:
    play, child = with_agent()
    play.agent_call("c2", AwaitAgents((child,), 5000))
    play.complete()
    settled, model = play.send(TimerFired(play.the(AgentsAwaited).effect))
    assert answer([settled]) == {"status": {}, "timed_out": True}
    assert isinstance(model, ModelAsked)
    assert len(play.all(ChildAsked)) == 1


def test_a_wait_for_nobody_is_answered_with_an_error_and_tells_nothing() -> None:
    play, child = with_agent()
    end(play, child)
    answered = answer(play.agent_call("c2", AwaitAgents((child, "nobody"), 5000)))
    assert answered == {"error": f"there is no agent 'nobody' here; there are: {child}"}
    play.complete()
    assert [note["agent_id"] for note in notes(play)] == [child]


def test_two_calls_that_wait_for_one_agent_are_both_answered() -> None:
    play, child = with_agent()
    play.agent_call("c2", AwaitAgents((child,), 5000))
    play.agent_call("c3", AwaitAgents((child,), 9000))
    settled = [one for one in end(play, child) if isinstance(one, CallSettled)]
    assert [one.call_id for one in settled] == ["c2", "c3"]
    assert "found it" in settled[0].output


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ("completed", {"completed": "found it"}),
        ("failed", {"failed": "server_error: 503"}),
        ("interrupted", "interrupted"),
    ],
)
def test_the_model_is_told_how_an_agent_ended(status: str, shown: object) -> None:
    play, child = with_agent()
    end(play, child, status)
    play.complete()
    assert notes(play) == [{"agent_id": child, "nickname": "agent-1", "status": shown}]


# --- told once ------------------------------------------------------------------------------------


def test_an_end_while_the_model_speaks_is_told_with_the_next_request() -> None:
    play, child = with_agent()
    assert end(play, child) == []
    play.item(said("let me see"))
    recorded, asked = play.complete()
    assert kinds([recorded, asked]) == ["ItemsRecorded", "ModelAsked"]
    assert kinds(play.complete()) == ["TurnEnded"]
    assert len(notes(play)) == 1


def test_a_turn_ends_only_when_its_agents_rest_and_their_ends_are_told() -> None:
    play, child = with_agent()
    play.item(said("started"))
    assert play.complete() == []
    assert kinds(end(play, child)) == ["ItemsRecorded", "ModelAsked"]
    play.item(said("all done"))
    (ended,) = play.complete()
    assert isinstance(ended, TurnEnded)
    assert ended.last_agent_message == "all done"


def test_input_while_only_agents_work_is_told_at_once() -> None:
    play, _ = with_agent()
    play.complete()
    assert kinds(play.say("word")) == ["InputQueued", "ItemsRecorded", "ModelAsked"]


@pytest.mark.parametrize("heard_by", ["wait", "note"])
def test_no_engine_that_takes_over_tells_an_end_again(heard_by: str) -> None:
    play, child = with_agent()
    if heard_by == "wait":
        play.agent_call("c2", AwaitAgents((child,), 5000))
    end(play, child)
    play.complete()
    for _ in range(2):
        play.open()
    play.settle(5)
    assert len(notes(play)) == (heard_by == "note")
    assert sum("found it" in text for text in play.state.history.texts()) == 1


def test_an_end_that_is_not_told_yet_survives_a_crash() -> None:
    play, child = with_agent()
    end(play, child)
    play.open()
    assert [note["status"] for note in notes(play)] == [{"completed": "found it"}]


@pytest.mark.parametrize("crashed", [False, True])
def test_an_end_that_is_not_told_yet_is_in_a_snapshot(*, crashed: bool) -> None:
    """It happens where the turn could not record it: a step that failed ended it."""
    play, child = with_agent()
    if crashed:
        play.send(EffectClosed(play.the(ChildAsked).effect, "crashed", "boom"))
    else:
        end(play, child)
    unreported = unreported_of(play, child)
    play.state.turn, play.state.outstanding = None, {}
    data = snapshot(play.state)
    assert data is not None
    restoration = Restoration.begin(data)
    assert restoration is not None
    restoration.take(play.records)
    restored = restoration.finish()
    assert restored is not None
    assert (restored.agents, restored.results) == unreported
    assert restored == play.state


def unreported_of(play: Play, child: str) -> tuple[object, object]:
    assert SessionId(child) in play.state.results
    return dict(play.state.agents), dict(play.state.results)


# --- closed and listed ----------------------------------------------------------------------------


def test_an_agent_that_works_is_closed_by_stopping_it() -> None:
    play, child = with_agent()
    stopping, settled = play.agent_call("c2", CloseAgent(child))
    assert stopping == ChildStopping(play.the(ChildAsked).effect, SessionId(child))
    assert answer([settled]) == {"agent_id": child, "previous_status": "running"}
    end(play, child, "interrupted")
    play.complete()
    assert [note["status"] for note in notes(play)] == ["interrupted"]


def test_an_agent_that_is_idle_is_closed_and_takes_no_more_work() -> None:
    play, child = with_agent()
    end(play, child)
    stopping, settled = play.agent_call("c2", CloseAgent(child))
    assert stopping == ChildStopping(EffectId(""), SessionId(child))
    assert answer([settled]) == {"agent_id": child, "previous_status": "completed"}
    requests: tuple[AgentRequest, ...] = (TellAgent(child, "go"), CloseAgent(child))
    for number, request in enumerate(requests, 3):
        answered = answer(play.agent_call(f"c{number}", request))
        assert answered == {"error": f"agent {child} was closed"}


def test_agents_are_listed_with_what_they_do_and_what_they_used() -> None:
    play = talking()
    names = [spawn(play, f"c{number}") for number in (1, 2)]
    end(play, names[0])
    third = spawn(play, "c3")
    play.agent_call("c4", CloseAgent(names[0]))
    play.agent_call("c5", CloseAgent(third))
    listed = answer(play.agent_call("c6", ListAgents()))["agents"]
    rows = [(one["agent_id"], one["nickname"], one["status"], one["tokens"]) for one in listed]
    assert rows == [
        (names[0], "agent-1", "closed", 110),
        (names[1], "agent-2", "running", 0),
        (third, "agent-3", "running", 0),
    ]
