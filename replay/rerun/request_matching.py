"""Finding the recorded answer to a request, or the request that is nearest to it. Pure."""

from collections import defaultdict, deque
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

import attrs
import msgspec
from msgspec import Struct

from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import RecordingMiss
from turnlog.protocol.items import JsonText, ToolCallItem
from turnlog.replay.rerun.recording import Exchange, call_key
from turnlog.replay.rerun.tolerances import Tolerances

_BEFORE: Final = 60  # characters that are shown before a difference
_AFTER: Final = 120
_ASKED_FOR: Final = {
    "model": "request of the model",
    "tool": "call",
    "child": "prompt to a child session",
    "child_told": "message to a child session",
}


class Mismatch(Struct, frozen=True):
    """A request that the recording does not hold, and how the nearest one differs from it."""

    kind: str  # model, tool or child; or the kind of the decision that asks
    what: str  # `part 3`, `model`, `tools`, `output schema`, `end of input`, `call`, ...
    recorded: str  # both cut around the first difference
    asked: str
    nearest: int | None = None  # sequence of the recorded request or call; None: there is none
    common: int = 0  # parts that are the same, from the first on

    @property
    def text(self) -> str:
        """What people read: some lines."""
        asked_for = _ASKED_FOR.get(self.kind, self.kind.replace("_", " "))
        if self.nearest is None:
            return f"the recording holds no such {asked_for}: {self.asked}"
        return (
            f"the recording holds no such {asked_for}. The nearest is event {self.nearest}"
            + (f", which begins with the same {_parts(self.common)}" if self.common else "")
            + f"; {self.what} differs:\n  recorded: {self.recorded}\n  asked:    {self.asked}"
        )


class UnrecordedRequest(RecordingMiss):
    """A `RecordingMiss` that says where. Nothing was called in its place."""

    def __init__(self, mismatch: Mismatch) -> None:
        super().__init__(
            ErrorCode.RECORDING_MISS,
            f"{mismatch.text}\n"
            "Nothing was called. If the difference does not matter, allow it with --tolerate or "
            "--replace.",
        )
        self.mismatch = mismatch


def around_difference(first: str, second: str) -> tuple[str, str]:
    """Return both texts, cut around the first place where they differ."""
    pairs = zip(first, second, strict=False)
    at = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))
    return _cut(first, at), _cut(second, at)


def _parts(number: int) -> str:
    return "part" if number == 1 else f"{number} parts"


def _cut(text: str, at: int) -> str:
    start, end = max(0, at - _BEFORE), at + _AFTER
    return ("…" if start else "") + text[start:end] + ("…" if end < len(text) else "")


class Request(Struct, frozen=True):
    """What two requests must agree in."""

    parts: Sequence[JsonText]
    model: str = ""
    tools_json: JsonText = ""
    schema_json: JsonText = "null"

    def key(self) -> bytes:
        """Return a digest that is equal for equal requests, and for no others."""
        digest = blake2b(digest_size=16)
        for text in (self.model, self.tools_json, self.schema_json, *self.parts):
            data = text.encode(errors="surrogatepass")
            digest.update(len(data).to_bytes(8) + data)
        return digest.digest()


def schema_json(schema: dict[str, object] | None) -> JsonText:
    return msgspec.json.encode(schema, order="sorted").decode()


