"""The lines of a rollout, as Codex writes them. Pure.

A line is one JSON object: `timestamp`, `type`, `payload`, and in the paginated form of newer
releases an `ordinal`, dense from 0. Releases up to about 0.98 wrote none. A killed process leaves
a torn last line, and people edit such files, so any line may be unreadable.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from turnlog.protocol.items import JsonText
from turnlog.protocol.json_text import json_text
from turnlog.protocol.json_values import is_object
from turnlog.protocol.usage import TokenUsage

MAX_FILE: Final = 512 << 20  # bytes; a rollout of 5,000 turns has about 64 MB
# What codex-rs puts before a summary, up to the line break, when it becomes the new history.
SUMMARY_PREFIX: Final = "Another language model started to solve this problem"
PRIVATE_KEY: Final = "internal_chat_message_metadata_passthrough"  # of an item; never sent
_BLANK: Final = b"\0 \t\r\n"


class RolloutLine(Struct, frozen=True):
    """One line that could be read."""

    type: str
    payload: dict[str, Any]
    payload_json: JsonText  # verbatim, if the line is strict JSON
    timestamp: object = None
    ordinal: object = None
    metadata: object = None


class _Strict(Struct):
    type: str
    payload: Raw
    timestamp: Any = None
    ordinal: Any = None
    metadata: Any = None


_decode: Final = msgspec.json.Decoder(_Strict).decode


def rollout_lines(data: bytes) -> Iterator[tuple[int, bytes, RolloutLine | None]]:
    """Yield each line that is not blank: its number, from 1, its text, and what it says.

    None: the text is no line of a rollout.
    """
    for number, text in enumerate(data.split(b"\n"), start=1):  # a text may hold U+2028
        if stripped := text.strip(_BLANK):
            yield number, stripped, _read(stripped)


def read_usage(value: object) -> TokenUsage | None:
    """Return the tokens that a value of JSON tells; None if it tells none."""
    try:
        return msgspec.convert(value, TokenUsage)
    except msgspec.ValidationError:
        return None


def _read(text: bytes) -> RolloutLine | None:
    try:
        line = _decode(text)
        payload: object = msgspec.json.decode(line.payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _read_loosely(text)
    if not is_object(payload):
        return None
    verbatim = bytes(line.payload).decode(errors="replace")
    return RolloutLine(line.type, payload, verbatim, line.timestamp, line.ordinal, line.metadata)


def _read_loosely(text: bytes) -> RolloutLine | None:
    """Read what strict JSON does not allow: half of a surrogate pair, which models do write."""
    try:
        whole: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not is_object(whole) or not isinstance(kind := whole.get("type"), str):
        return None
    if not is_object(payload := whole.get("payload")):
        return None
    rest = (whole.get(name) for name in ("timestamp", "ordinal", "metadata"))
    return RolloutLine(kind, payload, json_text(payload).decode(), *rest)
