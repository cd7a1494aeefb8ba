"""JSON Schema of what turnlog reads and writes: ops, events, items, and lines of the log.

For `turnlog schema`. Written for the 2020-12 dialect.
"""

from functools import cache
from types import GenericAlias, UnionType
from typing import Any, Final, TypeGuard, get_args, get_type_hints

import msgspec
from msgspec import NODEFAULT, Struct, structs

from turnlog.protocol.envelope import EVENT_TYPES, KIND_NAMES, SCHEMA
from turnlog.protocol.events import Decision, Fact
from turnlog.protocol.exec_lines import Error
from turnlog.protocol.items import ResponseItem
from turnlog.protocol.notices import Notice
from turnlog.protocol.ops import Op, Submission
from turnlog.protocol.view import JSON_SUFFIX, has_json_text

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_ROOTS: Final = ("Op", "Item", "Notice", "Event", "Record", "Error")
_REF: Final = "#/$defs/{name}"


def json_schema() -> dict[str, Any]:
    """Return one schema document. Its `$defs` have all of `_ROOTS`.

    Ops, items and notices are in their wire form; events in the object form of
    `view.event_object`, each annotated with `x-turnlog-role` (fact or decision), `x-turnlog-tag`
    (its number in the log) and `x-turnlog-ignorable` (a reader that does not know it may skip it).
    A `Record` is a line of `turnlog show --json`, and an `Error` the last line of any `--json`.
    """
    twins = {kind: _twin(kind) for kind in EVENT_TYPES.values()}
    roots: list[Any] = [Op, ResponseItem, Notice, Submission, Error, *twins.values()]
    (ops, items, notices, _, _, *events), components = msgspec.json.schema_components(
        roots, ref_template=_REF
    )
    definitions: dict[str, Any] = dict(components)
    references = dict(zip(twins, events, strict=True))
    for tag, kind in EVENT_TYPES.items():
        definitions[kind.__name__] |= {
            "x-turnlog-role": _role(kind),
            "x-turnlog-tag": tag,
            "x-turnlog-ignorable": kind.ignorable,
        }
    definitions["Op"] = ops
    definitions["Item"] = items
    definitions["Notice"] = notices
    definitions["UnknownEvent"] = _unknown_event()
    definitions["Event"] = {"anyOf": [*events, _reference("UnknownEvent")]}
    definitions["Record"] = _record(references)
    return {
        "$schema": DIALECT,
        "title": "turnlog",
        "x-turnlog-schema": SCHEMA,
        "anyOf": [_reference(name) for name in _ROOTS],
        "$defs": definitions,
    }


def _reference(name: str) -> dict[str, Any]:
    return {"$ref": _REF.format(name=name)}


def _role(kind: type[Fact | Decision]) -> str:
    return "decision" if issubclass(kind, Decision) else "fact"


def _unknown_event() -> dict[str, Any]:
    return {
        "title": "UnknownEvent",
        "description": "An event of a newer release: the number of its kind, and its msgpack.",
        "type": "object",
        "properties": {
            "kind": {"type": "integer"},
            "body": {"type": "string", "contentEncoding": "base64"},
        },
        "required": ["kind", "body"],
    }


def _record(events: dict[type[Fact | Decision], dict[str, Any]]) -> dict[str, Any]:
    known = [
        {
            "properties": {
                "role": {"const": _role(kind)},
                "kind": {"const": KIND_NAMES[kind]},
                "event": reference,
            }
        }
        for kind, reference in events.items()
    ]
    unknown = {
        "properties": {"kind": {"pattern": "^unknown_"}, "event": _reference("UnknownEvent")}
    }
    properties = {
        "sequence": {"type": "integer", "minimum": 1},
        "time": {"type": "string", "format": "date-time"},
        "role": {"enum": ["fact", "decision"]},
        "kind": {"type": "string"},
        "digest": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
        "turn": {"type": "integer", "minimum": 0, "description": "0: outside of any turn"},
        "event": {"type": "object"},
    }
    return {
        "title": "Record",
        "description": "One line of `turnlog show --json`.",
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "oneOf": [*known, unknown],
    }


@cache
def _twin(kind: type[Struct]) -> type[Struct]:
    """Return a Struct whose JSON form is what `view` shows of `kind`."""
    hints = get_type_hints(kind)
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    for declared in structs.fields(kind):
        name, hint = declared.name, _shown(hints[declared.name])
        if name.endswith(JSON_SUFFIX):
            name, hint = name.removesuffix(JSON_SUFFIX), Any
        if declared.required:
            fields.append((name, hint))
        elif declared.default is NODEFAULT:
            fields.append((name, hint, msgspec.field(default_factory=declared.default_factory)))
        else:
            fields.append((name, hint, declared.default))
    twin = msgspec.defstruct(kind.__name__, fields, kw_only=True)
    twin.__doc__ = kind.__doc__
    return twin


def _shown(hint: object) -> object:
    """Return a field's type with a Struct that holds JSON as text replaced by its twin."""
    if _holds_json_text(hint):
        return _twin(hint)
    arguments = tuple(_shown(argument) for argument in get_args(hint))
    if isinstance(hint, GenericAlias) and hint.__origin__ is tuple:
        return GenericAlias(tuple, arguments)
    if isinstance(hint, UnionType):
        union: Any = arguments[0]
        for argument in arguments[1:]:
            union |= argument
        return union
    return hint


def _holds_json_text(hint: object) -> TypeGuard[type[Struct]]:
    return isinstance(hint, type) and issubclass(hint, Struct) and has_json_text(hint)
