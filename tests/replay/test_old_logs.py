"""Old logs for ever: sessions that were recorded under any schema replay as they ran."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.replay.recordings import FILES, FOLDER
from turnlog.actors.core.rules import RULES
from turnlog.protocol.envelope import SCHEMA
from turnlog.replay.verify.files import replay_file


def accepted(path: Path) -> list[tuple[int, str]]:
    """Return the differences that were accepted of a file, each with a reason given."""
    beside = path.with_suffix(".accepted.json")
    entries: list[dict[str, Any]] = json.loads(beside.read_text()) if beside.exists() else []
    assert all(entry["reason"].strip() for entry in entries)
    return [(entry["sequence"], entry["label"]) for entry in entries]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_recorded_session_replays_as_it_ran(path: Path) -> None:
    report = replay_file(path)
    assert report.damage is None
    assert report.events > 10
    assert [(found.sequence, found.label) for found in report.divergences] == accepted(path)


def test_there_are_sessions_of_every_schema_and_revision(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for schema in range(1, SCHEMA + 1):
        assert len(list(FOLDER.glob(f"schema-{schema}-*.turnlog"))) >= 16
    for rules in range(1, RULES + 1):
        assert len(list(FOLDER.glob(f"schema-*-rules-{rules}-*.turnlog"))) >= 16
    differences = sum(len(accepted(path)) for path in FILES)
    with capsys.disabled():
        print(f"\n{len(FILES)} recorded sessions replay, with {differences} accepted differences")
