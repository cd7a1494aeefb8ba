"""Names and archives, and sessions that are opened to be looked after only."""

import pytest

from tests.core.compacting import kinds
from tests.core.play import SETTINGS, Play, function_call
from turnlog.actors.core.evolving.facts import NAME_LENGTH
from turnlog.protocol.calls import ToolPlan
from turnlog.protocol.events import (
    ApprovalAsked,
    ModelAsked,
    OpRefused,
    SessionClosed,
    ToolDispatched,
)
from turnlog.protocol.ops import (
    Archive,
    Compact,
    ExecApproval,
    Interrupt,
    Op,
    OverrideTurnContext,
    Redo,
    Review,
    RunUserShellCommand,
    SetName,
    Shutdown,
    Undo,
)
from turnlog.protocol.settings import SettingsUpdate

OUTSIDE = ToolPlan("exec_command", parallel=True, wants="outside", approval_key="rm")
WHY = "the session was opened to be looked after only; resume it to continue"


def name(play: Play) -> str:
    assert play.state.summary is not None
    return play.state.summary.name


def asking() -> Play:
    """Return a session whose turn waits for an answer."""
    play = Play.started()
    play.ask("go")
    play.item(function_call("c1"), OUTSIDE)
    play.complete()
    return play


def test_a_name_is_kept_on_one_line_and_not_too_long() -> None:
    play = Play.started()
    assert play.op(SetName("  the \n big one  ")) == []
    assert name(play) == "the big one"
    play.op(SetName("x" * 500))
    assert name(play) == "x" * NAME_LENGTH
    play.op(SetName(""))
    assert name(play) == ""


def test_a_name_can_be_given_while_a_turn_runs_and_disturbs_nothing() -> None:
    play = asking()
    before = dict(play.state.outstanding)
    assert play.op(SetName("busy")) == []
    assert (name(play), play.state.outstanding) == ("busy", before)


def test_a_session_is_archived_and_brought_back() -> None:
    play = Play.started()
    assert play.op(Archive()) == []
    assert play.state.summary is not None
    assert play.state.summary.archived
    assert play.op(Archive(archived=False)) == []
    assert not play.state.summary.archived


def test_a_fork_has_neither_the_name_nor_the_archiving_of_its_parent() -> None:
    play = Play.started()
    play.op(SetName("the first"))
    play.op(Archive())
    play.fork()
    assert play.state.summary is not None
    assert (play.state.summary.name, play.state.summary.archived) == ("", False)


# --- looked after ---------------------------------------------------------------------------------


def test_a_session_that_is_looked_after_stays_as_it_is() -> None:
    play = asking()
    before = dict(play.state.outstanding)
    assert play.open("leave") == []
    assert play.state.maintenance
    assert play.state.outstanding == before
    assert play.op(SetName("quiet")) == []
    assert play.op(OverrideTurnContext(SettingsUpdate(model="gpt-2"))) == []
    assert play.op(Shutdown()) == [SessionClosed()]
    assert play.op(Shutdown()) == []
    assert kinds(play.open()) == ["EffectLost", "ApprovalAsked"]
    assert not play.state.maintenance
    assert (name(play), play.state.settings and play.state.settings.model) == ("quiet", "gpt-2")


@pytest.mark.parametrize(
    "op", [Interrupt(), Compact(), Review("x"), Undo(), Redo(), RunUserShellCommand("ls")]
)
def test_what_would_continue_with_a_session_that_is_looked_after_is_refused(op: Op) -> None:
    play = asking()
    play.open("leave")
    assert play.op(op, "op-x") == [OpRefused("op-x", "not_resumed", WHY)]


def test_input_is_refused_too_and_not_lost_silently() -> None:
    play = asking()
    play.open("leave")
    assert kinds(play.say("more")) == ["OpRefused"]


def test_a_name_can_be_given_while_a_model_call_is_cut_off() -> None:
    play = Play.started()
    play.ask("go")
    play.open("leave")
    play.op(SetName("quiet"))
    play.op(Shutdown())
    assert kinds(play.open()) == ["EffectLost", "ModelAsked"]
    assert len(play.all(ModelAsked)) == 1


@pytest.mark.parametrize(
    ("decision", "then"),
    [
        ("approved", ["ToolDispatched"]),
        ("denied", ["ModelAsked"]),
        ("abort", ["CallSettled", "ItemsRecorded", "TurnEnded"]),
    ],
)
def test_an_answer_to_a_session_that_is_looked_after_counts_when_it_continues(
    decision: str, then: list[str]
) -> None:
    play = asking()
    play.open("leave")
    assert decision in ("approved", "denied", "abort")
    question = play.the(ApprovalAsked).question
    early = play.op(ExecApproval(question, decision))  # type: ignore[arg-type]
    assert (play.all(ToolDispatched), play.all(ModelAsked)) == ([], [])
    assert kinds(early) == {"approved": [], "denied": ["CallSettled"]}.get(
        decision, ["TurnStopping"]
    )
    assert kinds(play.open()) == then


def test_a_fork_of_a_session_that_is_looked_after_continues() -> None:
    play = asking()
    play.open("leave")
    play.fork()
    play.open()
    assert kinds(play.ask("go"))[-1] == "ModelAsked"
    assert play.state.settings == SETTINGS
