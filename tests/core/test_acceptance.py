"""Cases of the functional model's acceptance lists that no other test shows: docs/acceptance.md."""

from hypothesis import assume, given
from hypothesis import strategies as st

from tests.core.compacting import ANSWER, kinds, limited, told
from tests.core.play import Play, function_call, said
from tests.core.test_approvals import OUTSIDE, asking
from tests.core.test_undo import rested
from tests.strategies import sessions
from turnlog.actors.core import texts
from turnlog.actors.core.rebuild import rebuild
from turnlog.actors.core.state import State
from turnlog.protocol.calls import ContextFragment
from turnlog.protocol.events import ApprovalAsked, ModelCompleted, OpReceived
from turnlog.protocol.ops import Compact, ExecApproval
from turnlog.protocol.usage import TokenUsage

SURROUNDINGS = ContextFragment("environment", "user", "in /work")
LIVE = [
    *("in /work", "user 1", "user 2"),
    texts.SUMMARY_BEGINS + "two",
    *("user 3", f"assistant 3 {ANSWER}"),
]


def talk(play: Play, number: int) -> None:
    play.say(f"user {number}")
    play.load([SURROUNDINGS])
    play.item(said(f"assistant {number} {ANSWER}"))
    play.complete()


def compact(play: Play, summary: str) -> None:
    play.op(Compact())
    play.load([SURROUNDINGS])
    play.summarize(summary)


def sample() -> Play:
    """Return a session of three turns that was summed up after the first two."""
    play = Play.started(limits=limited())
    talk(play, 1)
    compact(play, "one")
    talk(play, 2)
    compact(play, "two")
    talk(play, 3)
    return play


def forked(play: Play) -> Play:
    """Return a fork at the session's last event; the session is not touched."""
    branch = play.cut(play.state.head)
    branch.fork()
    branch.open()
    return branch


# --- compacted histories --------------------------------------------------------------------------


def test_a_log_with_two_compactions_folds_to_the_live_history() -> None:
    play = sample()
    assert told(play) == LIVE
    assert rebuild(play.records).history == play.state.history


def test_a_resumed_session_has_the_live_history() -> None:
    again = (play := sample()).cut(play.state.head)
    again.open()
    assert again.state.history == play.state.history


def test_a_fork_has_the_live_history() -> None:
    play = sample()
    assert forked(play).state.history == play.state.history


# --- forks and resumes ----------------------------------------------------------------------------


def test_a_fork_of_a_fork_each_without_its_last_turn_keeps_one_environment() -> None:
    play = Play.started(limits=limited())
    for number in (1, 2, 3):
        talk(play, number)
    for left in (2, 1):
        play = forked(play)
        play.undo(1)
        assert sum("user " in text for text in told(play)) == left
    assert told(play) == ["in /work", "user 1", f"assistant 1 {ANSWER}"]


@given(sessions(when=rested), st.integers(1, 3), st.integers(1, 3))
def test_forks_of_forks_drop_as_many_turns_as_one_fork(play: Play, first: int, second: int) -> None:
    assume(first + second <= len(play.state.marks))
    once = forked(play)
    once.undo(first + second)
    twice = forked(play)
    twice.undo(first)
    twice = forked(twice)
    twice.undo(second)
    assert twice.state.history.texts() == once.state.history.texts()


@given(sessions(when=rested), st.integers(1, 4))
def test_resuming_again_and_again_adds_nothing_to_the_conversation(play: Play, times: int) -> None:
    before = play.state.history.texts()
    for _ in range(times):
        play = play.cut(play.state.head)
        play.open()
        assert play.state.turn is None
    assert play.state.history.texts() == before


# --- questions and usage --------------------------------------------------------------------------


def test_an_answer_in_the_same_instant_as_its_question_counts() -> None:
    play = asking()
    assert kinds(play.item(function_call("c1"), OUTSIDE)) == ["ApprovalAsked"]
    answer = ExecApproval(play.the(ApprovalAsked).question, "approved")
    assert kinds(play.send(OpReceived("now", answer), passed_us=0)) == ["ToolDispatched"]


@given(sessions())
def test_no_question_is_open_where_no_turn_runs(play: Play) -> None:
    state = State()
    for record in play.records:
        rebuild([record], state)
        if state.turn is None:
            assert state.open(ApprovalAsked) == []


@given(sessions())
def test_the_usage_of_each_response_is_counted_as_it_completes(play: Play) -> None:
    state = State()
    for record in play.records:
        before, was_open = state.usage, set(state.outstanding)
        rebuild([record], state)
        event = record.event
        spent: TokenUsage | None = None
        if isinstance(event, ModelCompleted) and event.effect in was_open:
            spent = event.usage
        assert state.usage == before + (spent or TokenUsage())
