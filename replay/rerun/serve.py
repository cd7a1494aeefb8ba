"""A recorded session as a Responses API endpoint: for any client, strict in what it answers."""

import math
import re
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import attrs
import msgspec

from turnlog.protocol.calls import ModelFailure
from turnlog.protocol.events import ModelCompleted, ModelFailed, RateLimitsReceived
from turnlog.protocol.items import JsonText
from turnlog.protocol.json_values import is_list, is_object
from turnlog.protocol.usage import RateLimits
from turnlog.replay.rerun.recording import Exchange
from turnlog.replay.rerun.request_matching import Request, RequestBook, UnrecordedRequest
from turnlog.replay.rerun.tolerances import ANY_CLIENT, Tolerances
from turnlog.runtime.model import failures
from turnlog.runtime.scripted_model.player import JSON, Answer, error
from turnlog.runtime.scripted_model.script import (
    EVENT_STREAM,
    Failure,
    Item,
    Response,
    message,
    rate_limit_headers,
)
from turnlog.runtime.scripted_model.server import ScriptedServer, serve_player
from turnlog.runtime.scripted_model.stream import Names, Stop, chunks, events, frame

MISS: Final = 409  # status of the answer to a request that was not recorded

# What the provider calls the failures that it has a name for, by the text that we show for them.
_NAMED: Final = {
    failures.CONTEXT_WINDOW: "context_length_exceeded",
    failures.QUOTA: "insufficient_quota",
    failures.NOT_INCLUDED: "usage_not_included",
    failures.AT_CAPACITY: "server_is_overloaded",
}
_UNEXPECTED: Final = re.compile(r"unexpected status [^:]*: (.*), url: .*", re.S)
_INCOMPLETE: Final = failures.INCOMPLETE.format(reason="")
_DISCONNECTED: Final = failures.DISCONNECTED.format(why="")
_ADVICE: Final = (
    "\nEach request is answered once, in the recorded order; --any-order answers in any, and again."
)
_NOT_SENT: Final = frozenset({"credential_missing"})
_USAGE_LIMIT: Final = "usage_limit_reached"


@attrs.define(eq=False)
class RecordedPlayer:
    """Answers requests as they were answered then; any other one gets status 409 and says why.

    The input must be the recorded one, but for `tolerances`. Model, tools, instructions and
    sampling are the client's own affair and are not compared.

    Args:
        any_order: answer any recorded request at any time, the last answer again and again.
            False: in the recorded order, each once.
        report: is told of each miss.
    """

    exchanges: Sequence[Exchange]
    any_order: bool = False
    report: Callable[[str], None] = attrs.field(default=lambda text: None)
    tolerances: Tolerances = attrs.field(factory=lambda: Tolerances(ANY_CLIENT))
    _book: RequestBook = attrs.field(init=False)
    _next: int = attrs.field(default=0, init=False)
    _given: dict[int, int] = attrs.field(factory=dict[int, int], init=False)

    def __attrs_post_init__(self) -> None:
        self.exchanges = _answerable(self.exchanges, self.tolerances)
        self._book = RequestBook(self.exchanges, self.tolerances, framed=False)

    def answer(self, body: object) -> Answer:
        """Return the answer to a request, whose decoded JSON `body` is."""
        if not is_object(body) or body.get("stream") is not True:
            return error(400, "bad_request", 'the body must be a JSON object with "stream": true')
        request = Request(_parts(body.get("input")))
        try:
            exchange = self._find(request)
        except UnrecordedRequest as missed:
            advice = "" if self.any_order else _ADVICE
            self.report(missed.mismatch.text + advice)
            return _missed(missed, advice)
        return _play(response_of(exchange), str(body.get("model", "")))

    def _find(self, request: Request) -> Exchange:
        if self.any_order:
            found = self._book.find(request)
            first = found[0].asked_at
            given = self._given[first] = self._given.get(first, 0) + 1
            return found[min(given, len(found)) - 1]
        if self._next == len(self.exchanges):
            raise UnrecordedRequest(self._book.nearest(request))
        exchange = self.exchanges[self._next]
        self._book.require(exchange, request)
        self._next += 1
        return exchange


@asynccontextmanager
async def serve_recording(
    player: RecordedPlayer, port: int = 0, *, host: str = "127.0.0.1"
) -> AsyncGenerator[ScriptedServer]:
    """Serve a recording while the block runs.

    Raises:
        UsageError: the server cannot listen there.
    """
    named = (exchange.settings.session.model for exchange in player.exchanges)
    models = tuple(dict.fromkeys(named))
    async with serve_player(player, port, host=host, keep_requests=False, models=models) as server:
        yield server


def response_of(exchange: Exchange) -> Response:
    """Return what is sent for a recorded exchange, with the fault that it had."""
    items: list[Item] = [msgspec.json.decode(item) for item in exchange.items]
    match exchange.ending:
        case ModelCompleted(response_id=response_id, usage=usage):
            return Response(
                items=items,
                id=response_id or None,
                usage=usage,
                rate_limits=_limits(exchange),
            )
        case ModelFailed(failure=failure, partial_text=partial):
            return _failed(items, failure, partial)
        case _:
            return _stopped(items, "", "stall")


