"""What the events of a Responses API stream say to a session. Only the fields used are decoded.

Source: the events' shapes as the API documents them; kinds that are not in the table are ignored.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

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
from turnlog.protocol.items import read_item
from turnlog.protocol.usage import RateLimits, RateLimitWindow, TokenUsage, tokens
from turnlog.runtime.model import failures
from turnlog.runtime.model.sse import SseEvent

_NOTHING: Final = Raw(b"null")


class _Event(Struct, frozen=True, gc=False):
    type: str
    item: Raw = _NOTHING
    delta: Raw = _NOTHING
    response: Raw = _NOTHING


class _InputDetails(Struct, frozen=True):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _OutputDetails(Struct, frozen=True):
    reasoning_tokens: int | None = None


class _Usage(Struct, frozen=True):
    input_tokens: int = 0
    output_tokens: int = 0
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None


class _Response(Struct, frozen=True):
    id: str | None = None
    usage: Raw = _NOTHING  # read apart: a bad count takes nothing from the answer


class _IncompleteDetails(Struct, frozen=True):
    reason: str | None = None


class _IncompleteResponse(Struct, frozen=True):
    incomplete_details: _IncompleteDetails | None = None


_decode_event: Final = msgspec.json.Decoder(_Event).decode
_decode_text: Final = msgspec.json.Decoder(str).decode
_decode_response: Final = msgspec.json.Decoder(_Response | None).decode
_decode_usage: Final = msgspec.json.Decoder(_Usage | None).decode
_decode_incomplete: Final = msgspec.json.Decoder(_IncompleteResponse | None).decode
_decode_any: Final[Callable[[str | Raw], Any]] = msgspec.json.Decoder().decode


def read_signal(event: SseEvent) -> ModelSignal | None:
    """Return what `event` says, or None if it says nothing to a session.

    Raises:
        ModelCallFailed: it ends the response without completing it, or it cannot be read.
    """
    try:
        kind = _decode_event(event.data)
        read = _READERS.get(kind.type)
        return read(kind, event.data) if read else None
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        if event.data == "[DONE]" or (event.name and event.name not in _READERS):
            return None
        why = f"event {event.name!r} of the response cannot be read: {error}"
        message = failures.DISCONNECTED.format(why=why)
        raise ModelCallFailed(failures.unreadable(message, "stream")) from error


def read_limits(headers: Mapping[str, str]) -> RateLimits | None:
    """Return the allowances that a response's headers (names in lower case) report, if any."""
    primary, secondary = _window(headers, "primary"), _window(headers, "secondary")
    return RateLimits(primary, secondary) if primary or secondary else None


def _window(headers: Mapping[str, str], which: str) -> RateLimitWindow | None:
    used = _number(headers.get(f"x-codex-{which}-used-percent"))
    if used is None:
        return None
    minutes = _number(headers.get(f"x-codex-{which}-window-minutes"))
    resets = _number(
        headers.get(f"x-codex-{which}-reset-at") or headers.get(f"x-codex-{which}-resets-at")
    )
    return RateLimitWindow(
        used,
        None if minutes is None else int(minutes),
        None if resets is None else int(resets),
    )


def _number(text: str | None) -> float | None:
    """Return a header's number, if it is one that a counter or a time can be."""
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if 0 <= number < 2**53 else None


def _item(event: _Event, _: str) -> ModelSignal:
    text = bytes(event.item).decode()
    read_item(text)  # whoever takes the item up must be able to read it
    return ItemDone(text)


def _completed(event: _Event, _: str) -> ModelSignal:
    response = _decode_response(event.response) or _Response()
    return Completed(response.id or "", _usage(response.usage))


def _usage(found: Raw) -> TokenUsage | None:
    """Return what a response says that it cost; None if that is nothing one can count with."""
    try:
        usage = _decode_usage(found)
    except msgspec.MsgspecError:
        return None
    if usage is None:
        return None
    read = usage.input_tokens_details or _InputDetails()
    written = usage.output_tokens_details or _OutputDetails()
    return TokenUsage(
        input_tokens=tokens(usage.input_tokens),
        cached_input_tokens=tokens(read.cached_tokens or 0),
        cache_write_input_tokens=tokens(read.cache_write_tokens or 0),
        output_tokens=tokens(usage.output_tokens),
        reasoning_output_tokens=tokens(written.reasoning_tokens or 0),
    )


def _failed(event: _Event, _: str) -> ModelSignal:
    raise ModelCallFailed(
        failures.response_failure(failures.read_error(_decode_any(event.response)))
    )


def _incomplete(event: _Event, _: str) -> ModelSignal:
    response = _decode_incomplete(event.response)
    details = response.incomplete_details if response else None
    raise ModelCallFailed(failures.incomplete((details and details.reason) or "unknown"))


def _error(_: _Event, data: str) -> ModelSignal:
    raise ModelCallFailed(failures.response_failure(failures.read_error(_decode_any(data))))


_READERS: Final[Mapping[str, Callable[[_Event, str], ModelSignal]]] = {
    "response.output_item.done": _item,
    "response.output_text.delta": lambda event, _: TextDelta(_decode_text(event.delta)),
    "response.reasoning_summary_text.delta": lambda event, _: ReasoningDelta(
        _decode_text(event.delta)
    ),
    "response.reasoning_summary_part.added": lambda event, _: ReasoningBreak(),
    "response.reasoning_text.delta": lambda event, _: RawReasoningDelta(_decode_text(event.delta)),
    "response.completed": _completed,
    "response.failed": _failed,
    "response.incomplete": _incomplete,
    "error": _error,
}
