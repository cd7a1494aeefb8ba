"""Events as objects: what `turnlog show --json` prints, and programs read.

In the log an event is an array, to be small. Here its fields have their names, and the JSON
that it holds as text is shown as JSON. These forms are stable: fields are only ever added.
"""

from base64 import b64encode
from collections.abc import Sequence
from typing import Any, Final, cast

import msgspec
from msgspec import Struct

from turnlog.protocol.envelope import Recorded, UnknownEvent
from turnlog.protocol.events import SessionEvent
from turnlog.protocol.times import rfc3339

JSON_SUFFIX: Final = "_json"  # of a field that holds JSON as text; shown without it


def event_object(event: SessionEvent | UnknownEvent) -> dict[str, Any]:
    """Return an event as an object.

    JSON text that cannot be decoded is shown as the string that it is. An unknown event is shown
    by the number of its kind and its body, msgpack in base64.
    """
    if isinstance(event, UnknownEvent):
        return {"kind": event.kind, "body": b64encode(event.body).decode()}
    return _fields(event)


def record_object(recorded: Recorded) -> dict[str, Any]:
    """Return a recorded event with what the log says of it; `time` is RFC 3339, in UTC."""
    return {
        "sequence": recorded.sequence,
        "time": rfc3339(recorded.time_us),
        "role": recorded.role,
        "kind": recorded.kind,
        "digest": recorded.digest.hex(),
        "turn": recorded.turn,
        "event": event_object(recorded.event),
    }


def _fields(struct: Struct) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name in struct.__struct_fields__:
        value = getattr(struct, name)
        if name.endswith(JSON_SUFFIX):
            shown[name.removesuffix(JSON_SUFFIX)] = _decoded(value)
        else:
            shown[name] = _shown(value)
    return shown


def _shown(value: object) -> object:
    """Return a field's value. Only untagged Structs of ours hold JSON as text."""
    match value:
        case tuple() | list():
            return [_shown(item) for item in cast(Sequence[object], value)]
        case dict():
            pairs = cast(dict[str, object], value).items()
            return {key: _shown(item) for key, item in pairs}
        case Struct() if has_json_text(type(value)):
            return _fields(value)
        case Struct():
            return _shown(msgspec.to_builtins(value))
        case _:
            return value


def has_json_text(kind: type[Struct]) -> bool:
    """Say whether a Struct holds JSON as text in a field of its own."""
    return any(name.endswith(JSON_SUFFIX) for name in kind.__struct_fields__)


def _decoded(text: object) -> object:
    if not isinstance(text, str):
        return text
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return text
