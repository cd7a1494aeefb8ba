"""Replay against code that has changed, deciding that fails, and ids that do not move."""

from collections.abc import Iterator

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import structs

from tests.core.play import Play, known
from tests.core.test_model_retries import CUT
from tests.strategies import sessions
from turnlog.actors.core import model_call, texts, turn
from turnlog.actors.core.session import step
from turnlog.actors.core.state import State, Turn
from turnlog.protocol.envelope import Recorded, UnknownEvent
from turnlog.protocol.events import (
    ContextAsked,
    Decision,
    ModelAsked,
    OpRefused,
    RetryScheduled,
    SessionDecision,
    SessionEvent,
    StepFailed,
    TurnEnded,
    TurnOpened,
    UndoAsked,
)
from turnlog.replay.verify.verifier import Divergence, divergences, rebuild


def retried() -> Play:
    play = Play.started()
    play.ask("hi")
    for _ in range(2):
        play.fail(CUT)
        play.fire()
    play.complete()
    return play


def at_once(*_: object) -> int:
    return 1


def test_changed_code_is_found_at_each_decision_that_it_changes_and_nowhere_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    play = retried()
    monkeypatch.setattr(model_call, "delay_ms", at_once)
    expected = [
        Divergence(record.sequence, record.event, structs.replace(record.event, delay_ms=1))
        for record in play.records
        if isinstance(record.event, RetryScheduled)
    ]
    assert len(expected) == 2
    assert list(divergences(play.records)) == expected


def test_a_retry_limit_that_was_altered_is_found_where_it_mattered() -> None:
    play = retried()
    at = next(i for i, r in enumerate(play.records) if isinstance(r.event, RetryScheduled))
    wrong = structs.replace(play.events[at], max_retries=9)
    assert isinstance(wrong, RetryScheduled)
    play.records[at] = structs.replace(play.records[at], event=wrong)
    (found,) = divergences(play.records)
    assert (found.sequence, found.recorded) == (at + 1, wrong)


@given(sessions(), st.data())
def test_a_decision_that_is_missing_from_the_log_is_found_where_it_was(
    play: Play, data: st.DataObject
) -> None:
    last = [end - 1 for end in play.ends if play.records[end - 1].role == "decision"]
    assume(last)
    at = data.draw(st.sampled_from(last))
    removed = play.records.pop(at)
    first = next(divergences(play.records))
    assert (first.recorded, first.decided) == (None, removed.event)


@given(sessions(), st.data())
def test_a_decision_that_was_altered_is_found_where_it_is(play: Play, data: st.DataObject) -> None:
    decided = [i for i, record in enumerate(play.records) if record.role == "decision"]
    assume(decided)
    at = data.draw(st.sampled_from(decided))
    planted = OpRefused("planted", "planted", "planted")
    original = play.events[at]
    play.records[at] = structs.replace(play.records[at], event=planted)
    assert next(divergences(play.records)) == Divergence(at + 1, planted, original)  # type: ignore[arg-type]


@given(sessions(), st.data())
def test_unknown_events_are_passed_over(play: Play, data: st.DataObject) -> None:
    # What an undo goes back to is named by its sequence, which one more event would shift.
    undone = [r.sequence for r in play.records if isinstance(r.event, UndoAsked)]
    at = data.draw(st.integers(max(undone, default=1), len(play.records)))
    last = play.records[at - 1]
    newer = structs.replace(last, role="decision", event=UnknownEvent(999, True, b"\x91\x07"))
    log = [*play.records[:at], newer, *play.records[at:]]
    assert list(divergences(log)) == []
    state = rebuild(log)
    assert (state.head, state.history.digest) == (play.state.head + 1, play.state.history.digest)


def test_an_unknown_fact_is_counted_since_later_ids_depend_on_it() -> None:
    play = retried()
    newer = Recorded(
        play.state.head + 1, 2**51, "fact", 0, 0, bytes(16), UnknownEvent(99, True, b"\x91\x07")
    )
    state = rebuild([*play.records, newer])
    assert (state.facts, state.time_us) == (play.state.facts + 1, 2**51)


# --- deciding that fails --------------------------------------------------------------------------


def test_a_step_that_fails_closes_the_turn_and_leaves_the_session_usable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    play = Play.started()
    play.ask("hi")
    original = turn.advance

    def broken(state: State) -> Iterator[SessionDecision]:
        if isinstance(state.turn, Turn) and state.turn.calls:
            raise KeyError("planted")
        yield from original(state)

    with monkeypatch.context() as patch:
        patch.setattr(turn, "advance", broken)
        assert play.call("c1") == [StepFailed("KeyError: 'planted'")]
        assert list(divergences(play.records)) == []
    assert (play.state.turn, play.state.outstanding) == (None, {})
    play.ask("again")
    (ended,) = play.complete()
    assert isinstance(ended, TurnEnded)
    assert play.state.history.texts()[1:3] == [
        '{"type":"function_call","call_id":"c1","name":"exec_command","arguments":"{}"}',
        f'{{"type":"function_call_output","call_id":"c1","output":"{texts.UNKNOWN}"}}',
    ]
    (found, *_) = divergences(play.records)  # the code has been fixed since
    assert found.recorded == StepFailed("KeyError: 'planted'")
    assert rebuild(play.records) == play.state


# --- ids ------------------------------------------------------------------------------------------


@given(sessions())
def test_a_decision_that_a_later_release_adds_does_not_shift_ids(play: Play) -> None:
    original = turn.advance

    def chatty(state: State) -> Iterator[SessionDecision]:
        yield OpRefused("added", "added", "by a later release")
        yield from original(state)

    live = State()
    later: list[SessionEvent] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(turn, "advance", chatty)
        for record, event in zip(play.records, known(play.records), strict=True):
            if not isinstance(event, Decision):
                later += step(live, event, time_us=record.time_us)
    assert ids(later) == ids(play.events)


def ids(events: list[SessionEvent]) -> list[tuple[str, str]]:
    return [
        (type(event).__name__, event.turn_id if isinstance(event, TurnOpened) else event.effect)
        for event in events
        if isinstance(event, TurnOpened | ContextAsked | ModelAsked | RetryScheduled)
    ]
