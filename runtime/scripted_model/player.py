"""Who gets which response: a script's place, moved on by requests. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs
import msgspec

from turnlog.protocol.json_text import json_text
from turnlog.protocol.json_values import is_list, is_object
from turnlog.runtime.scripted_model.script import (
    EVENT_STREAM,
    Response,
    Script,
    rate_limit_headers,
)
from turnlog.runtime.scripted_model.stream import Names, Stop, chunks, events, frame

JSON: Final = "application/json"

# How a request to summarise begins (codex-rs, its compaction prompt; turnlog's own keeps it).
COMPACTION_REQUEST: Final = "CONTEXT CHECKPOINT COMPACTION"
_SHOWN: Final = 200  # characters of an input item in an error


@attrs.frozen
class Answer:
    """What is sent for one request."""

    status: int | None  # None: no answer at all
    headers: Mapping[str, str]
    chunks: Iterable[bytes | Stop]  # ends with a Stop
    delay_ms: int = 0  # before each chunk


@attrs.define
class _Queue:
    """Responses in order, and the place in them."""

    responses: Sequence[Response]
    loop: bool
    given: int = 0
    _index: int = 0
    _repeated: int = 0

    def current(self) -> Response | None:
        return self.responses[self._index] if self._index < len(self.responses) else None

    def advance(self) -> None:
        self.given += 1
        self._repeated += 1
        if self._repeated >= self.responses[self._index].repeat:
            self._index, self._repeated = self._index + 1, 0
            if self.loop:
                self._index %= len(self.responses)


_Kind = tuple[bool, str | None]  # `compaction` and `only_for` of responses that share a queue


class Player:
    """Answers requests from a script, in the order in which they are asked.

    If the script has `compaction` responses, requests to summarise are answered from these alone
    and all others from the rest, each in their order: a client that compacts earlier or
    later than the script's author thought, or never, gets the right answers all the same.

    A request in which a user's message holds the `only_for` of some responses is answered from
    these alone; where there are several such texts, the one that comes first in the script counts.
    Other items do not: the prompt of an agent is in the call that started it, too.
    """

    def __init__(self, script: Script) -> None:
        parts: dict[_Kind, list[Response]] = {(False, None): []}
        for response in script.responses:
            parts.setdefault((response.compaction, response.only_for), []).append(response)
        self._queues = {kind: _Queue(part, script.loop) for kind, part in parts.items()}
        self._marks = [mark for _, mark in parts if mark is not None]
        self._names = Names()

    def answer(self, body: object) -> Answer:
        """Return the next response, as `body`, the request's decoded JSON, is entitled to it.

        A request that is no request, or not the expected one, is told so with status 400, and the
        script stays where it is.
        """
        if not is_object(body) or body.get("stream") is not True:
            return error(400, "bad_request", 'the body must be a JSON object with "stream": true')
        items = _input_items(body.get("input"))
        kind = self._kind(items)
        queue = self._queues[kind]
        response = queue.current()
        if response is None:
            return _script_is_over(queue, kind)
        if (mismatch := _mismatch(response, items)) is not None:
            return error(400, "script_mismatch", f"response {queue.given + 1}: {mismatch}")
        queue.advance()
        return self._play(response, str(body.get("model", "")))

    def _kind(self, items: list[Any]) -> _Kind:
        """Return which responses a request with this input is answered from."""
        mark = None
        if self._marks:
            said = "\n".join(_text(item) for item in items if _is_users(item))
            mark = next((mark for mark in self._marks if mark in said), None)
        compactions: list[_Kind] = []
        if COMPACTION_REQUEST in _text(items[-1:]):
            compactions = [(True, mark), (True, None)]
        kinds: list[_Kind] = [*compactions, (False, mark), (False, None)]
        return next(kind for kind in kinds if kind in self._queues)

    def _play(self, response: Response, model: str) -> Answer:
        if response.no_answer is not None:
            return Answer(None, {}, [Stop(response.no_answer)])
        frames: Iterator[bytes]
        if response.is_plain:
            kind, data = _plain_body(response)
            length = {"content-length": str(len(data))}
            frames = iter([data])
        else:
            kind, length = EVENT_STREAM, {}
            frames = map(frame, events(response, self._names, model))
        headers = {"content-type": response.content_type or kind} | length
        if response.rate_limits is not None:
            headers |= rate_limit_headers(response.rate_limits)
        headers |= response.headers
        return Answer(response.status, headers, chunks(response, frames), response.delay_ms)


def error(status: int, code: str, text: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an error of the server's own, in the shape that clients of the API read."""
    data = msgspec.json.encode(
        {"error": {"message": f"scripted model: {text}", "type": "scripted_model", "code": code}}
    )
    length = {"content-type": JSON, "content-length": str(len(data))}
    return Answer(status, length | dict(headers or {}), [data, Stop.END])


def _script_is_over(queue: _Queue, kind: _Kind) -> Answer:
    compaction, mark = kind
    what = "compaction responses" if compaction else "responses"
    which = what if mark is None else f"{what} only for {mark[:_SHOWN]!r}"
    return error(
        400,
        "script_over",
        f"the script is over: its {queue.given} {which} have been given out. "
        "Add a response for this request, or set `loop` to begin again.",
    )


def _plain_body(response: Response) -> tuple[str, bytes]:
    """Return a plain answer's content type and body."""
    body = response.body
    if body is msgspec.UNSET:
        text = f"scripted status {response.status}"
        body = {"error": {"message": text, "type": "scripted_model", "code": None}}
    if isinstance(body, str):
        return "text/plain; charset=utf-8", body.encode()
    return JSON, json_text(body)


def _mismatch(response: Response, items: list[Any]) -> str | None:
    """Return what is wrong with the request's input, if this response expects another one."""
    wanted = response.expect
    if wanted is not None and wanted not in (text := _text(items[-1:])):
        last = f"it is {text[:_SHOWN]!r}" if items else "there is none"
        return f"the last input item should contain {wanted!r}; {last}"
    wanted = response.expect_any
    if wanted is not None and not any(wanted in _text(item) for item in items):
        return f"an input item should contain {wanted!r}; none of the {len(items)} does"
    return None


def _input_items(value: object) -> list[Any]:
    """Return a request's input items; a text as input is one."""
    if isinstance(value, str):
        return [value]
    return value if is_list(value) else []


def _is_users(item: object) -> bool:
    return isinstance(item, str) or (is_object(item) and item.get("role") == "user")


def _text(value: object) -> str:
    """Return all texts in decoded JSON, in order, one a line."""
    texts: list[str] = []
    left = [value]  # a stack, since JSON may be nested deeper than Python calls
    while left:
        inner = left.pop()
        if isinstance(inner, str):
            texts.append(inner)
        elif is_list(inner):
            left.extend(reversed(inner))
        elif is_object(inner):
            left.extend(reversed(inner.values()))
    return "\n".join(texts)
