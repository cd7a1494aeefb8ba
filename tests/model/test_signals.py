"""What single events and headers say. Whole streams are in test_client.py."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnlog.actors.ports import (
    Completed,
    ItemDone,
    ModelCallFailed,
    ModelSignal,
    RawReasoningDelta,
    ReasoningBreak,
    ReasoningDelta,
    TextDelta,
)
from turnlog.protocol.calls import ModelFailure
from turnlog.protocol.usage import RateLimits, RateLimitWindow, TokenUsage
from turnlog.runtime.model import failures
from turnlog.runtime.model.signals import read_limits, read_signal
from turnlog.runtime.model.sse import SseEvent

ODD_ITEM = (
    '{ "type" :"message", "role":"assistant","content":[ ],\n"new":1.50e0,"é":"\\u00e9\u2028"}'
)


def event(kind: str, fields: str = "") -> SseEvent:
    return SseEvent(kind, f'{{"type":"{kind}"{fields and ","}{fields}}}')


def failure(given: SseEvent) -> ModelFailure:
    with pytest.raises(ModelCallFailed) as caught:
        read_signal(given)
    return caught.value.failure


@pytest.mark.parametrize(
    ("given", "signal"),
    [
        (event("response.output_item.done", f'"item" : {ODD_ITEM} '), ItemDone(ODD_ITEM)),
        (
            event("response.output_item.done", '"item":{"type":"new_kind","x":[1]}'),
            ItemDone('{"type":"new_kind","x":[1]}'),
        ),
        (event("response.output_text.delta", '"delta":"a\\u00e9\\n"'), TextDelta("aé\n")),
        (event("response.reasoning_summary_text.delta", '"delta":"a"'), ReasoningDelta("a")),
        (event("response.reasoning_summary_part.added"), ReasoningBreak()),
        (event("response.reasoning_text.delta", '"delta":"a"'), RawReasoningDelta("a")),
        (event("response.completed", '"response":{"id":"r","usage":null}'), Completed("r", None)),
        (event("response.completed", '"response":{"id":"r","usage":5}'), Completed("r", None)),
        (
            event("response.completed", '"response":{"id":"r","usage":{"input_tokens":1e30}}'),
            Completed("r", None),
        ),
        (
            event(
                "response.completed",
                '"response":{"id":"r","usage":{"input_tokens":18446744073709551615,'
                '"output_tokens":-7}}',
            ),
            Completed("r", TokenUsage(input_tokens=2**53 - 1)),
        ),
        (event("response.completed"), Completed("", None)),
        (
            event(
                "response.completed",
                '"response":{"id":"r","output":[1],"usage":{"input_tokens":9,'
                '"input_tokens_details":{"cached_tokens":5,"cache_write_tokens":2},'
                '"output_tokens":4,"output_tokens_details":{"reasoning_tokens":3},'
                '"total_tokens":13}}',
            ),
            Completed("r", TokenUsage(9, 5, 2, 4, 3)),
        ),
        (
            event("response.completed", '"response":{"id":"r","usage":{"input_tokens":9}}'),
            Completed("r", TokenUsage(9)),
        ),
        (event("response.created", '"response":{"id":"r"}'), None),
        (event("response.output_audio.delta", '"delta":{"not":"a text"}'), None),
        (SseEvent("", '{"type":"response.output_text.delta","delta":"a"}'), TextDelta("a")),
        (SseEvent("ping", "not JSON"), None),
        (SseEvent("", "[DONE]"), None),
    ],
)
def test_an_event_says(given: SseEvent, signal: ModelSignal | None) -> None:
    assert read_signal(given) == signal


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            event(
                "response.failed",
                '"response":{"id":"r","error":{"code":"context_length_exceeded","message":"m"}}',
            ),
            ModelFailure("context_window_exceeded", failures.CONTEXT_WINDOW),
        ),
        (
            event("response.failed", '"response":{"error":{"code":"insufficient_quota"}}'),
            ModelFailure("quota_exceeded", failures.QUOTA),
        ),
        (
            event(
                "response.failed",
                '"response":{"error":{"code":"rate_limit_exceeded","message":"Rate limit '
                'reached. Please try again in 0.2s."}}',
            ),
            ModelFailure(
                "rate_limited",
                "stream disconnected before completion: Rate limit reached. Please try again in "
                "0.2s.",
                "stream",
                200,
            ),
        ),
        (
            event("response.failed", '"response":{"error":{"code":"invalid_prompt"}}'),
            ModelFailure("bad_request", "invalid_prompt: no reason was given"),
        ),
        (
            event("response.failed", '"response":null'),
            ModelFailure(
                "server_error",
                "stream disconnected before completion: response.failed event received",
                "stream",
            ),
        ),
        (
            event("response.incomplete", '"response":{"incomplete_details":{"reason":"x"}}'),
            ModelFailure("response_incomplete", "Incomplete response returned, reason: x"),
        ),
        (
            event("response.incomplete"),
            ModelFailure("response_incomplete", "Incomplete response returned, reason: unknown"),
        ),
        (
            event("error", '"code":"server_error","message":"oops"'),
            ModelFailure("server_error", "stream disconnected before completion: oops", "stream"),
        ),
        (
            event("error", '"error":{"code":"slow_down"}'),
            ModelFailure("server_error", failures.AT_CAPACITY),
        ),
    ],
)
def test_an_event_ends_the_response(given: SseEvent, expected: ModelFailure) -> None:
    assert failure(given) == expected


@pytest.mark.parametrize(
    "given",
    [
        event("response.output_item.done"),
        event("response.output_item.done", '"item":{"no":"type"}'),
        event("response.output_item.done", '"item":{"type":"function_call"}'),
        event("response.output_text.delta", '"delta":5'),
        event("response.completed", '"response":5'),
        SseEvent("response.output_text.delta", '{"type":"response.output_te'),
        SseEvent("", "not JSON"),
        SseEvent("", "[" * 20_000),
    ],
)
def test_an_event_of_ours_that_cannot_be_read_is_named(given: SseEvent) -> None:
    found = failure(given)
    assert (found.code, found.retry) == ("invalid_response", "stream")
    assert f"event {given.name!r} of the response cannot be read: " in found.message


@given(st.text(max_size=30), st.text(max_size=200) | st.text(max_size=200).map("{".__add__))
def test_any_event_is_a_signal_or_a_failure(name: str, data: str) -> None:
    with suppress(ModelCallFailed):
        read_signal(SseEvent(name, data))


@pytest.mark.parametrize(
    ("headers", "limits"),
    [
        ({}, None),
        ({"x-codex-primary-window-minutes": "300"}, None),
        ({"x-codex-primary-used-percent": "nan"}, None),
        (
            {
                "x-codex-primary-used-percent": "12.5",
                "x-codex-primary-window-minutes": "300",
                "x-codex-primary-reset-at": "1795254395",
            },
            RateLimits(RateLimitWindow(12.5, 300, 1_795_254_395)),
        ),
        (
            {
                "x-codex-secondary-used-percent": "7",
                "x-codex-secondary-window-minutes": "a week",
                "x-codex-secondary-resets-at": "1795254395",
            },
            RateLimits(secondary=RateLimitWindow(7, None, 1_795_254_395)),
        ),
    ],
)
def test_headers_report_allowances(headers: dict[str, str], limits: RateLimits | None) -> None:
    assert read_limits(headers) == limits
