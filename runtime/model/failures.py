"""What goes wrong with a model provider, as `ModelFailure`: the error table.

The texts are those of Codex, since clients and scripts match on them. Every message is at most
2 KiB, and quotes at most 1,000 bytes of a body.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final, cast

import msgspec
from msgspec import Struct

from turnlog.protocol.calls import FailureCode, ModelFailure, Retry

MAX_MESSAGE_BYTES: Final = 2048
MAX_BODY_BYTES: Final = 1000
MAX_RETRY_AFTER_MS: Final = 24 * 60 * 60 * 1000

# Texts that clients match on. Source: seen in runs of Codex CLI 0.169, but for those marked (*),
# which are the texts of its error types.
HIGH_DEMAND: Final = "We’re currently experiencing high demand, which may cause temporary errors."  # noqa: RUF001
AT_CAPACITY: Final = "Selected model is at capacity. Please try a different model."  # (*)
CONTEXT_WINDOW: Final = (  # (*)
    "Codex ran out of room in the model's context window. "
    "Start a new thread or clear earlier history before retrying."
)
QUOTA: Final = "Quota exceeded. Check your plan and billing details."  # (*)
NOT_INCLUDED: Final = (  # (*)
    "To use Codex with your ChatGPT plan, upgrade to Plus: https://chatgpt.com/explore/plus."
)
USAGE_LIMIT: Final = "You’ve hit your usage limit. Try again {when}."  # noqa: RUF001 (*)
UNEXPECTED_STATUS: Final = "unexpected status {status}: {body}, url: {url}"
RETRY_LIMIT: Final = "exceeded retry limit, last status: {status}"
DISCONNECTED: Final = "stream disconnected before completion: {why}"
CLOSED: Final = "stream closed before response.completed"
IDLE: Final = "idle timeout waiting for SSE"  # (*)
INCOMPLETE: Final = "Incomplete response returned, reason: {reason}"

_FIXED: Final[Mapping[str, tuple[FailureCode, str]]] = {
    "context_length_exceeded": ("context_window_exceeded", CONTEXT_WINDOW),
    "insufficient_quota": ("quota_exceeded", QUOTA),
    "usage_not_included": ("quota_exceeded", NOT_INCLUDED),
    "server_is_overloaded": ("server_error", AT_CAPACITY),
    "slow_down": ("server_error", AT_CAPACITY),
}
_REJECTED: Final = frozenset({"invalid_prompt", "cyber_policy"})  # with the provider's own text
_USAGE_LIMIT: Final = "usage_limit_reached"
_DELAY: Final = re.compile(
    r"try again in\s*(?:(\d+)\s*h)?\s*(?:(\d+)\s*m(?!s))?\s*(?:(\d+(?:\.\d+)?)\s*(ms|s))?", re.I
)


class ProviderError(Struct, frozen=True):
    """What a provider says of an error. Empty where it says nothing."""

    code: str = ""
    kind: str = ""
    message: str = ""
    resets_at: int | None = None  # Unix time, seconds

    @property
    def names(self) -> tuple[str, str]:
        """What the error may be known by, the more exact name first."""
        return self.code, self.kind


def read_error(value: object) -> ProviderError:
    """Return the error that a decoded JSON value describes, in whichever of the usual forms.

    Those are `{"error": {code, type, message}}`, the inner object alone, `{"error": TEXT}`,
    `{"detail": TEXT}`. An `error` event's own `type` says nothing.
    """
    if not isinstance(value, dict):
        return ProviderError(message=value if isinstance(value, str) else "")
    fields = cast("dict[str, object]", value)
    if (inner := fields.get("error")) is not None:
        return read_error(inner)
    texts = [
        text if isinstance(text := fields.get(name), str) else ""
        for name in ("code", "type", "message", "detail")
    ]
    resets_at = fields.get("resets_at")
    return ProviderError(
        texts[0], texts[1], texts[2] or texts[3], resets_at if isinstance(resets_at, int) else None
    )


def http_failure(status: int, headers: Mapping[str, str], body: bytes, url: str) -> ModelFailure:
    """Return what a response other than 200 means.

    Args:
        headers: with names in lower case.
        body: as much of it as was read.
        url: as it may be shown.
    """
    try:
        error = read_error(msgspec.json.decode(body))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        error = ProviderError()
    if known := _known(error, status):
        return known
    text = body.decode("utf-8", "replace").strip()
    quoted = error.message or text or "no body"
    if identity := headers.get("x-request-id"):
        url = f"{url}, request id: {identity}"
    unexpected = UNEXPECTED_STATUS.format(
        status=_status_line(status), body=cut(quoted, MAX_BODY_BYTES), url=url
    )
    code: FailureCode
    retry: Retry
    match status:
        case 400:
            code, message, retry = "bad_request", text or unexpected, "never"
        case 401 | 403:
            code, message, retry = "unauthorized", unexpected, "stream"
        case 429:
            message = RETRY_LIMIT.format(status=_status_line(status))
            code, retry = "rate_limited", "stream"
        case 500:
            code, message, retry = "server_error", HIGH_DEMAND, "request"
        case _ if status > 500:
            code, message, retry = "server_error", unexpected, "request"
        case _:
            code, message, retry = "bad_request", unexpected, "stream"
    wait = retry_after_ms(headers) or spoken_delay_ms(error.message)
    return _failure(code, message, retry, wait if retry != "never" else None, status)


def response_failure(error: ProviderError) -> ModelFailure:
    """Return what a `response.failed` or `error` event means."""
    if known := _known(error, None):
        return known
    if not _REJECTED.isdisjoint(error.names):
        return _failure("bad_request", error.message or f"{error.code}: no reason was given")
    code: FailureCode = "rate_limited" if "rate_limit_exceeded" in error.names else "server_error"
    why = error.message or error.code or "response.failed event received"
    message = DISCONNECTED.format(why=why)
    return _failure(code, message, "stream", spoken_delay_ms(error.message))


def incomplete(reason: str) -> ModelFailure:
    """The provider ended the response early, on purpose."""
    return _failure("response_incomplete", INCOMPLETE.format(reason=reason))


def disconnected() -> ModelFailure:
    """The stream ended before its last event."""
    return _failure("stream_disconnected", DISCONNECTED.format(why=CLOSED), "stream")


def idle_timeout() -> ModelFailure:
    """Nothing came for too long. Announced (`stream`), since each retry may take as long."""
    return _failure("idle_timeout", DISCONNECTED.format(why=IDLE), "stream")


def unreachable(why: str, url: str) -> ModelFailure:
    """There is no connection, or it was closed before a response began."""
    return _failure("connection_failed", f"Connection failed: {why}, url: {url}", "request")


def unreadable(why: str, retry: Retry = "never") -> ModelFailure:
    """The response is not what the Responses API writes."""
    return _failure("invalid_response", why, retry)


def retry_after_ms(headers: Mapping[str, str]) -> int | None:
    """Return how long the provider wants us to wait, at most a day. None: it does not say.

    Reads `retry-after-ms`, and `retry-after` as seconds or as a date (RFC 9110, 10.2.3), which
    is compared with the response's own `date`.
    """
    after = headers.get("retry-after", "")
    try:
        if milliseconds := headers.get("retry-after-ms"):
            return _bounded(float(milliseconds))
        return _bounded(float(after) * 1000)
    except ValueError:
        pass
    try:
        pause = parsedate_to_datetime(after) - parsedate_to_datetime(headers.get("date", ""))
    except (ValueError, TypeError):
        return None
    return _bounded(pause.total_seconds() * 1000)


def spoken_delay_ms(message: str) -> int | None:
    """Return the wait of a message that says "try again in 1m30.5s", in milliseconds."""
    found = _DELAY.search(message)
    if found is None or not any(found.groups()):
        return None
    hours, minutes, amount, unit = found.groups()
    last = float(amount or 0) * (1 if (unit or "").lower() == "ms" else 1000)
    return _bounded(int(hours or 0) * 3_600_000 + int(minutes or 0) * 60_000 + last)


def cut(text: str, limit: int) -> str:
    """Return `text`, or its beginning and "…" if it has more than `limit` bytes of UTF-8."""
    encoded = text.encode()
    if len(encoded) <= limit:
        return text
    mark = "…"
    return encoded[: limit - len(mark.encode())].decode("utf-8", "ignore") + mark


def _known(error: ProviderError, status: int | None) -> ModelFailure | None:
    if _USAGE_LIMIT in error.names:
        message = USAGE_LIMIT.format(when=_when(error.resets_at))
        return _failure(_USAGE_LIMIT, message, status=status)
    for name in error.names:
        if name in _FIXED:
            code, message = _FIXED[name]
            return _failure(code, message, status=status)
    return None


def _failure(
    code: FailureCode,
    message: str,
    retry: Retry = "never",
    wait_ms: int | None = None,
    status: int | None = None,
) -> ModelFailure:
    return ModelFailure(code, cut(message, MAX_MESSAGE_BYTES), retry, wait_ms, status)


def _status_line(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _when(resets_at: int | None) -> str:
    try:
        moment = datetime.fromtimestamp(resets_at or 0, UTC)
    except (ValueError, OverflowError, OSError):
        return "later"
    return f"at {moment:%Y-%m-%d %H:%M} UTC" if resets_at else "later"


def _bounded(milliseconds: float) -> int | None:
    if not milliseconds > 0:  # NaN included
        return None
    return int(min(milliseconds, MAX_RETRY_AFTER_MS))
