"""What people and programs read of a divergence."""

from typing import NoReturn

import msgspec
import pytest
from msgspec import structs

from tests.core.play import Play
from turnlog.actors.core import session
from turnlog.actors.core.state import State
from turnlog.protocol.events import (
    CallSettled,
    ItemsRecorded,
    RecordedItem,
    SessionFact,
    TurnOpened,
)
from turnlog.protocol.items import text_message
from turnlog.replay.verify.report import divergence_object, explain, replay
from turnlog.replay.verify.verifier import Divergence, divergences


def asked() -> Play:
    play = Play.started()
    play.ask("hi")
    play.complete()
    return play


def only(play: Play) -> Divergence:
    (found,) = divergences(play.records)
    return found


def at(play: Play, kind: str) -> int:
    return next(i for i, record in enumerate(play.records) if record.kind == kind)


def test_a_divergence_carries_the_facts_that_led_to_it() -> None:
    play = asked()
    place = at(play, "turn_ended")
    play.records[place] = structs.replace(play.records[place], event=TurnOpened(9, "t", "op"))  # type: ignore[arg-type]
    found = only(play)
    assert found.kind == "other"
    assert found.label == "other turn_opened -> turn_ended"
    assert [fact.kind for fact in found.facts] == [
        "session_opened",
        "op_received",
        "context_loaded",
        "model_completed",
    ]
    assert found.facts[-1].sequence == play.records[place].cause


def test_kinds_are_told_from_todays_side() -> None:
    settled = CallSettled(0, "c1", "refused", "no")
    opened = TurnOpened(1, "t", "op")  # type: ignore[arg-type]
    assert Divergence(7, settled, None).label == "missing call_settled"
    assert Divergence(7, None, settled).label == "extra call_settled"
    assert Divergence(7, settled, opened).label == "other call_settled -> turn_opened"
    changed = Divergence(7, settled, structs.replace(settled, outcome="declined", output="NO"))
    assert changed.label == "changed call_settled: outcome, output"


def test_a_long_text_is_cut_around_the_place_where_it_parts() -> None:
    def recorded(text: str) -> ItemsRecorded:
        return ItemsRecorded((RecordedItem("user", text_message("user", text)),))

    found = Divergence(
        7, recorded("a" * 5000 + " left\nend" + "b" * 5000), recorded("a" * 5000 + " right\nend")
    )
    lines = explain(found).splitlines()
    assert lines[:2] == [
        "event 7: changed items_recorded: items",
        "  items[0].item.content[0].text",
    ]
    assert max(map(len, lines)) <= 110
    assert "a left\\nendbbb" in lines[2]
    assert lines[3].endswith("a right\\nend")


def test_what_is_missing_on_one_side_is_said_so() -> None:
    settled = CallSettled(0, "c1", "refused", "no")
    text = explain(Divergence(7, None, settled))
    assert "\n  recorded  (nothing)\n" in text
    assert '\n  decided   call_settled {"call": 0, "call_id": "c1", ' in text
    shown = divergence_object(Divergence(7, None, settled))
    assert shown == {
        "sequence": 7,
        "kind": "extra",
        "label": "extra call_settled",
        "recorded": None,
        "decided": {
            "kind": "call_settled",
            "event": {
                "call": 0,
                "call_id": "c1",
                "outcome": "refused",
                "output": "no",
                "note": "",
            },
        },
        "differences": [],
        "facts": [],
    }


def test_what_to_do_is_said_and_code_that_raises_is_to_be_repaired(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    play = asked()
    cause = play.records.pop().cause
    meant = only(play)
    assert "`turnlog check DIR --accept` re-records" in explain(meant)
    assert f"find what changed in deciding about event {cause};" in explain(meant)

    def broken(state: State, fact: SessionFact) -> NoReturn:
        raise KeyError("planted")

    monkeypatch.setattr(session, "decide", broken)
    (failing, *_) = divergences(play.records)
    assert "Today's code raises where it decides about event 1: repair it." in explain(failing)
    assert msgspec.json.encode(divergence_object(failing))


def test_reports_count_what_they_found() -> None:
    play = asked()
    for kind in ("turn_ended", "model_asked"):
        place = at(play, kind)
        play.records[place] = structs.replace(play.records[place], event=TurnOpened(9, "t", "op"))  # type: ignore[arg-type]
    report = replay(play.state.session, play.records)
    assert not report.is_exact
    assert report.events == len(play.records)
    assert sum(report.counts().values()) == len(report.divergences)
    first = report.divergences[0].sequence
    later = replay(play.state.session, play.records, start=first + 1)
    assert later.divergences == report.divergences[1:]
