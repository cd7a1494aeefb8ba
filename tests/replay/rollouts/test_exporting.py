"""Sessions as rollouts: what goes out comes in again."""

import json
from typing import Any

import pytest
from hypothesis import given, settings

from tests.core.play import Play, said
from tests.replay.rollouts import kit
from tests.strategies import sessions
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.errors import UsageError
from turnlog.protocol.ops import Compact
from turnlog.replay.rollouts.exporting import dated_folder, export_codex, rollout_name
from turnlog.replay.rollouts.importing import Import, import_rollout
from turnlog.replay.rollouts.reading import parse_rollout


def back(records: list[Recorded]) -> Import:
    """Export a session, and import what came out."""
    return kit.checked(import_rollout(parse_rollout(b"".join(export_codex(records)), "out.jsonl")))


def decoded(parts: Any) -> list[Any]:  # noqa: ANN401
    return [json.loads(part) for part in parts]


@settings(max_examples=60)
@given(sessions(when=lambda play: play.state.turn is None))
def test_an_exported_session_comes_back_with_its_conversation(play: Play) -> None:
    found = back(play.records)
    assert found.report.skipped == ()
    assert kit.history(found) == decoded(play.state.history.texts())


@settings(max_examples=40)
@given(sessions(when=lambda play: play.state.turn is not None))
def test_a_session_that_runs_comes_back_with_all_that_was_said_so_far(play: Play) -> None:
    parts = decoded(play.state.history.texts())
    assert kit.history(back(play.records))[: len(parts)] == parts


@settings(max_examples=40)
@given(sessions())
def test_a_rollout_has_dense_ordinals_and_times_in_order(play: Play) -> None:
    lines = [json.loads(line) for line in export_codex(play.records)]
    assert [line["ordinal"] for line in lines] == list(range(len(lines)))
    times = [line["timestamp"] for line in lines]
    assert times == sorted(times)


@pytest.mark.parametrize("path", kit.RECORDED, ids=lambda path: path.stem)
def test_an_imported_rollout_goes_out_with_its_items(path: Any) -> None:  # noqa: ANN401
    for made in kit.imported(path).sessions:
        again = back(list(made.records))
        assert again.newest.history == made.history
        out = [json.loads(line) for line in export_codex(made.records)]
        items = [line for line in out if line["type"] == "response_item"]
        base = sum(1 for part in made.history if "<instructions>" in part)
        assert len(items) == len(made.history) - base
        assert [one["payload"]["id"] for one in out if one["type"] == "session_meta"] == [
            made.session
        ]


def test_usage_status_and_settings_come_back() -> None:
    first = kit.imported(kit.named("interrupted"))
    again = back(list(first.newest.records))
    assert again.report.usage == first.report.usage
    assert again.report.turns == first.report.turns
    events = [[r.event for r in found.newest.records] for found in (first, again)]
    kinds = [[type(event).__name__ for event in one] for one in events]
    assert kinds[0] == kinds[1]
    assert getattr(events[0][0], "settings", 0) == getattr(events[1][0], "settings", 1)


def test_a_conversation_that_was_replaced_is_a_compaction() -> None:
    play = Play.started()
    play.ask("one")
    play.item(said("a long story " * 50))
    play.complete()
    play.op(Compact())
    play.load()
    play.summarize("all that was")
    lines = [json.loads(line) for line in export_codex(play.records)]
    assert [one["payload"] for one in lines if one["type"] == "compacted"] == [
        {
            "message": "",
            "replacement_history": [json.loads(part) for part in play.state.history.texts()],
            "window_number": 2,
        }
    ]


def test_a_session_without_an_event_is_not_exported() -> None:
    with pytest.raises(UsageError, match="no event yet"):
        list(export_codex([]))


def test_the_file_is_named_as_codex_wants() -> None:
    records = kit.imported(kit.named("session")).newest.records
    session = "01a1fead-a762-7803-a037-d639367c21a2"
    assert rollout_name(records) == f"rollout-2026-11-21T15-15-55-{session}.jsonl"
    assert dated_folder(records) == "2026/11/21"
