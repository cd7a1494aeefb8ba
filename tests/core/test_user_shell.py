"""The user's own commands: run once, and never told to the model."""

import pytest
from hypothesis import given

from tests.core.compacting import kinds
from tests.core.play import Play, known
from tests.strategies import sessions
from turnlog.actors.core.model_input import model_input
from turnlog.actors.core.rebuild import rebuild
from turnlog.protocol.events import (
    ContextAsked,
    EffectClosed,
    InputQueued,
    ModelAsked,
    OpRefused,
    ToolFinished,
    ToolStarted,
    TurnEnded,
    TurnOpened,
    UserShellAsked,
)
from turnlog.protocol.ops import RunUserShellCommand

SECRET = "secret"  # what the world's user runs, and what that prints


def running() -> Play:
    play = Play.started()
    play.talk("go", "done")
    play.op(RunUserShellCommand("make secret"))
    play.load()
    return play


def test_a_command_is_a_turn_of_its_own_that_the_model_never_hears_of() -> None:
    play = Play.started()
    play.talk("go", "done")
    before = play.state.history.texts()
    opened, _ = play.op(RunUserShellCommand("make secret"), "op-s")
    assert isinstance(opened, TurnOpened)
    assert (opened.op_id, opened.kind) == ("op-s", "shell")
    (asked,) = play.load()
    assert asked == UserShellAsked(play.the(UserShellAsked).effect, "make secret")
    assert play.the(UserShellAsked).command == "make secret"
    effect = play.the(UserShellAsked).effect
    assert play.send(ToolStarted(effect)) == []
    (ended,) = play.send(ToolFinished(effect, "done", "", "top secret"))
    assert isinstance(ended, TurnEnded)
    assert (ended.status, ended.last_agent_message) == ("completed", None)
    assert play.state.history.texts() == before
    asked_next = play.ask("next")[-1]
    assert isinstance(asked_next, ModelAsked)
    assert not any(SECRET in part for part in play.state.history.texts())


@pytest.mark.parametrize("command", ["", "  \n"])
def test_an_empty_command_does_nothing(command: str) -> None:
    play = Play.started()
    (refused,) = play.op(RunUserShellCommand(command), "op-s")
    assert refused == OpRefused("op-s", "empty_input", "there is nothing in this input")
    assert play.state.turns == 0


@pytest.mark.parametrize("started", [False, True])
def test_a_long_command_is_interrupted(*, started: bool) -> None:
    play = running()
    before = play.state.history.texts()
    effect = play.the(UserShellAsked).effect
    if started:
        play.send(ToolStarted(effect))
    assert kinds(play.interrupt()) == ["TurnStopping"]
    (ended,) = play.send(ToolFinished(effect, "cancelled", "", "half a secret"))
    assert isinstance(ended, TurnEnded)
    assert ended.status == "interrupted"
    assert play.state.history.texts() == before


def test_a_command_that_breaks_down_fails_its_turn_alone() -> None:
    play = running()
    decided = play.send(EffectClosed(play.the(UserShellAsked).effect, "crashed", "boom"))
    assert kinds(decided) == ["TurnStopping", "TurnEnded"]
    assert kinds(play.ask("next"))[-1] == "ModelAsked"


def test_a_command_during_a_turn_and_input_during_a_command_wait_for_their_turns() -> None:
    play = Play.started()
    play.ask("go")
    assert play.op(RunUserShellCommand("ls"), "op-s") == [InputQueued("op-s", "turn")]
    play.complete()
    play.load()
    assert play.say("next") == [InputQueued("op-3", "turn")]
    decided = play.close(play.the(UserShellAsked))
    assert kinds(decided) == ["TurnEnded", "TurnOpened", "ContextAsked"]


def test_a_command_is_never_run_again_by_an_engine_that_takes_over() -> None:
    play = running()
    assert kinds(play.open()) == ["EffectLost", "TurnStopping", "TurnEnded"]
    assert play.state.outstanding == {}


def test_a_command_that_was_not_begun_is_run_by_the_engine_that_takes_over() -> None:
    play = Play.started()
    play.op(RunUserShellCommand("ls"))
    assert kinds(play.open()) == ["EffectLost", "ContextAsked"]
    assert kinds(play.close(play.the(ContextAsked))) == ["UserShellAsked"]


def test_a_session_s_title_may_be_a_command() -> None:
    play = Play.started()
    play.op(RunUserShellCommand("make all"))
    assert play.state.summary is not None
    assert play.state.summary.title == "!make all"


@given(sessions())
def test_no_request_holds_a_command_of_the_user_s_or_its_output(play: Play) -> None:
    for at, event in enumerate(known(play.records), 1):
        if isinstance(event, ModelAsked | UserShellAsked):
            assert not any(SECRET in part for part in model_input(rebuild(play.records[:at])))
    assert not any(SECRET in part for part in play.state.history.texts())
