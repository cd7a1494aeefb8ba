"""Undo and redo: turns are dropped, files are asked for, and nothing undone reaches the model."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.core.compacting import ANSWER, grown, kinds, limited, told
from tests.core.play import Play, function_call, said
from tests.strategies import sessions
from turnlog.actors.core import texts
from turnlog.actors.core.rebuild import rebuild
from turnlog.actors.core.snapshot import Restoration, snapshot
from turnlog.protocol.calls import ContextFragment, ModelFailure, ToolPlan
from turnlog.protocol.events import (
    Compacted,
    ContextAsked,
    EffectClosed,
    EffectLost,
    ModelAsked,
    OpRefused,
    TurnEnded,
    TurnOpened,
    TurnsDropped,
    UndoAsked,
)
from turnlog.protocol.ops import Compact, Redo, Review, RunUserShellCommand, Undo

RUNS = "a turn runs; interrupt it first"
FIRST = ["1 prompt", f"1 {ANSWER}"]
SECOND = ["2 prompt", f"2 {ANSWER}"]
THIRD = ["3 prompt", f"3 {ANSWER}"]


def lived(turns: int = 3) -> Play:
    """Return an idle session after so many turns."""
    play = Play.started(limits=limited())
    for number in range(1, turns + 1):
        play.talk(f"{number} prompt", f"{number} {ANSWER}")
    return play


def compact(play: Play) -> None:
    play.op(Compact())
    play.load()
    play.summarize("in short")


def redo(play: Play) -> None:
    play.op(Redo())
    play.load()
    play.restore()


# --- turns ----------------------------------------------------------------------------------------


def test_an_undo_is_a_turn_of_its_own_that_drops_the_last_one() -> None:
    play = lived()
    third = [e.turn if isinstance(e, TurnOpened) else 0 for e in play.events].index(3)
    opened, _ = play.op(Undo(), "op-u")
    assert isinstance(opened, TurnOpened)
    assert (opened.turn, opened.op_id, opened.kind) == (4, "op-u", "undo")
    (asked,) = play.load()
    effect = play.the(UndoAsked).effect
    assert asked == UndoAsked(effect, third, 1, True, True, False, 4)
    dropped, ended = play.restore()
    assert dropped == TurnsDropped(1, 4)
    assert isinstance(ended, TurnEnded)
    assert (ended.status, ended.last_agent_message) == ("completed", None)
    assert told(play) == FIRST + SECOND


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_as_many_turns_are_dropped_as_were_asked_for(turns: int) -> None:
    play = lived()
    play.undo(turns)
    assert told(play) == (FIRST + SECOND + THIRD)[: 2 * (3 - turns)]


def test_two_undos_of_one_turn_are_one_of_two() -> None:
    twice, once = lived(), lived()
    twice.undo()
    twice.undo()
    once.undo(2)
    assert (
        twice.state.history.texts() == once.state.history.texts() == lived(1).state.history.texts()
    )
    assert [mark.turn for mark in twice.state.marks] == [mark.turn for mark in once.state.marks]


def test_an_undo_leaves_the_surroundings_that_were_told_before() -> None:
    play = Play.started()
    here = ContextFragment("environment", "user", "/a")
    for text in ("one", "two", "three"):
        play.say(text)
        play.load([here])
        play.complete()
    play.undo()
    play.undo()
    assert told(play) == ["/a", "one"]
    play.say("again")
    play.load([here])
    assert told(play) == ["/a", "one", "again"]


def test_surroundings_that_were_told_in_a_dropped_turn_are_told_again() -> None:
    play = Play.started()
    for place in ("/a", "/b"):
        play.say("go")
        play.load([ContextFragment("environment", "user", place)])
        play.complete()
    play.undo()
    play.say("go")
    play.load([ContextFragment("environment", "user", "/b")])
    assert told(play) == ["/a", "go", "/b", "go"]


def test_nothing_of_a_dropped_turn_is_in_the_next_request() -> None:
    play = lived(1)
    play.say("a secret plan")
    play.load([ContextFragment("environment", "user", "a secret place")])
    play.item(function_call("c1"), ToolPlan("exec_command"))
    play.complete()
    play.finish(0, "a secret output")
    play.say("a secret word")
    play.interrupt()
    play.settle(2)
    play.undo()
    asked = play.ask("continue")[-1]
    assert isinstance(asked, ModelAsked)
    assert told(play)[: asked.parts] == [*FIRST, "continue"]


def test_a_review_is_a_turn_that_can_be_undone() -> None:
    play = lived(1)
    play.op(Review("look"))
    play.settle(3)
    play.undo()
    assert told(play) == FIRST


def test_a_command_of_the_user_s_is_no_turn_that_can_be_undone() -> None:
    play = lived(1)
    play.op(RunUserShellCommand("make"))
    play.settle(3)
    play.undo()
    assert told(play) == []


def test_an_undo_drops_no_undo_and_no_compaction() -> None:
    play = lived()
    play.undo()
    compact(play)
    assert [mark.turn for mark in play.state.marks] == [1, 2]


# --- after a compaction --------------------------------------------------------------------------


def test_a_compaction_between_turns_is_undone_with_what_came_before_it() -> None:
    play = lived(2)
    compact(play)
    play.talk("3 prompt", "3 answer")
    play.op(Undo(2))
    (asked,) = play.load()
    assert isinstance(asked, UndoAsked)
    assert asked.parts is None
    assert play.restore()[0] == TurnsDropped(2, None)
    assert told(play) == FIRST


def test_an_undo_back_to_a_compaction_leaves_its_summary() -> None:
    play = lived(2)
    compact(play)
    play.talk("3 prompt", "3 answer")
    play.undo()
    assert told(play) == ["1 prompt", "2 prompt", texts.SUMMARY_BEGINS + "in short"]


def test_a_compaction_inside_a_dropped_turn_is_neither_a_base_nor_a_cut() -> None:
    play = lived(2)
    before = play.state.history.texts()
    play.ask("3 prompt")
    play.item(function_call("c1"), ToolPlan("exec_command"))
    play.complete()
    play.op(Compact())
    play.finish(0, ANSWER)
    play.summarize("in short")
    play.item(said("3 answer"))
    play.complete()
    assert texts.SUMMARY_BEGINS + "in short" in told(play)
    play.undo()
    assert play.state.history.texts() == before
    play.undo()
    assert told(play) == FIRST
    assert rebuild(play.records) == play.state


# --- redo -----------------------------------------------------------------------------------------


def test_a_redo_takes_the_last_undo_back() -> None:
    play = lived()
    before, marks = play.state.history.texts(), list(play.state.marks)
    play.undo(2)
    opened, _ = play.op(Redo())
    assert isinstance(opened, TurnOpened)
    assert opened.kind == "redo"
    play.load()
    assert play.restore()[0] == TurnsDropped(0, None, redo=True)
    assert (play.state.history.texts(), play.state.marks) == (before, marks)
    play.undo(3)
    assert told(play) == []


def test_an_undo_is_taken_back_once() -> None:
    play = lived()
    play.undo()
    redo(play)
    (refused,) = play.op(Redo(), "op-r")
    why = "no undo was the last thing done here"
    assert refused == OpRefused("op-r", "nothing_to_redo", why)


def test_another_turn_takes_the_way_back() -> None:
    play = lived()
    play.undo()
    play.talk("4 prompt", "4 answer")
    (refused,) = play.op(Redo())
    assert isinstance(refused, OpRefused)
    assert refused.code == "nothing_to_redo"


def test_a_compaction_takes_the_way_back() -> None:
    play = grown(turns=5)
    play.undo()
    play.op(Compact())
    play.load()
    assert isinstance(play.summarize("in short")[0], Compacted)
    (refused,) = play.op(Redo())
    assert isinstance(refused, OpRefused)
    assert refused.code == "nothing_to_redo"


def test_a_fork_cannot_take_the_undo_of_its_parent_back() -> None:
    play = lived()
    play.undo()
    play.fork()
    play.open()
    assert kinds(play.op(Redo())) == ["OpRefused"]


# --- files, and the conversation ------------------------------------------------------------------


def test_an_undo_of_files_alone_keeps_the_conversation_and_the_way_back() -> None:
    play = lived()
    before, marks = play.state.history.texts(), list(play.state.marks)
    play.op(Undo(2, conversation=False))
    (asked,) = play.load()
    assert isinstance(asked, UndoAsked)
    assert (asked.files, asked.conversation) == (True, False)
    assert play.restore()[0] == TurnsDropped(0)
    assert (play.state.history.texts(), play.state.marks) == (before, marks)
    redo(play)
    assert play.state.history.texts() == before


def test_what_the_user_wants_of_an_undo_is_asked_for() -> None:
    play = lived()
    play.op(Undo(files=False, force=True))
    (asked,) = play.load()
    assert isinstance(asked, UndoAsked)
    assert (asked.files, asked.conversation, asked.force) == (False, True, True)


# --- refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", [Undo(), Redo()])
def test_nothing_is_undone_while_a_turn_runs(op: Undo | Redo) -> None:
    play = lived()
    play.ask("go")
    assert play.op(op, "op-u") == [OpRefused("op-u", "turn_running", RUNS)]


@pytest.mark.parametrize("turns", [0, -1, 4])
def test_an_undo_of_more_turns_than_there_are_says_how_many(turns: int) -> None:
    (refused,) = lived().op(Undo(turns), "op-u")
    why = (
        f"3 turns can be undone here, not {turns}; to go further back, fork the session at an "
        "earlier event"
    )
    assert refused == OpRefused("op-u", "nothing_to_undo", why)


# --- cut off --------------------------------------------------------------------------------------


def test_an_undo_that_is_interrupted_before_it_began_changes_nothing() -> None:
    play = lived()
    before = play.state.history.texts()
    play.op(Undo())
    play.interrupt()
    play.send(EffectClosed(play.the(ContextAsked).effect, "cancelled"))
    assert play.state.history.texts() == before


def test_an_undo_whose_files_are_back_is_done_though_it_was_interrupted() -> None:
    play = lived()
    play.op(Undo())
    play.load()
    play.interrupt()
    assert kinds(play.restore()) == ["TurnsDropped", "TurnEnded"]
    assert told(play) == FIRST + SECOND


def test_an_undo_that_fails_changes_nothing() -> None:
    play = lived()
    before = play.state.history.texts()
    play.op(Undo())
    play.load()
    closed = EffectClosed(play.the(UndoAsked).effect, "failed", "no", "log_damaged")
    assert kinds(play.send(closed)) == ["TurnStopping", "TurnEnded"]
    assert (play.state.history.texts(), play.state.undone) == (before, None)


def test_an_undo_that_a_crash_cut_off_is_done_by_the_engine_that_takes_over() -> None:
    play = lived()
    play.op(Undo(2))
    (first,) = play.load()
    assert isinstance(first, UndoAsked)
    lost, again = play.open()
    assert lost == EffectLost(first.effect)
    assert isinstance(again, UndoAsked)
    assert (again.since, again.turns, again.parts) == (first.since, 2, 2)
    assert kinds(play.restore()) == ["TurnsDropped", "TurnEnded"]
    assert told(play) == FIRST


def test_a_cut_inside_the_step_that_drops_the_turns_drops_them_once() -> None:
    play = lived()
    play.undo()
    cut = play.cut(play.state.head - 1)
    assert kinds(cut.open()) == ["TurnEnded"]
    assert cut.state.history.texts() == play.state.history.texts()
    assert cut.state.marks == play.state.marks


def test_a_fork_after_an_undo_continues_without_what_was_dropped() -> None:
    play = lived()
    play.undo()
    play.fork()
    play.open()
    assert told(play) == FIRST + SECOND
    play.undo()
    assert told(play) == FIRST


def test_a_fork_in_the_middle_of_an_undo_keeps_the_turns() -> None:
    play = lived()
    play.op(Undo())
    play.load()
    assert kinds(play.fork()) == ["EffectLost", "TurnStopping", "TurnEnded"]
    assert told(play) == FIRST + SECOND + THIRD


@pytest.mark.parametrize("compacted", [False, True])
def test_a_snapshot_after_an_undo_is_the_live_state(*, compacted: bool) -> None:
    play = lived()
    if compacted:
        compact(play)
    play.undo(2)
    data = snapshot(play.state)
    assert data is not None
    restoration = Restoration.begin(data)
    assert restoration is not None
    restoration.take([play.records[at - 1] for at in restoration.sequences()])
    assert restoration.finish() == play.state


# --- in general -----------------------------------------------------------------------------------


def rested(play: Play) -> bool:
    play.settle(200)
    if play.state.closed or play.state.maintenance:
        play.open()
        play.settle(200)
    return bool(play.state.marks)


@given(sessions(when=rested), st.data())
def test_an_undo_brings_back_the_conversation_of_the_turn_s_begin(
    play: Play, data: st.DataObject
) -> None:
    turns = data.draw(st.integers(1, len(play.state.marks)))
    mark, before = play.state.marks[-turns], play.state.history.texts()
    then = rebuild(play.records[: mark.at])
    play.undo(turns)
    assert play.state.history.texts() == then.history.texts()
    assert play.state.history.context == then.history.context
    assert rebuild(play.records) == play.state
    redo(play)
    assert play.state.history.texts() == before


@given(sessions(when=rested), st.integers(1, 3), st.integers(1, 3))
def test_two_undos_give_what_one_of_both_gives(play: Play, first: int, second: int) -> None:
    assume(first + second <= len(play.state.marks))
    once = play.cut(play.state.head)
    play.undo(first)
    play.undo(second)
    once.undo(first + second)
    assert play.state.history.texts() == once.state.history.texts()
    assert play.state.marks == once.state.marks


# --- turns that could not begin -------------------------------------------------------------------


@pytest.mark.parametrize("how", ["no context", "no answer"])
def test_a_turn_that_could_not_begin_counts_for_nothing(how: str) -> None:
    play = lived()
    marks, turns = play.state.marks, 3
    if how == "no context":
        play.say("for nothing")
        play.send(EffectClosed(play.the(ContextAsked).effect, "failed", "no provider", "gone"))
    else:
        play.ask("for nothing")
        play.fail(ModelFailure("credential_missing", "there is no key"))
    assert play.state.turn is None
    assert play.state.marks == marks
    assert play.state.summary is not None
    assert play.state.summary.turns == turns
    play.undo()
    assert told(play) == FIRST + SECOND


def test_a_redo_is_possible_after_a_turn_that_could_not_begin() -> None:
    play = lived()
    before = play.state.history.texts()
    play.undo()
    play.say("for nothing")
    play.send(EffectClosed(play.the(ContextAsked).effect, "failed", "no provider", "gone"))
    redo(play)
    assert play.state.history.texts() == before


def test_a_turn_that_fails_after_an_answer_can_be_undone() -> None:
    play = lived()
    play.ask("half done")
    play.item(said("I begin."))
    play.fail(ModelFailure("bad_request", "no"))
    assert len(play.state.marks) == 4
    play.undo()
    assert told(play) == FIRST + SECOND + THIRD
