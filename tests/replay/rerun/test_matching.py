"""Matching: what is equal, what may differ, and which recorded request is nearest."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.kit import shell
from tests.errors import raises_code
from tests.replay.rerun.kit import Studio
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import RecordingMiss
from turnlog.protocol.events import ModelAsked
from turnlog.protocol.items import text_message
from turnlog.replay.rerun.recording import Exchange, record_ports
from turnlog.replay.rerun.request_matching import (
    Mismatch,
    Request,
    RequestBook,
    UnrecordedRequest,
    around_difference,
    schema_json,
)
from turnlog.replay.rerun.tolerances import NAMES, Tolerances
from turnlog.runtime.scripted_model.script import Item


@given(st.lists(st.text()))
def test_without_a_tolerance_a_part_is_its_text(parts: list[str]) -> None:
    assert Tolerances().form(parts) == parts


@given(st.text(), st.sets(st.sampled_from(NAMES)))
def test_a_form_stays_as_it_is(text: str, names: set[str]) -> None:
    tolerances = Tolerances(sorted(names))
    form = tolerances.form([text_message("user", text)])
    assert tolerances.form(form) == form


@pytest.mark.parametrize(
    ("names", "first", "second", "equal"),
    [
        ((), "on 2026-01-02", "on 2026-01-03", False),
        (("dates",), "on 2026-01-02", "at 2026-01-03T10:11:12Z", False),
        (("dates",), "on 2026-01-02", "on 2026-01-03T10:11:12Z", True),
        (("paths",), "in /home/a/b, or\n/tmp/x", "in /root, or\n/var/y", True),
        (("paths",), "either/or", "neither/nor", False),
        (("ids",), "0197a3c0-1111-7222-8333-444455556666", "0197a3c0f1117222", True),
        (("ids",), "one", "two", False),
        (
            ("measurements",),
            "Chunk ID: 0a1b2c\nWall time: 0.0312 seconds\nProcess exited with code 0",
            "Chunk ID: ffffff\nWall time: 12.5000 seconds\nProcess exited with code 0",
            True,
        ),
        (("measurements",), "code 0", "code 1", False),
    ],
)
def test_a_tolerance_allows_what_it_names(
    names: tuple[str, ...], first: str, second: str, equal: bool
) -> None:
    tolerances = Tolerances(names)
    forms = [tolerances.form([text_message("user", text)]) for text in (first, second)]
    assert (forms[0] == forms[1]) == equal


def test_items_are_compared_without_what_a_client_may_leave_out() -> None:
    plain: Item = {"type": "message", "role": "assistant", "content": [{"type": "output_text"}]}
    noted = plain | {"id": "msg_1", "status": "completed", "phase": None}
    thought: Item = {"type": "reasoning", "summary": [], "encrypted_content": "x"}
    told: Item = {"type": "message", "role": "developer", "content": []}
    outputs = [{"type": "function_call_output", "call_id": "a", "output": o} for o in "xy"]
    tolerances = Tolerances(NAMES)
    assert tolerances.form(map(json.dumps, [noted, thought, told])) == tolerances.form(
        [json.dumps(plain)]
    )
    assert tolerances.form([json.dumps(outputs[0])]) == tolerances.form([json.dumps(outputs[1])])


def test_a_wrong_tolerance_is_refused() -> None:
    with raises_code(ErrorCode.TOLERANCE_UNKNOWN, match="'weather'; there are dates, paths"):
        Tolerances(("weather",))
    with raises_code(ErrorCode.TOLERANCE_UNKNOWN, match="no regular expression"):
        Tolerances((), (("(", ""),))


@given(st.text(), st.text(), st.text())
def test_both_texts_are_cut_around_the_difference(head: str, first: str, second: str) -> None:
    shown = around_difference(head + first, head + second)
    assert all(len(text) <= 182 for text in shown)
    assert (shown[0] == shown[1]) == (first == second)


async def exchanges_of(studio: Studio) -> list[Exchange]:
    session = await studio.record([shell("echo one")], "done", "again", prompts=("a", "b"))
    records = await studio.events(session)
    found = record_ports(records).exchanges
    asked = [r.event for r in records if isinstance(r.event, ModelAsked)]
    assert [(e.count, len(e.parts)) for e in found] == [(a.parts, a.parts) for a in asked]
    return found


def request_of(exchange: Exchange, *parts: str) -> Request:
    return Request(
        [*exchange.parts, *parts],
        exchange.settings.session.model,
        exchange.tools_json,
        schema_json(None),
    )


async def test_the_nearest_request_has_the_longest_beginning_in_common(tmp_path: Path) -> None:
    exchanges = await exchanges_of(Studio(tmp_path))
    book = RequestBook(exchanges, Tolerances())
    second = exchanges[1]
    with pytest.raises(RecordingMiss) as raised:
        book.take(request_of(second, "more"))
    assert isinstance(raised.value, UnrecordedRequest)
    miss = raised.value.mismatch
    assert miss == Mismatch(
        "model",
        f"part {second.count + 1}",
        "(nothing more)",
        "more",
        nearest=second.asked_at,
        common=second.count,
    )


async def test_equal_parts_differ_in_what_is_around_them(tmp_path: Path) -> None:
    exchanges = await exchanges_of(Studio(tmp_path))
    book = RequestBook(exchanges, Tolerances())
    first = exchanges[0]
    asked = request_of(first)
    other = Request(asked.parts, "other", asked.tools_json, asked.schema_json)
    with pytest.raises(UnrecordedRequest) as raised:
        book.take(other)
    expected = Mismatch(
        "model", "model", asked.model, "other", nearest=first.asked_at, common=first.count
    )
    assert raised.value.mismatch == expected
    assert book.take(asked) is first
    with pytest.raises(UnrecordedRequest, match="answered already"):
        book.take(asked)
