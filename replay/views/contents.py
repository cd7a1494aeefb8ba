"""What an event says, apart from when and under which ids it was said.

Two runs of the same work never have the same ids, times and sequence numbers. A key is equal for
two events that differ in nothing else.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from hashlib import blake2b
from typing import Any, Final, NewType, cast, get_args, get_type_hints

import msgspec
from msgspec import UNSET, Struct, UnsetType, structs

from turnlog.protocol.envelope import UnknownEvent
from turnlog.protocol.events import CallSettled, Compacted, TurnsRestored
from turnlog.protocol.view import JSON_SUFFIX
from turnlog.replay.views.structure import Difference, differences, plain

# Fields that say which, where or when, in any event. An effect is compared by its kind.
INCIDENTAL: Final = frozenset(
    {
        # ids, and who held the session
        *("session", "parent", "turn_id", "op_id", "question", "call_id", "id", "response_id"),
        *("fence", "owner", "engine", "rules"),
        # children, which are sessions of their own
        *("child", "spawned_by", "agent", "agents"),
        # places in the log, and digests over what comes before
        *("turn", "cut", "parts", "digest", "input_digest", "since", "sequence"),
        # times
        *("duration_ms", "resets_at"),
    }
)
# Under a name that is incidental elsewhere, they hold what the conversation became.
_TELLING: Final = frozenset({(Compacted, "parts"), (TurnsRestored, "parts")})
_TELLING_OF_UNKNOWN: Final = frozenset({"kind", "body"})  # all else follows from them
_EFFECT: Final = "effect"
# In JSON text. A key of an object is in plain quotes; within a string they would be escaped.
_ID: Final = r'"(?:id|call_id)"\s*:\s*"[^"\\]*(?:\\.[^"\\]*)*"'
_JSON_IDS: Final = re.compile(rf",\s*{_ID}|{_ID}\s*,?\s*")
_ID_END: Final = 'id"'  # in every text that `_JSON_IDS` finds something in
_JSON_FIELDS: Final = frozenset({"id", "call_id"})
# In the answers that the session itself gives to calls for agents.
_UUID: Final = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_encode: Final = msgspec.msgpack.Encoder().encode


def content_key(event: object) -> bytes:
    """Return 16 bytes that are equal for events that say the same.

    An unknown event's are those of its bytes. Takes some microseconds.
    """
    if isinstance(event, CallSettled) and event.outcome == "answered":
        event = structs.replace(event, output=_UUID.sub("", event.output))
    return blake2b(_encode(_content(event)), digest_size=16).digest()


def content(event: object) -> Any:  # noqa: ANN401
    """Return the plain form of an event (see `plain`) without what is incidental."""
    match event:
        case UnknownEvent():
            return plain(event)
        case CallSettled(outcome="answered", output=output) if _UUID.search(output):
            return content(structs.replace(event, output=_UUID.sub("", output)))
        case Struct():
            whole = plain(event)
            for name in event.__struct_fields__:
                shown, value = name.removesuffix(JSON_SUFFIX), getattr(event, name)
                if not _counts(type(event), name):
                    whole.pop(name, None)
                elif name == _EFFECT:
                    whole[name] = _without_fact(value)
                elif name.endswith(JSON_SUFFIX):
                    whole[shown] = _stripped(whole[shown])
                elif shown in whole and shown != "kind":  # that is the event's, and no field
                    whole[shown] = content(value)
            return whole
        case tuple() | list():
            return [content(inner) for inner in cast(Sequence[object], event)]
        case _:
            return plain(event)


def _counts(kind: type[Struct], name: str) -> bool:
    if kind is UnknownEvent:
        return name in _TELLING_OF_UNKNOWN
    return name not in INCIDENTAL or (kind, name) in _TELLING


def _stripped(value: object) -> object:
    """Return decoded JSON without the ids in it; what is nested absurdly deep, as it is."""
    try:
        return _without_id_keys(value)
    except RecursionError:
        return value


def _without_id_keys(value: object) -> object:
    match value:
        case dict():
            return {
                key: _without_id_keys(inner)
                for key, inner in cast(dict[str, object], value).items()
                if not (key in _JSON_FIELDS and isinstance(inner, str))
            }
        case list():
            return [_without_id_keys(inner) for inner in cast(list[object], value)]
        case _:
            return value


def content_differences(left: object, right: object) -> list[Difference]:
    """Return how two events differ in what they say; not at all if their keys are equal."""
    return differences(content(left), content(right))


def _content(value: object) -> object:
    """Return a value without what is incidental, for msgpack."""
    match value:
        case Struct():
            taken: list[object] = [type(value).__name__]
            for name, take in _plan(type(value)):
                field = getattr(value, name)
                taken.append(field if take is None or field is None else take(field))
            return taken
        case tuple() | list():
            return [_content(inner) for inner in cast(Sequence[object], value)]
        case dict():
            pairs = cast(Mapping[object, object], value).items()
            return {str(key): _content(inner) for key, inner in pairs}
        case _:
            return None if value is UNSET else value


_Take = Callable[[object], object]


@cache
def _plan(kind: type[Struct]) -> tuple[tuple[str, _Take | None], ...]:
    """Return the fields of a Struct that count, each with what is taken of it; None: all."""
    hints = get_type_hints(kind)
    names = (name for name in kind.__struct_fields__ if _counts(kind, name))
    return tuple((name, _taking(name, hints[name])) for name in names)


def _taking(name: str, hint: object) -> _Take | None:
    if name == _EFFECT:
        return _without_fact
    if name.endswith(JSON_SUFFIX):
        return _without_ids
    return _content if _may_hold_incidental(hint) else None


def _may_hold_incidental(hint: object) -> bool:
    """Say whether a value of this type may hold a field that is not to be compared."""
    if isinstance(hint, NewType):
        return _may_hold_incidental(hint.__supertype__)
    if isinstance(hint, type) and issubclass(hint, Struct):
        names = hint.__struct_fields__
        return any(not _counts(hint, name) for name in names) or any(
            take is not None for _, take in _plan(hint)
        )
    return hint is UnsetType or any(map(_may_hold_incidental, get_args(hint)))


def _without_ids(text: object) -> object:
    if not isinstance(text, str):
        return _content(text)
    return _JSON_IDS.sub("", text) if _ID_END in text else text


def _without_fact(effect: object) -> object:
    """Return an effect's id without the number of the fact that caused it: `tool.0`."""
    return effect.partition(".")[2] if isinstance(effect, str) else effect