@attrs.define
class RequestBook:
    """The recorded requests. Equal ones are answered in their order, each once.

    Args:
        framed: whether model, tools and output schema must agree, beside the parts.
    """

    exchanges: Sequence[Exchange]
    tolerances: Tolerances
    framed: bool = True
    _waiting: dict[bytes, deque[Exchange]] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._waiting = defaultdict(deque)
        for exchange in self.exchanges:
            self._waiting[self._recorded(exchange).key()].append(exchange)

    def take(self, request: Request) -> Exchange:
        """Return the next recorded exchange with this request. It is returned once.

        Raises:
            UnrecordedRequest: there is none, or no more.
        """
        asked = self._formed(request)
        if left := self._waiting.get(asked.key()):
            return left.popleft()
        raise UnrecordedRequest(self._nearest(asked))

    def require(self, exchange: Exchange, request: Request) -> None:
        """Check that `request` is the one of `exchange`.

        Raises:
            UnrecordedRequest: it is another one.
        """
        asked = self._formed(request)
        if self._recorded(exchange).key() != asked.key():
            raise UnrecordedRequest(self._nearest(asked))

    def find(self, request: Request) -> list[Exchange]:
        """Return every recorded exchange with this request.

        Raises:
            UnrecordedRequest: there is none.
        """
        asked = self._formed(request)
        if found := self._waiting.get(asked.key()):
            return list(found)
        raise UnrecordedRequest(self._nearest(asked))

    def nearest(self, request: Request) -> Mismatch:
        """Say which recorded request is nearest, and where it differs."""
        return self._nearest(self._formed(request))

    def _recorded(self, exchange: Exchange) -> Request:
        return self._formed(
            Request(
                exchange.parts,
                exchange.settings.session.model,
                exchange.tools_json,
                schema_json(exchange.output_schema),
            )
        )

    def _formed(self, request: Request) -> Request:
        parts = self.tolerances.form(request.parts)
        if not self.framed:
            return Request(parts)
        return Request(parts, request.model, request.tools_json, request.schema_json)

    def _nearest(self, asked: Request) -> Mismatch:
        """Say which request is nearest: the one with the longest beginning in common."""
        best: tuple[int, int, Exchange, Request] | None = None
        for exchange in self.exchanges:
            recorded = self._recorded(exchange)
            common = _common(recorded.parts, asked.parts)
            apart = abs(len(recorded.parts) - len(asked.parts))
            if best is None or (common, -apart) > best[:2]:
                best = common, -apart, exchange, recorded
        if best is None:
            last = asked.parts[-1] if asked.parts else ""
            return Mismatch("model", "request", "", _cut(last, 0))
        common, _, exchange, recorded = best
        what, first, second = _first_difference(recorded, asked, common)
        shown = around_difference(first, second)
        return Mismatch("model", what, *shown, nearest=exchange.asked_at, common=common)


def _common(first: Sequence[str], second: Sequence[str]) -> int:
    pairs = zip(first, second, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))


def _first_difference(recorded: Request, asked: Request, common: int) -> tuple[str, str, str]:
    if common < max(len(recorded.parts), len(asked.parts)):
        texts = [
            request.parts[common] if common < len(request.parts) else "(nothing more)"
            for request in (recorded, asked)
        ]
        return f"part {common + 1}", texts[0], texts[1]
    for what, first, second in (
        ("model", recorded.model, asked.model),
        ("list of tools", recorded.tools_json, asked.tools_json),
        ("output schema", recorded.schema_json, asked.schema_json),
    ):
        if first != second:
            return what, first, second
    return "place in the order", "answered already, or not yet its turn", "now"


def nearest_call(calls: Sequence[tuple[int | None, ToolCallItem]], asked: ToolCallItem) -> Mismatch:
    """Say which recorded call is nearest to a call that was not recorded: one of the same tool.

    Args:
        calls: with the sequences of their runs.
    """
    name, arguments = call_key(asked)
    best: tuple[tuple[bool, int], int | None, str] | None = None
    for at, call in calls:
        known, text = call_key(call)
        rank = known == name, _common(text, arguments)
        if best is None or rank > best[0]:
            best = rank, at, f"{known} {text}"
    if best is None:
        return Mismatch("tool", "call", "", _cut(f"{name} {arguments}", 0))
    shown = around_difference(best[2], f"{name} {arguments}")
    again = shown[0] == shown[1]
    what = "number of times that it was called" if again else "call"
    return Mismatch("tool", what, *shown, nearest=best[1])
