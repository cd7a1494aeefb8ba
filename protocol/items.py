"""Items of the model's conversation, as the Responses API writes them.

The model's own items are kept as the text that came, and are sent again unchanged. So nothing that
we do not know is lost. The Structs here read the parts that turnlog must understand.
"""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec
from msgspec import Struct

from turnlog.protocol.images import Image

JsonText = str  # one JSON value, verbatim


class ContentPart(Struct, frozen=True, omit_defaults=True):
    """A part of a message: input_text, output_text, input_image, refusal, or a newer kind."""

    type: str
    text: str | None = None
    image_url: str | None = None
    refusal: str | None = None
    detail: str | None = None  # of an image: how closely the model looks at it


class SummaryPart(Struct, frozen=True, omit_defaults=True):
    """A part of a reasoning item's summary or content."""

    type: str
    text: str = ""


class Message(Struct, frozen=True, tag_field="type", tag="message", omit_defaults=True):
    """A message of the user, of the developer or of the model (`role`)."""

    role: str
    content: list[ContentPart]
    id: str | None = None
    phase: str | None = None  # commentary or final_answer, where a model says so


class Reasoning(Struct, frozen=True, tag_field="type", tag="reasoning", omit_defaults=True):
    """The model's reasoning, which is sent back encrypted."""

    id: str | None = None
    summary: list[SummaryPart] = []
    content: list[SummaryPart] | None = None
    encrypted_content: str | None = None


class FunctionCall(Struct, frozen=True, tag_field="type", tag="function_call", omit_defaults=True):
    """A call of a function tool."""

    call_id: str
    name: str
    arguments: str  # JSON, as the model wrote it: it may not parse
    id: str | None = None
    namespace: str | None = None


class CustomToolCall(
    Struct, frozen=True, tag_field="type", tag="custom_tool_call", omit_defaults=True
):
    """A call of a tool that takes free text."""

    call_id: str
    name: str
    input: str  # free text
    id: str | None = None


class FunctionCallOutput(
    Struct, frozen=True, tag_field="type", tag="function_call_output", omit_defaults=True
):
    """The answer to a `FunctionCall`."""

    call_id: str
    output: str | list[ContentPart]


class CustomToolCallOutput(
    Struct, frozen=True, tag_field="type", tag="custom_tool_call_output", omit_defaults=True
):
    """The answer to a `CustomToolCall`."""

    call_id: str
    output: str | list[ContentPart]


class WebSearchCall(
    Struct, frozen=True, tag_field="type", tag="web_search_call", omit_defaults=True
):
    """A search that the provider ran itself."""

    id: str | None = None
    status: str | None = None
    action: dict[str, Any] | None = None


class OtherItem(Struct, frozen=True):
    """An item of a kind that this release does not read. It is kept and sent again all the same."""

    type: str


ResponseItem = (
    Message
    | Reasoning
    | FunctionCall
    | CustomToolCall
    | FunctionCallOutput
    | CustomToolCallOutput
    | WebSearchCall
)
ToolCallItem = FunctionCall | CustomToolCall


class OtherCall(Struct, frozen=True):
    """A call of a kind that no tool takes, such as `local_shell_call`. It must be answered, too."""

    call_id: str
    name: str  # the item's type


CallItem = ToolCallItem | OtherCall


class _Head(Struct, frozen=True):
    """What is read of an item of any kind."""

    type: str
    call_id: str | None = None
    execution: str | None = None  # server: the provider sees to it


_decode_known: Final[Callable[[JsonText | bytes], ResponseItem]] = msgspec.json.Decoder(
    ResponseItem
).decode
_decode_type: Final = msgspec.json.Decoder(OtherItem).decode
_decode_head: Final = msgspec.json.Decoder(_Head).decode
_KNOWN: Final = frozenset(
    {
        "message",
        "reasoning",
        "function_call",
        "custom_tool_call",
        "function_call_output",
        "custom_tool_call_output",
        "web_search_call",
    }
)


def read_item(text: JsonText | bytes) -> ResponseItem | OtherItem:
    """Return what `text` says.

    Raises:
        msgspec.MsgspecError: it is not JSON, has no `type`, or is a known type with wrong fields.
    """
    try:
        return _read(text)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        with suppress(ValueError):  # half a surrogate pair: models do write that
            readable = json.dumps(json.loads(text), ensure_ascii=False)
            return _read(readable.encode(errors="replace"))
        raise


def _read(text: JsonText | bytes) -> ResponseItem | OtherItem:
    try:
        return _decode_known(text)
    except msgspec.ValidationError:
        head = _decode_type(text)
        if head.type in _KNOWN:
            raise
        return head


def other_call(text: JsonText) -> OtherCall | None:
    """Return an item of an unknown kind as the call that it is, if we have to answer it.

    Such an item is called `..._call` and has a `call_id`; what the provider itself runs has none.
    """
    head = _head_of(text)
    if head is None or not head.type.endswith("_call"):
        return None
    return OtherCall(head.call_id, head.type) if head.call_id else None


def other_output(text: JsonText) -> str | None:
    """Return the `call_id` that an item of an unknown kind answers; None if it answers none."""
    head = _head_of(text)
    return head.call_id if head is not None and head.type.endswith("_output") else None


def _head_of(text: JsonText) -> _Head | None:
    """Return what is read of an item of an unknown kind that is not the provider's own affair."""
    try:
        head = _decode_head(text)
    except msgspec.MsgspecError:
        return None
    return None if head.type in _KNOWN or head.execution == "server" else head


def message_text(message: Message) -> str:
    """Return a message's text parts, joined; a refusal counts as text."""
    return "".join(part.text or part.refusal or "" for part in message.content)


def encode_item(item: ResponseItem) -> JsonText:
    """Return an item as JSON text. The form of what turnlog adds itself is part of the schema."""
    return msgspec.json.encode(item).decode()


def text_message(role: str, *texts: str) -> JsonText:
    """Return an input message with one `input_text` part for each text."""
    return encode_item(Message(role, [ContentPart("input_text", text=text) for text in texts]))


def output_item(call: CallItem, output: str, images: Sequence[Image] = ()) -> JsonText:
    """Return the item that answers `call`. This form is part of the log's schema.

    Args:
        images: follow the text. Only calls that tools take have some.

    Source of the answers to `local_shell_call` and `tool_search_call`: Codex's.
    """
    match call:
        case FunctionCall(call_id=call_id):
            return encode_item(FunctionCallOutput(call_id, _output_content(output, images)))
        case CustomToolCall(call_id=call_id):
            return encode_item(CustomToolCallOutput(call_id, _output_content(output, images)))
        case OtherCall(call_id=call_id, name="local_shell_call"):
            return encode_item(FunctionCallOutput(call_id, output))
        case OtherCall(call_id=call_id, name="tool_search_call"):
            return _encode_json(
                {
                    "type": "tool_search_output",
                    "call_id": call_id,
                    "status": "completed",
                    "execution": "client",
                    "tools": [],
                }
            )
        case OtherCall(call_id=call_id, name=name):
            return _encode_json({"type": f"{name}_output", "call_id": call_id, "output": output})


def _output_content(text: str, images: Sequence[Image]) -> str | list[ContentPart]:
    """Return an output as the API takes it: a text, or parts if there are images."""
    if not images:
        return text
    parts = [ContentPart("input_text", text=text)] if text else []
    return [
        *parts,
        *(ContentPart("input_image", image_url=image.url, detail=image.detail) for image in images),
    ]


def _encode_json(item: dict[str, Any]) -> JsonText:
    return msgspec.json.encode(item).decode()
