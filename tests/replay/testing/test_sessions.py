"""What the strategies draw: sessions that hold every promise, and reach what they should."""

import json

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from jsonschema import validate

from tests.replay.testing.bank import Bank, Transfer, bank_tools
from turnlog.actors.core.rebuild import rebuild
from turnlog.protocol.ops import TextInput, UserTurn
from turnlog.replay.testing import (
    CoreSession,
    PromiseBroken,
    assert_promises,
    sessions,
    strategies,
    uses,
)
from turnlog.replay.testing.schemas import values_of
from turnlog.replay.verify.verifier import divergences
from turnlog.runtime.scripted_model.script import Response, Script
from turnlog.runtime.tools.tool import Tool

TOOLS: list[Tool] = [*bank_tools(wants="outside")]
SCHEMAS = [
    {"type": "string", "minLength": 2, "maxLength": 3},
    {"type": "integer", "minimum": 3, "exclusiveMaximum": 5},
    {"type": "number", "minimum": 0, "maximum": 1},
    {"type": "array", "items": {"type": "boolean"}, "minItems": 1},
    {"enum": ["a", 1, None]},
    {"const": {"x": 1}},
    {"anyOf": [{"type": "null"}, {"type": ["string", "boolean"]}]},
    {"type": "object", "properties": {"a": {}, "b": {"type": "null"}}, "required": ["a"]},
]
REACHED = {
    *("session_started", "session_opened", "op_received", "op_refused", "input_queued"),
    *("turn_opened", "turn_stopping", "turn_ended", "context_asked", "context_loaded"),
    *("items_recorded", "model_asked", "model_item_received", "model_completed"),
    *("model_failed", "retry_scheduled", "timer_fired", "response_abandoned"),
    *("tool_dispatched", "tool_started", "tool_finished", "call_settled", "approval_asked"),
    *("effect_closed", "effect_lost"),
    *("compacted", "turns_dropped", "turns_restored", "user_shell_asked", "child_ended"),
}
OUTCOMES = {"done", "failed", "refused", "declined", "unknown"}


@given(sessions(TOOLS))
def test_every_drawn_session_is_a_whole_one(session: CoreSession) -> None:
    assert rebuild(session.records) == session.state
    assert list(divergences(session.records)) == []
    assert_promises(session.records)


def test_they_reach_what_sessions_reach() -> None:
    """The rarest of these is in one of some 40 sessions: 300 reach all, whatever is drawn."""
    kinds, outcomes = set[str](), set[str]()

    @settings(max_examples=300, phases=[Phase.generate])
    @given(sessions(TOOLS, most_facts=30))
    def look_at(session: CoreSession) -> None:
        kinds.update(record.kind for record in session.records)
        outcomes.update(str(use.outcome) for use in uses(session.records))

    look_at()
    assert (REACHED - kinds, OUTCOMES - outcomes) == (set(), set())


@settings(max_examples=40)
@given(sessions(bank_tools, run_tools=True))
def test_tools_may_be_run_while_a_session_is_drawn(session: CoreSession) -> None:
    for use in uses(session.records):
        if use.tool == "transfer" and use.outcome == "done" and use.output != "late":
            assert use.output == f"moved {use.arguments['amount']}"


@given(strategies.tool_calls([Transfer(Bank())]))
def test_calls_fit_their_tools(item: dict[str, str]) -> None:
    validate(json.loads(item["arguments"]), Transfer(Bank()).spec["parameters"])


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_values_fit_their_schema(schema: dict[str, object]) -> None:
    @settings(max_examples=30)
    @given(values_of(schema))
    def fits(value: object) -> None:
        validate(value, schema)

    fits()


@given(st.lists(strategies.responses(TOOLS), max_size=3))
def test_responses_can_be_served(responses: list[Response]) -> None:
    assert Script.of(*responses).responses == responses


def test_a_broken_promise_is_said_with_its_event() -> None:
    session = CoreSession.started()
    session.op(UserTurn((TextInput("go"),)))
    assert [record.kind for record in session.records[-2:]] == ["turn_opened", "context_asked"]
    with pytest.raises(PromiseBroken, match="broken at event 4: replay is exact"):
        assert_promises(session.records[:-1])
    with pytest.raises(PromiseBroken, match=r"still open at the end: 3\.context\.0"):
        assert_promises(session.records, at_rest=True)
