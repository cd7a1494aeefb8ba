"""What a scripted model says: an ordered list of responses, each with its faults. Pure.

A script file (`reading.py`) has these same fields, and a few short forms for people.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Self

import msgspec
from msgspec import Meta, Struct

from turnlog.protocol.json_text import json_text
from turnlog.protocol.usage import RateLimits, TokenUsage

Item = dict[str, Any]  # one item of the Responses API; an `id` or `call_id` left out is numbered
NotNegative = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]

DEFAULT_USAGE: Final = TokenUsage(
    input_tokens=100, cached_input_tokens=40, output_tokens=10, reasoning_output_tokens=3
)
EVENT_STREAM: Final = "text/event-stream"

_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"([!-~]([ -~\t]*[!-~])?)?")
_FRAMING_HEADERS: Final = frozenset({"content-length", "transfer-encoding", "content-type"})
_ENDINGS: Final = ("stall_after", "cut_after", "cut_after_bytes", "end_after", "no_answer")
_BODYLESS: Final = frozenset({204, 205, 304})


class Failure(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `response.failed` reports, such as context_length_exceeded or insufficient_quota."""

    code: str
    message: str


class Response(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The answer to one request: a stream of events, or a plain HTTP answer.

    A place "after n" counts whole events from response.created on (or a plain body as one);
    0 is after the headers. At most one of `stall_after`, `cut_after`, `cut_after_bytes`,
    `end_after` and `no_answer` may be set. Past the end of the stream, a place never comes.

    Raises:
        ValueError: two fields contradict each other, or a value cannot be sent.
    """

    items: list[Item] = []
    id: str | None = None  # None: resp_0001, resp_0002, ... as they are given out
    usage: TokenUsage | None = DEFAULT_USAGE  # None: the last event reports no usage
    failed: Failure | None = None  # the items are followed by response.failed
    incomplete: str | None = None  # the reason: they are followed by response.incomplete
    deltas: bool = True  # False: texts come whole, in their `done` events
    delta_chars: Positive = 16  # code points in each delta

    expect: str | None = None  # what the request's last input item must contain
    expect_any: str | None = None  # what at least one input item must contain
    compaction: bool = False  # answers a request to summarise; see `Player`
    only_for: str | None = None  # answers requests in which a user's message holds this text
    repeat: Positive = 1  # how many requests in a row get this response

    status: Annotated[int, Meta(ge=200, le=599)] = 200
    headers: dict[str, str] = {}  # such as retry-after
    content_type: str | None = None  # None: what the body is
    rate_limits: RateLimits | None = None  # as x-codex-primary-... headers
    body: Any = msgspec.UNSET  # instead of a stream: a text as it is, all else as JSON

    delay_ms: NotNegative = 0  # before each chunk
    split: Positive | None = None  # bytes in each chunk; None: one event is one chunk
    bom: bool = False  # the stream begins with a byte order mark
    garbage_after: NotNegative | None = None  # an event that is not JSON comes after n events
    stall_after: NotNegative | None = None  # nothing more comes, until the client leaves
    cut_after: NotNegative | None = None  # the socket is closed, the HTTP body unfinished
    cut_after_bytes: NotNegative | None = None  # the same, n bytes into the HTTP body
    end_after: NotNegative | None = None  # the HTTP body ends in good order, but too early
    no_answer: Literal["stall", "cut"] | None = None  # not one byte is sent

    def __post_init__(self) -> None:
        endings = [name for name in _ENDINGS if getattr(self, name) is not None]
        if len(endings) > 1:
            raise ValueError(f"a response ends in one way, not by {' and '.join(endings)}")
        if self.only_for is not None and not self.only_for.strip():
            raise ValueError("`only_for` needs a text that tells its requests from others")
        if self.failed is not None and self.incomplete is not None:
            raise ValueError("a response is failed or incomplete, not both")
        if self.is_plain and (self.items or self.failed or self.incomplete):
            raise ValueError("a response with a `status` or a `body` cannot have items or an end")
        if self.status in _BODYLESS:
            raise ValueError(f"status {self.status} has no body; use another")
        _check_headers(self.headers, self.content_type)
        for item in self.items:
            if not isinstance(item.get("type"), str):
                raise ValueError("an item needs a `type`, such as message or function_call")
        json_text([self.items, None if self.body is msgspec.UNSET else self.body])

    @property
    def is_plain(self) -> bool:
        """Whether this is a plain HTTP answer instead of a stream of events."""
        return self.status != 200 or self.body is not msgspec.UNSET


class Script(Struct, frozen=True, forbid_unknown_fields=True):
    """Responses, given out in the order in which requests arrive.

    Those with `compaction` or `only_for` answer such requests alone, in an order of their own.
    After the last one a request is answered with status 400 and the code `script_over`, unless
    `loop` begins again.
    """

    responses: list[Response]
    loop: bool = False

    @classmethod
    def of(cls, *responses: Response | Item | str | Sequence[Item], loop: bool = False) -> Self:
        """Return a script. A text is a message; an item or several are a response."""
        return cls([_response(response) for response in responses], loop)


def message(text: str, *, phase: str | None = None, item_id: str | None = None) -> Item:
    """Return an assistant's message. `phase` is commentary or final_answer, where models say so."""
    content: list[Item] = [{"type": "output_text", "text": text, "annotations": []}]
    return _item("message", id=item_id, role="assistant", phase=phase, content=content)


def reasoning(
    *summary: str,
    content: str | None = None,
    encrypted_content: str | None = None,
    item_id: str | None = None,
) -> Item:
    """Return reasoning: the parts of its summary, and its raw text where a model shows it."""
    raw = None if content is None else [{"type": "reasoning_text", "text": content}]
    return _item(
        "reasoning",
        id=item_id,
        summary=[{"type": "summary_text", "text": text} for text in summary],
        content=raw,
        encrypted_content=encrypted_content,
    )


def call(
    name: str,
    arguments: Mapping[str, Any] | str | None = None,
    *,
    call_id: str | None = None,
    namespace: str | None = None,
    item_id: str | None = None,
) -> Item:
    """Return a function call. Arguments given as a text are sent as they are, valid or not."""
    if not isinstance(arguments, str):
        arguments = msgspec.json.encode(arguments or {}).decode()
    return _item(
        "function_call",
        id=item_id,
        call_id=call_id,
        name=name,
        namespace=namespace,
        arguments=arguments,
    )


def custom(
    name: str,
    text: str,
    *,
    call_id: str | None = None,
    item_id: str | None = None,
) -> Item:
    """Return a call of a custom tool, whose input is free text, such as apply_patch."""
    return _item("custom_tool_call", id=item_id, call_id=call_id, name=name, input=text)


def rate_limit_headers(limits: RateLimits) -> dict[str, str]:
    """Return `limits` as the headers that Codex reads."""
    headers: dict[str, str] = {}
    for name, window in (("primary", limits.primary), ("secondary", limits.secondary)):
        if window is not None:
            headers[f"x-codex-{name}-used-percent"] = f"{window.used_percent:g}"
            if window.window_minutes is not None:
                headers[f"x-codex-{name}-window-minutes"] = str(window.window_minutes)
            if window.resets_at is not None:
                headers[f"x-codex-{name}-reset-at"] = str(window.resets_at)
    return headers


def _response(given: Response | Item | str | Sequence[Item]) -> Response:
    match given:
        case Response():
            return given
        case str():
            return Response(items=[message(given)])
        case dict():
            return Response(items=[given])
        case _:
            return Response(items=list(given))


def _item(kind: str, **fields: object) -> Item:
    return {"type": kind} | {name: value for name, value in fields.items() if value is not None}


def _check_headers(headers: Mapping[str, str], content_type: str | None) -> None:
    for name, value in [*headers.items(), ("content-type", content_type or "")]:
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise ValueError(f"{name!r}: {value!r} cannot be sent as an HTTP header")
    if framing := _FRAMING_HEADERS & {name.lower() for name in headers}:
        raise ValueError(f"the header {min(framing)} is set by the server; see `content_type`")
