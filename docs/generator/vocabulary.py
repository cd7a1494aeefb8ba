"""The pages of events and of ops: every kind with its role, its fields and what it says."""

import re
import typing
from collections.abc import Iterable, Iterator

from docs.generator.markdown import anchor, code, page, prose, section, table
from turnlog.protocol.envelope import KIND_NAMES
from turnlog.protocol.events import SessionDecision, SessionEvent, SessionFact
from turnlog.protocol.notices import Notice
from turnlog.protocol.ops import Op
from turnlog.runtime.config.field_comments import documentation, fields_of, is_struct

_EVENTS = """
A session is one ordered list of events. A **fact** is something that the engine could not have
known. A **decision** is what the engine did about a fact.

`turnlog show ID --json` prints events as JSON, and `turnlog schema` prints their JSON Schema. In
the log an event is an array: its number, then its fields in the order of this page. A field that
ends in `_json` holds one JSON value as text, exactly as it was received or sent.

The number of a kind is never used again. Fields are only added at the end, with a default. A
program that does not know a kind may skip it if the kind is marked *may be skipped*.
"""

_OPS = """
An op is what a client asks of a session. From Python, `await session.submit(op)` sends one. A
command such as `turnlog steer` leaves it in the store for the process that runs the session.

An op has an id that the client chooses, so an op that is sent twice is done once. Each op becomes
one fact, `op_received`. If the session refuses it, the decision `op_refused` follows, with one of
the [codes](errors.md#codes).
"""

_NOTICES = """
A notice is shown to whoever watches a session live, beside the events. It is not stored; the event
that completes what it announces is stored. A notice never overtakes an event that came before it.
A watcher that is too slow loses notices, never events, and is told how many.
"""


def events() -> str:
    """Return the page of events and notices."""
    facts, decisions = typing.get_args(SessionFact), typing.get_args(SessionDecision)
    notices = typing.get_args(Notice)
    shared = _used_by((*facts, *decisions, *notices))
    known = {kind.__name__ for kind in shared}
    return page(
        "Events",
        _EVENTS,
        section(2, "Facts", *(_event(kind, known) for kind in _by_number(facts))),
        section(2, "Decisions", *(_event(kind, known) for kind in _by_number(decisions))),
        section(2, "Notices", _NOTICES, *(_tagged(kind, known) for kind in notices)),
        _parts(shared, known),
    )


def ops() -> str:
    """Return the page of ops."""
    kinds = typing.get_args(Op)
    shared = _used_by(kinds)
    known = {kind.__name__ for kind in shared}
    return page(
        "Ops",
        _OPS,
        section(2, "What may be asked", *(_tagged(kind, known) for kind in kinds)),
        _parts(shared, known),
    )


def event_kinds() -> list[str]:
    """Return the names of all events."""
    return [KIND_NAMES[kind] for kind in typing.get_args(SessionEvent)]


def _by_number(kinds: Iterable[type]) -> list[type]:
    return sorted(kinds, key=lambda kind: int(_tag(kind)))


def _tag(kind: type) -> str:
    config = getattr(kind, "__struct_config__")  # noqa: B009 - kinds of events are Structs
    return str(config.tag)


def _event(kind: type, known: set[str]) -> str:
    skip = " *May be skipped.*" if getattr(kind, "ignorable", False) else ""
    head = f"Number {_tag(kind)}, class {code(kind.__name__)}.{skip}"
    return section(
        3,
        KIND_NAMES[kind],
        head,
        prose(documentation(kind)),
        _fields(kind, known),
        label=f"event-{KIND_NAMES[kind]}",
    )


def _tagged(kind: type, known: set[str]) -> str:
    head = f"Class {code(kind.__name__)}."
    return section(3, _tag(kind), head, prose(documentation(kind)), _fields(kind, known))


def _parts(shared: list[type], known: set[str]) -> str:
    sections = (
        section(3, kind.__name__, prose(documentation(kind)), _fields(kind, known))
        for kind in shared
    )
    return section(2, "Values inside", "What the fields above are made of.", *sections)


def _fields(kind: type, known: set[str]) -> str:
    rows = [
        (
            code(field.name),
            _type(field.type, known),
            "" if field.default is None else code(field.default),
            field.meaning,
        )
        for field in fields_of(kind)
    ]
    return table(("field", "type", "default", "meaning"), rows)


def _type(text: str, known: set[str]) -> str:
    """Return a type, with links to what the page has of it."""
    pieces = re.split(r"(\w+)", text)
    shown, plain = "", ""
    for piece in pieces:
        if piece in known:
            shown += f"{code(plain)}[{code(piece)}](#{anchor(piece)})"
            plain = ""
        else:
            plain += piece
    return shown + code(plain.rstrip() if not plain.strip() else plain)


def _used_by(kinds: Iterable[type]) -> list[type]:
    """Return the classes that the fields of `kinds` are made of, by name."""
    seen = dict[type, None]()
    for kind in kinds:
        for hint in typing.get_type_hints(kind).values():
            for found in _structs_in(hint):
                _collect(found, seen)
    for kind in kinds:
        seen.pop(kind, None)
    return sorted(seen, key=lambda one: one.__name__)


def _collect(kind: type, seen: dict[type, None]) -> None:
    if kind in seen:
        return
    seen[kind] = None
    for hint in typing.get_type_hints(kind).values():
        for found in _structs_in(hint):
            _collect(found, seen)


def _structs_in(hint: object) -> Iterator[type]:
    if is_struct(hint):
        assert isinstance(hint, type)
        yield hint
    for part in typing.get_args(hint):
        yield from _structs_in(part)
