"""A model call that fails: how often it is made again, when, and what the user is told."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.play import Play, function_call, said, thought, user
from turnlog.actors.core import texts
from turnlog.protocol.calls import ErrorInfo, ModelFailure, ToolPlan
from turnlog.protocol.events import (
    EffectClosed,
    ModelAsked,
    ResponseAbandoned,
    RetryScheduled,
    TurnEnded,
    TurnStopping,
)
from turnlog.protocol.items import FunctionCall, output_item
from turnlog.protocol.settings import RetryLimits

UNREACHABLE = ModelFailure("connection_failed", "connection refused", "request")
CUT = ModelFailure("stream_disconnected", "stream closed before response.completed", "stream")
FULL = ModelFailure("context_window_exceeded", "the input is too long", "never")


def asking(**limits: Any) -> Play:  # noqa: ANN401
    play = Play.started(retry=RetryLimits(**limits))
    play.ask("hi")
    return play


@given(st.integers(0, 3), st.integers(0, 3))
def test_an_unreachable_model_is_asked_one_more_than_both_budgets_allow(
    requests: int, streams: int
) -> None:
    play = asking(request_max_retries=requests, stream_max_retries=streams)
    while play.state.turn is not None:
        play.fail(UNREACHABLE)
        if play.state.outstanding:
            play.fire()
    asked = [event for event in play.events if isinstance(event, ModelAsked)]
    assert len(asked) == (1 + requests) * (1 + streams)
    assert [event.attempt for event in asked] == list(range(1, len(asked) + 1))
    assert {(event.request, event.parts, event.input_digest) for event in asked} == {
        (1, 1, asked[0].input_digest)
    }


def test_the_last_failure_is_the_turn_s_error() -> None:
    play = asking(request_max_retries=0, stream_max_retries=0)
    stopping, ended = play.fail(UNREACHABLE)
    error = ErrorInfo("connection_failed", "connection refused")
    assert stopping == TurnStopping("failed", error)
    assert isinstance(ended, TurnEnded)
    assert (ended.status, ended.error) == ("failed", error)


def test_requests_are_retried_silently_and_streams_are_announced() -> None:
    play = asking(request_max_retries=1, stream_max_retries=2)
    told: list[tuple[str, int, int, str]] = []
    for failure in (UNREACHABLE, UNREACHABLE, CUT):
        (retry,) = play.fail(failure)
        assert isinstance(retry, RetryScheduled)
        told.append((retry.level, retry.retry, retry.max_retries, retry.message))
        play.fire()
    assert told == [
        ("request", 1, 1, "connection refused"),
        ("stream", 1, 2, "Reconnecting... 1/2 (connection refused)"),
        ("stream", 2, 2, "Reconnecting... 2/2 (stream closed before response.completed)"),
    ]


def test_a_failure_that_no_retry_can_repair_ends_the_turn_at_once() -> None:
    play = asking()
    assert [type(one) for one in play.fail(FULL)] == [TurnStopping, TurnEnded]


def scheduled(play: Play, failure: ModelFailure) -> int:
    retry = play.fail(failure)[-1]
    assert isinstance(retry, RetryScheduled)
    play.fire()
    return retry.delay_ms


def test_the_delay_doubles_from_200_ms_within_a_tenth() -> None:
    play = asking(stream_max_retries=5)
    for doubled in (200, 400, 800, 1600, 3200):
        assert doubled * 0.9 - 1 <= scheduled(play, CUT) <= doubled * 1.1


def test_the_doubling_stops_at_a_minute() -> None:
    play = asking(stream_max_retries=100)
    delays = [scheduled(play, CUT) for _ in range(100)]
    assert max(delays) <= 66_000


@pytest.mark.parametrize(("wish", "delay"), [(7_000, 7_000), (0, 0), (-5, 0), (900_000, 900_000)])
def test_the_provider_s_wish_for_a_delay_is_honoured(wish: int, delay: int) -> None:
    busy = ModelFailure("rate_limited", "try again", "request", retry_after_ms=wish)
    assert scheduled(asking(), busy) == delay


def test_a_response_that_completes_gives_the_next_request_its_own_retries() -> None:
    play = asking(request_max_retries=1, stream_max_retries=1)
    scheduled(play, UNREACHABLE)
    scheduled(play, CUT)
    play.call("c1")
    play.complete()
    (asked,) = play.finish(0)
    assert isinstance(asked, ModelAsked)
    assert (asked.request, asked.attempt) == (2, 1)
    (retry,) = play.fail(CUT)
    assert isinstance(retry, RetryScheduled)
    assert (retry.level, retry.retry) == ("stream", 1)


def test_a_cut_response_with_a_call_that_ran_counts_as_progress() -> None:
    play = asking(stream_max_retries=1)
    for number in range(3):  # each attempt gets further, so the budget is never used up
        play.call(f"c{number}")
        abandoned, retry = play.fail(CUT)
        assert isinstance(abandoned, ResponseAbandoned)
        assert abandoned.keep
        assert isinstance(retry, RetryScheduled)
        assert (retry.level, retry.retry, retry.max_retries) == ("stream", 1, 1)
        play.finish(number)
        (asked,) = play.fire()
        assert isinstance(asked, ModelAsked)
        assert (asked.request, asked.attempt) == (number + 2, 1)


def test_a_cut_response_without_calls_is_dropped_and_asked_for_again() -> None:
    play = asking()
    play.item(thought())
    play.item(said("half an answer"))
    abandoned, _ = play.fail(CUT)
    assert isinstance(abandoned, ResponseAbandoned)
    assert not abandoned.keep
    (asked,) = play.fire()
    assert isinstance(asked, ModelAsked)
    assert (asked.request, asked.attempt, asked.parts) == (1, 2, 1)


def test_kept_items_wait_for_their_outputs_before_the_model_is_asked_again() -> None:
    play = asking()
    play.item(thought())
    play.call("c1")
    play.item(thought())  # led to nothing: a provider would refuse it
    play.fail(CUT)
    assert play.fire() == []
    (asked,) = play.finish(0, "done")
    assert isinstance(asked, ModelAsked)
    call = FunctionCall("c1", "exec_command", "{}")
    assert play.state.history.texts() == [
        user("hi"),
        thought(),
        function_call("c1"),
        output_item(call, "done"),
    ]


def test_a_failure_for_good_keeps_what_the_model_had_said() -> None:
    play = asking()
    play.item(said("half an answer"))
    abandoned, stopping, ended = play.fail(FULL)
    assert isinstance(abandoned, ResponseAbandoned)
    assert abandoned.keep
    assert isinstance(stopping, TurnStopping)
    assert isinstance(ended, TurnEnded)
    assert ended.last_agent_message == "half an answer"
    assert play.state.history.texts() == [user("hi"), said("half an answer")]


def test_a_model_call_that_crashes_fails_the_turn_and_keeps_what_was_said() -> None:
    play = asking()
    play.item(said("half an answer"))
    crash = EffectClosed(next(iter(play.state.outstanding)), "crashed", "ValueError: boom")
    play.send(crash)
    assert play.state.turn is None
    assert play.state.history.texts() == [user("hi"), said("half an answer")]


def test_a_wait_is_cancelled_when_the_turn_is_interrupted() -> None:
    play = asking()
    play.fail(CUT)
    assert play.interrupt() == [TurnStopping("interrupted")]
    decided = play.close(play.the(RetryScheduled))
    assert isinstance(decided[-1], TurnEnded)


def test_an_item_that_the_conversation_cannot_hold_stays_out_of_it() -> None:
    play = asking()
    play.item("no JSON")
    play.item('{"type":"function_call","call_id":"c1"}')
    play.item('{"type":"function_call_output","call_id":"c0","output":"made up"}')
    play.item(said("hello"))
    play.complete()
    assert play.state.history.texts() == [user("hi"), said("hello")]


def test_a_call_that_came_without_a_plan_is_answered_as_unsupported() -> None:
    play = asking()
    play.item(function_call("c1", "no_such_tool"))
    play.complete()
    call = FunctionCall("c1", "no_such_tool", "{}")
    output = texts.UNPLANNED.format(name="no_such_tool")
    assert play.state.history.texts()[-1] == output_item(call, output)


def test_a_call_with_half_a_surrogate_pair_is_a_call_all_the_same() -> None:
    play = asking()
    item = function_call("c1").replace("{}", "\\ud83d")
    play.item(item, ToolPlan("exec_command"))
    play.complete()
    play.finish(0)
    assert play.state.history.texts()[1] == item
