"""A response as the events of the Responses API's stream, and those as bytes. Pure.

Source: the event names and fields of OpenAI's Responses API, streaming; codex-rs reads
`cache_write_tokens` beside `cached_tokens`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any, Final

import attrs
import msgspec

from turnlog.protocol.json_text import json_text
from turnlog.protocol.json_values import is_list, is_object
from turnlog.protocol.usage import TokenUsage
from turnlog.runtime.scripted_model.script import Item, Response

Event = dict[str, Any]

_BOM: Final = b"\xef\xbb\xbf"
_GARBAGE: Final = b'event: response.output_text.delta\ndata: {"type":"response.output_te\n\n'
_ID_PREFIXES: Final = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "custom_tool_call": "ctc",
    "web_search_call": "ws",
}
_CALLS: Final = frozenset({"function_call", "custom_tool_call"})
# Of each call: the field that is streamed, and what its events are called.
_STREAMED: Final = {
    "function_call": ("arguments", "response.function_call_arguments"),
    "custom_tool_call": ("input", "response.custom_tool_call_input"),
}
# Of each kind of a message's part: the field that is streamed, and what its events are called.
_PARTS: Final = {
    "output_text": ("text", "response.output_text"),
    "refusal": ("refusal", "response.refusal"),
}


class Stop(Enum):
    """How an answer ends."""

    END = "end"  # in good order
    CUT = "cut"  # the socket is closed, whatever was announced
    STALL = "stall"  # nothing more comes


@attrs.define
class Names:
    """Gives out resp_0001, msg_0001, call_0001, ...: the same ones for the same requests."""

    _given: Counter[str] = attrs.field(factory=Counter[str])

    def next(self, prefix: str) -> str:
        """Return a new name."""
        self._given[prefix] += 1
        return f"{prefix}_{self._given[prefix]:04}"

    def fill(self, item: Item) -> Item:
        """Return `item` with the `id`, and the `call_id` of a call, that it leaves out."""
        kind = item["type"]
        filled = {"type": kind, "id": item.get("id") or self.next(_ID_PREFIXES.get(kind, "item"))}
        filled |= {name: value for name, value in item.items() if name != "id"}
        if kind in _CALLS and not filled.get("call_id"):
            filled["call_id"] = self.next("call")
        return filled


@attrs.frozen
class _Texts:
    """Cuts texts into deltas."""

    chars: int | None  # None: no deltas

    def events(self, name: str, place: Event, text: str, field: str) -> Iterator[Event]:
        if self.chars is not None:
            for start in range(0, len(text), self.chars):
                yield {
                    "type": f"{name}.delta",
                    **place,
                    "delta": text[start : start + self.chars],
                }
        yield {"type": f"{name}.done", **place, field: text}


def events(response: Response, names: Names, model: str) -> Iterator[Event]:
    """Name what `response` leaves unnamed, and return its events.

    The last event says how it ended: completed, failed or incomplete.
    The items are sent as they are, also those that no client could read.
    """
    answer: Event = {
        "id": response.id or names.next("resp"),
        "object": "response",
        "created_at": 0,  # no clock: the same script gives the same bytes
        "model": model,
    }
    items = [names.fill(item) for item in response.items]
    return (
        {"type": event["type"], "sequence_number": number, **event}
        for number, event in enumerate(_unnumbered(response, answer, items))
    )


def _unnumbered(response: Response, answer: Event, items: list[Item]) -> Iterator[Event]:
    texts = _Texts(response.delta_chars if response.deltas else None)
    begun: Event = {"status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": answer | begun}
    for index, item in enumerate(items):
        yield from _item_events(item, {"item_id": item["id"], "output_index": index}, texts)
    usage = None if response.usage is None else usage_on_wire(response.usage)
    if response.failed is not None:
        end: Event = {"status": "failed", "error": msgspec.to_builtins(response.failed)}
    elif response.incomplete is not None:
        end = {"status": "incomplete", "incomplete_details": {"reason": response.incomplete}}
    else:
        end = {"status": "completed"}
    whole = answer | end | {"output": items, "usage": usage}
    yield {"type": f"response.{end['status']}", "response": whole}


def _item_events(item: Item, place: Event, texts: _Texts) -> Iterator[Event]:
    index = place["output_index"]
    empty: Event
    inner: Iterator[Event]
    match item["type"]:
        case "message":
            empty, inner = {"content": []}, _message_events(item, place, texts)
        case "reasoning":
            empty, inner = {"summary": []}, _reasoning_events(item, place, texts)
        case "function_call" | "custom_tool_call" as kind:
            field, name = _STREAMED[kind]
            empty = {field: ""}
            inner = texts.events(name, place, _text(item, field), field)
        case _:
            empty, inner = {}, iter(())
    begun = item | empty | {"status": "in_progress"}
    yield {"type": "response.output_item.added", "output_index": index, "item": begun}
    yield from inner
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _message_events(item: Item, place: Event, texts: _Texts) -> Iterator[Event]:
    for index, part in enumerate(_parts(item, "content")):
        where = {**place, "content_index": index}
        streamed = _PARTS.get(part.get("type", ""))
        empty = part if streamed is None else part | {streamed[0]: ""}
        yield {"type": "response.content_part.added", **where, "part": empty}
        if streamed is not None:
            field, name = streamed
            yield from texts.events(name, where, _text(part, field), field)
        yield {"type": "response.content_part.done", **where, "part": part}


def _reasoning_events(item: Item, place: Event, texts: _Texts) -> Iterator[Event]:
    for index, part in enumerate(_parts(item, "summary")):
        where = {**place, "summary_index": index}
        yield {
            "type": "response.reasoning_summary_part.added",
            **where,
            "part": part | {"text": ""},
        }
        text = _text(part, "text")
        yield from texts.events("response.reasoning_summary_text", where, text, "text")
        yield {"type": "response.reasoning_summary_part.done", **where, "part": part}
    for index, part in enumerate(_parts(item, "content")):
        where = {**place, "content_index": index}
        yield from texts.events("response.reasoning_text", where, _text(part, "text"), "text")


def _parts(item: Item, field: str) -> list[Event]:
    value = item.get(field)
    return [part for part in value if is_object(part)] if is_list(value) else []


def _text(part: Event, field: str) -> str:
    value = part.get(field)
    return value if isinstance(value, str) else ""


def usage_on_wire(usage: TokenUsage) -> dict[str, Any]:
    """Return `usage` as the Responses API writes it."""
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_input_tokens,
            "cache_write_tokens": usage.cache_write_input_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_output_tokens},
        "total_tokens": usage.total_tokens,
    }


def frame(event: Event) -> bytes:
    """Return one event of text/event-stream."""
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), json_text(event))


def chunks(response: Response, frames: Iterable[bytes]) -> Iterator[bytes | Stop]:
    """Yield what is sent of `frames`, chunk by chunk, with the response's faults; then a Stop."""
    left = response.cut_after_bytes
    for piece in _pieces(response, frames):
        if isinstance(piece, Stop):
            yield piece
            return
        piece = piece if left is None else piece[:left]
        for start in range(0, len(piece), response.split or len(piece) or 1):
            yield piece[start : start + (response.split or len(piece))]
        if left is not None:
            left -= len(piece)
            if left == 0:
                yield Stop.CUT
                return


def _pieces(response: Response, frames: Iterable[bytes]) -> Iterator[bytes | Stop]:
    """Yield whole frames and what is between them, up to the Stop."""
    prefix = _BOM if response.bom else b""
    count = 0
    stops = {
        response.end_after: Stop.END,
        response.cut_after: Stop.CUT,
        response.stall_after: Stop.STALL,
    }
    for data in frames:
        if response.garbage_after == count:
            yield prefix + _GARBAGE
            prefix = b""
        if count in stops:
            yield stops[count]
            return
        yield prefix + data
        prefix, count = b"", count + 1
    if response.garbage_after == count:
        yield _GARBAGE
    yield stops.get(count, Stop.END)
