"""Events as JSON objects, and the schema that says what they are."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tests.core.play import Play, said, user
from tests.strategies import events, items, ops, sessions
from turnlog.protocol.envelope import EVENT_TYPES, Recorded, Role, UnknownEvent
from turnlog.protocol.events import (
    ContextAsked,
    Decision,
    ItemsRecorded,
    ModelItemReceived,
    RecordedItem,
    SessionEvent,
    StepFailed,
)
from turnlog.protocol.ids import EffectId
from turnlog.protocol.items import ResponseItem, encode_item
from turnlog.protocol.json_text import json_line
from turnlog.protocol.ops import Op, Submission
from turnlog.protocol.schema import json_schema
from turnlog.protocol.view import event_object, record_object

SCHEMA = json_schema()
UNKNOWN = UnknownEvent(999, True, b"\x91\x07")


def errors(value: Any, root: str) -> list[str]:  # noqa: ANN401
    """Return what the schema has against `value` as a `root`."""
    schema: dict[str, Any] = {"$ref": f"#/$defs/{root}", "$defs": SCHEMA["$defs"]}
    validator: Any = Draft202012Validator(schema)
    return [error.message for error in validator.iter_errors(value)]


def recorded(event: SessionEvent | UnknownEvent) -> Recorded:
    role: Role = "decision" if isinstance(event, Decision) else "fact"
    return Recorded(9, 1_700_000_000_123_456, role, 0, 2, b"\xab" * 16, event)


# --- the view -------------------------------------------------------------------------------------


def test_a_record_is_shown_with_its_place_its_time_and_its_event() -> None:
    assert record_object(recorded(ContextAsked(EffectId("3.context.0")))) == {
        "sequence": 9,
        "time": "2023-11-14T22:13:20.123456Z",
        "role": "decision",
        "kind": "context_asked",
        "digest": "ab" * 16,
        "turn": 2,
        "event": {"effect": "3.context.0"},
    }


def test_json_that_an_event_holds_as_text_is_shown_as_json() -> None:
    items_recorded = ItemsRecorded((RecordedItem("user", user("hi")),))
    message = {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": "hi"}],
    }
    assert event_object(items_recorded) == {"items": [{"kind": "user", "item": message}]}
    received = ModelItemReceived(EffectId("4.model.0"), said("hello"))
    assert event_object(received)["item"]["content"][0]["text"] == "hello"
    assert event_object(received).keys() == {"effect", "item", "plan"}


@pytest.mark.parametrize("text", ["", "{", '{"a":"\\ud800"}', "\ud800", "[" * 100_000])
def test_text_that_is_no_json_is_shown_as_it_is(text: str) -> None:
    event = ModelItemReceived(EffectId("4.model.0"), text)
    assert event_object(event)["item"] == text
    assert json.loads(json_line(record_object(recorded(event))))["event"]["item"] == text


def test_an_unknown_event_is_shown_by_its_number_and_its_bytes() -> None:
    assert event_object(UNKNOWN) == {"kind": 999, "body": "kQc="}
    assert record_object(recorded(UNKNOWN))["kind"] == "unknown_999"


@given(events())
def test_every_event_is_shown_on_one_line_of_json(event: SessionEvent) -> None:
    line = json_line(record_object(recorded(event)))
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert json.loads(line) == json.loads(json.dumps(record_object(recorded(event))))


# --- the schema -----------------------------------------------------------------------------------


def test_the_schema_is_itself_valid() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    json.dumps(SCHEMA)


@given(events())
def test_every_event_is_as_the_schema_says(event: SessionEvent) -> None:
    assert (
        errors(json.loads(json_line(record_object(recorded(event))))["event"], type(event).__name__)
        == []
    )


@given(sessions(most_facts=6))
def test_every_line_of_a_session_is_as_the_schema_says(play: Play) -> None:
    lines = [json.loads(json_line(record_object(record))) for record in play.records[-8:]]
    assert [errors(line, "Record") for line in lines] == [[]] * len(lines)


@given(ops(), st.text())
def test_every_op_is_as_the_schema_says(op: Op, op_id: str) -> None:
    submission = json.loads(msgspec.json.encode(Submission(op_id, op)))
    assert errors(submission, "Submission") == []
    assert errors(submission["op"], "Op") == []


@given(items())
def test_every_item_is_as_the_schema_says(item: ResponseItem) -> None:
    assert errors(json.loads(encode_item(item)), "Item") == []


def test_what_is_no_op_no_item_and_no_record_is_refused() -> None:
    assert errors({"type": "user_input"}, "Op")
    assert errors({"type": "message", "role": 7, "content": []}, "Item")
    line = record_object(recorded(StepFailed("boom")))
    assert errors(line, "Record") == []
    assert errors(line | {"kind": "turn_opened"}, "Record")
    assert errors(line | {"role": "fact"}, "Record")
    assert errors(record_object(recorded(UNKNOWN)), "Record") == []


def test_each_event_tells_its_role_its_tag_and_whether_it_may_be_passed_over() -> None:
    told = {
        name: (shown["x-turnlog-role"], shown["x-turnlog-tag"], shown["x-turnlog-ignorable"])
        for name, shown in SCHEMA["$defs"].items()
        if "x-turnlog-tag" in shown
    }
    assert told == {
        kind.__name__: ("decision" if issubclass(kind, Decision) else "fact", tag, kind.ignorable)
        for tag, kind in EVENT_TYPES.items()
    }