def _failed(items: list[Item], failure: ModelFailure, partial: str) -> Response:
    match failure.code:
        case "connection_failed":
            return Response(no_answer="cut")
        case "stream_disconnected" | "crashed":
            return _stopped(items, partial, "cut")
        case "idle_timeout" | "cancelled":
            return _stopped(items, partial, "stall")
        case "response_incomplete":
            return Response(items=items, incomplete=failure.message.removeprefix(_INCOMPLETE))
        case "invalid_response" if failure.retry == "never":
            return Response(body={"recorded": failure.message})
        case "invalid_response":
            return Response(items=items, garbage_after=_length(items) - 1)
        case _ if failure.http_status is not None and failure.http_status != 200:
            return _refused(failure, failure.http_status)
        case _:
            name = _NAMED.get(failure.message) or _name(failure)
            text = failure.message.removeprefix(_DISCONNECTED)
            return Response(items=items, failed=Failure(code=name, message=text))


def _name(failure: ModelFailure) -> str:
    match failure.code:
        case "rate_limited":
            return "rate_limit_exceeded"
        case "bad_request":
            return "invalid_prompt"
        case other:
            return other


def _refused(failure: ModelFailure, status: int) -> Response:
    """Return the plain HTTP answer that is read as `failure`."""
    headers: dict[str, str] = {}
    if failure.retry_after_ms is not None:
        headers["retry-after-ms"] = str(failure.retry_after_ms)
    found = _UNEXPECTED.fullmatch(failure.message)
    text = found.group(1) if found else failure.message
    if failure.code == "bad_request" and not found:
        return Response(status=status, headers=headers, body=text)
    named = _NAMED.get(failure.message)
    kind = _USAGE_LIMIT if failure.code == _USAGE_LIMIT else "recorded"
    body = {"error": {"message": text, "type": kind, "code": named}}
    return Response(status=status, headers=headers, body=body)


def _stopped(items: list[Item], partial: str, how: str) -> Response:
    """Return a stream that ends after `items` and the beginning of a message."""
    whole = [*items, message(partial)] if partial else items
    at = _length(whole) - 1
    if partial:
        at = next(
            number
            for number, event in enumerate(events(Response(items=whole), Names(), ""))
            if event["type"] == "response.output_text.done" and event["output_index"] == len(items)
        )
    if how == "cut":
        return Response(items=whole, cut_after=at)
    return Response(items=whole, stall_after=at)


def _length(items: list[Item]) -> int:
    return sum(1 for _ in events(Response(items=items), Names(), ""))


def _limits(exchange: Exchange) -> RateLimits | None:
    facts = (fact for _, fact in exchange.signals if isinstance(fact, RateLimitsReceived))
    return next((fact.limits for fact in facts), None)


def _play(response: Response, model: str) -> Answer:
    if response.no_answer is not None:
        return Answer(None, {}, [Stop(response.no_answer)])
    frames: Iterator[bytes]
    if response.is_plain:
        plain = isinstance(response.body, str)
        data = response.body.encode() if plain else msgspec.json.encode(response.body)
        kind, frames = "text/plain; charset=utf-8" if plain else JSON, iter([data])
        headers = {"content-type": kind, "content-length": str(len(data))} | response.headers
    else:
        headers = {"content-type": EVENT_STREAM}
        frames = map(frame, events(response, Names(), model))
    if response.rate_limits is not None:
        headers |= rate_limit_headers(response.rate_limits)
    return Answer(response.status, headers, chunks(response, frames))


def _missed(missed: UnrecordedRequest, advice: str) -> Answer:
    fields = {"message": missed.mismatch.text + advice, "type": missed.code, "code": missed.code}
    fields |= {"miss": msgspec.to_builtins(missed.mismatch)}
    data = msgspec.json.encode({"error": fields})
    return Answer(MISS, {"content-type": JSON, "content-length": str(len(data))}, [data, Stop.END])


def _answerable(exchanges: Sequence[Exchange], tolerances: Tolerances) -> list[Exchange]:
    """Leave out requests that were never sent, or that a client cut off and asked again."""
    kept: list[Exchange] = []
    again: dict[bytes, float] = {}
    for exchange in reversed(exchanges):
        key = Request(tolerances.form(exchange.parts)).key()
        match exchange.ending:
            case ModelFailed(failure=failure) if failure.code in _NOT_SENT:
                continue
            case ModelFailed(failure=ModelFailure(code="cancelled")):
                is_cut_off = True
            case ModelCompleted() | ModelFailed():
                is_cut_off = False
            case _:
                is_cut_off = True
        if not (is_cut_off and again.get(key, math.inf) < math.inf):
            kept.append(exchange)
        again[key] = exchange.asked_at
    return kept[::-1]


def _parts(value: object) -> list[JsonText]:
    """Return a request's input, item by item, short forms written out."""
    if isinstance(value, str):
        value = [{"role": "user", "content": value}]
    return [msgspec.json.encode(_whole(item)).decode() for item in value] if is_list(value) else []


def _whole(item: object) -> object:
    if not is_object(item):
        return item
    whole: dict[str, Any] = {"type": "message"} | item
    if whole["type"] == "message" and isinstance(text := whole.get("content"), str):
        kind = "output_text" if whole.get("role") == "assistant" else "input_text"
        whole["content"] = [{"type": kind, "text": text}]
    return whole
