"""The error table, row by row, and the texts and delays that it reads."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnlog.protocol.calls import ModelFailure
from turnlog.runtime.model import failures

URL = "http://127.0.0.1:9/v1/responses"


def body(**error: object) -> bytes:
    return msgspec.json.encode({"error": error})


@pytest.mark.parametrize(
    ("status", "sent", "failure"),
    [
        (
            400,
            b'{"error": {"message": "no such field"}}\n',
            ModelFailure("bad_request", '{"error": {"message": "no such field"}}', http_status=400),
        ),
        (
            401,
            body(message="bad key"),
            ModelFailure(
                "unauthorized",
                f"unexpected status 401 Unauthorized: bad key, url: {URL}",
                "stream",
                http_status=401,
            ),
        ),
        (
            404,
            b"",
            ModelFailure(
                "bad_request",
                f"unexpected status 404 Not Found: no body, url: {URL}",
                "stream",
                http_status=404,
            ),
        ),
        (
            429,
            body(message="Slow down, please try again in 20s.", code="rate_limit_exceeded"),
            ModelFailure(
                "rate_limited",
                "exceeded retry limit, last status: 429 Too Many Requests",
                "stream",
                20_000,
                429,
            ),
        ),
        (
            429,
            body(type="usage_limit_reached", resets_at=1_795_254_395),
            ModelFailure(
                "usage_limit_reached",
                "You’ve hit your usage limit. Try again at 2026-11-21 09:46 UTC.",  # noqa: RUF001
                http_status=429,
            ),
        ),
        (
            429,
            body(type="insufficient_quota", code="insufficient_quota"),
            ModelFailure("quota_exceeded", failures.QUOTA, http_status=429),
        ),
        (
            429,
            body(type="usage_not_included"),
            ModelFailure("quota_exceeded", failures.NOT_INCLUDED, http_status=429),
        ),
        (
            400,
            body(code="context_length_exceeded", message="too long"),
            ModelFailure("context_window_exceeded", failures.CONTEXT_WINDOW, http_status=400),
        ),
        (
            500,
            b"<html>oops</html>",
            ModelFailure("server_error", failures.HIGH_DEMAND, "request", http_status=500),
        ),
        (
            503,
            b"mock 503",
            ModelFailure(
                "server_error",
                f"unexpected status 503 Service Unavailable: mock 503, url: {URL}",
                "request",
                http_status=503,
            ),
        ),
        (
            503,
            body(code="server_is_overloaded"),
            ModelFailure("server_error", failures.AT_CAPACITY, http_status=503),
        ),
        (
            529,
            b'{"detail": "busy"}',
            ModelFailure(
                "server_error", f"unexpected status 529: busy, url: {URL}", "request", None, 529
            ),
        ),
    ],
)
def test_a_status_and_a_body_mean(status: int, sent: bytes, failure: ModelFailure) -> None:
    assert failures.http_failure(status, {}, sent, URL) == failure


def test_the_providers_own_wish_to_wait_is_kept_and_its_request_id_named() -> None:
    headers = {"retry-after": "1.5", "x-request-id": "req_1"}
    assert failures.http_failure(503, headers, b"busy", URL) == ModelFailure(
        "server_error",
        f"unexpected status 503 Service Unavailable: busy, url: {URL}, request id: req_1",
        "request",
        1500,
        503,
    )


@pytest.mark.parametrize(
    ("headers", "milliseconds"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2000),
        ({"retry-after": "2", "retry-after-ms": "250"}, 250),
        ({"retry-after": "1e300"}, failures.MAX_RETRY_AFTER_MS),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Sat, 21 Nov 2026 10:00:30 GMT"}, None),
        (
            {
                "retry-after": "Sat, 21 Nov 2026 10:00:30 GMT",
                "date": "Sat, 21 Nov 2026 10:00:00 GMT",
            },
            30_000,
        ),
    ],
)
def test_a_retry_after_header_is_a_number_or_a_date(
    headers: dict[str, str], milliseconds: int | None
) -> None:
    assert failures.retry_after_ms(headers) == milliseconds


@pytest.mark.parametrize(
    ("message", "milliseconds"),
    [
        ("Please try again in 0.2s. Visit us.", 200),
        ("please TRY AGAIN IN 28ms.", 28),
        ("try again in 11.054 seconds", 11_054),
        ("try again in 1m30.5s", 90_500),
        ("try again in 2h5m", 7_500_000),
        ("try again in a while", None),
        ("try again later", None),
    ],
)
def test_a_delay_is_read_from_prose(message: str, milliseconds: int | None) -> None:
    assert failures.spoken_delay_ms(message) == milliseconds


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ({"error": {"code": "c", "type": "t", "message": "m"}}, ("c", "t", "m")),
        ({"type": "error", "code": "c", "message": "m"}, ("c", "error", "m")),
        ({"error": "m"}, ("", "", "m")),
        ({"error": {"code": 400, "message": "m"}}, ("", "", "m")),
        ({"detail": "m"}, ("", "", "m")),
        ({"error": None}, ("", "", "")),
        ([], ("", "", "")),
    ],
)
def test_errors_are_read_in_their_usual_forms(value: object, error: tuple[str, str, str]) -> None:
    assert failures.read_error(value) == failures.ProviderError(*error)


@given(st.integers(100, 999), st.dictionaries(st.text(), st.text()), st.binary(max_size=5000))
def test_every_answer_is_a_bounded_failure(
    status: int, headers: dict[str, str], sent: bytes
) -> None:
    failure = failures.http_failure(status, headers, sent, URL)
    assert failure.http_status == status
    assert len(failure.message.encode()) <= failures.MAX_MESSAGE_BYTES
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(failure), type=ModelFailure) == failure


@given(st.text(), st.integers(3, 50))
def test_a_cut_text_fits_and_is_a_beginning(text: str, limit: int) -> None:
    shown = failures.cut(text, limit)
    assert len(shown.encode()) <= limit
    assert shown == text or text.startswith(shown.removesuffix("…"))


def test_a_deeply_nested_body_is_only_a_text() -> None:
    nested = b'{"error":' * 20_000
    assert failures.http_failure(502, {}, nested, URL).code == "server_error"
