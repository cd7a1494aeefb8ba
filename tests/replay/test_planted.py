"""Changes that were planted in a core, or in a log: each is caught, at the event where it is."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from msgspec import structs

from tests.replay.recordings import FILES, named, records_of, renumbered
from turnlog.actors.core import session, texts
from turnlog.actors.core.state import State
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.events import (
    CallSettled,
    ModelAsked,
    RetryScheduled,
    SessionDecision,
    SessionFact,
    TurnStopping,
)
from turnlog.replay.verify.files import check_file, replay_file
from turnlog.replay.verify.verifier import divergences

Decide = Callable[[State, SessionFact], Iterator[SessionDecision]]


def found(records: list[Recorded]) -> list[tuple[int, str]]:
    return [(divergence.sequence, divergence.label) for divergence in divergences(records)]


def sequences(records: list[Recorded], kind: str) -> list[int]:
    return [record.sequence for record in records if record.kind == kind]


# --- in the code ------------------------------------------------------------------------------


def planted(change: Callable[[SessionDecision], SessionDecision]) -> Decide:
    """Return a core that decides as ours does, but for `change`."""
    original = session.decide

    def decide(state: State, fact: SessionFact) -> Iterator[SessionDecision]:
        for decision in original(state, fact):
            yield change(decision)

    return decide


def test_another_limit_of_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    def stingy(decision: SessionDecision) -> SessionDecision:
        if isinstance(decision, RetryScheduled) and decision.level == "stream":
            return TurnStopping("failed")
        return decision

    records = records_of(named("retries"))
    monkeypatch.setattr(session, "decide", planted(stingy))
    of_streams = [
        (record.sequence, "other retry_scheduled -> turn_stopping")
        for record in records
        if isinstance(record.event, RetryScheduled) and record.event.level == "stream"
    ]
    assert of_streams
    assert found(records) == of_streams


def test_another_limit_of_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(decision: SessionDecision) -> SessionDecision:
        if isinstance(decision, CallSettled):
            return structs.replace(decision, output=decision.output[:20])
        return decision

    records = records_of(named("tools"))
    monkeypatch.setattr(session, "decide", planted(cut))
    places = sequences(records, "call_settled")
    assert places
    assert found(records) == [(at, "changed call_settled: output") for at in places]


def test_a_text_that_the_model_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "TURN_ABORTED", "<turn_aborted/>")
    records = records_of(named("interrupts"))
    aborted = [
        record.sequence
        for record in records
        if record.kind == "items_recorded" and "turn_aborted" in str(record.event)
    ]
    assert found(records) == [(at, "changed items_recorded: items") for at in aborted]


def test_a_clock_that_a_core_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    def hurried(decision: SessionDecision) -> SessionDecision:
        if isinstance(decision, RetryScheduled):
            return structs.replace(decision, delay_ms=time.perf_counter_ns())
        return decision

    records = records_of(named("retries"))
    monkeypatch.setattr(session, "decide", planted(hurried))
    places = sequences(records, "retry_scheduled")
    assert found(records) == [(at, "changed retry_scheduled: delay_ms") for at in places]
    assert list(divergences(records)) != list(divergences(records))


_SET_ORDER = """
import sys
from pathlib import Path
from msgspec import structs
from turnlog.actors.core import session
from turnlog.protocol.events import ItemsRecorded
from turnlog.replay.verify.files import replay_file

original = session.decide

def unordered(state, fact):
    for decision in original(state, fact):
        if isinstance(decision, ItemsRecorded):
            decision = structs.replace(decision, items=tuple(set(decision.items)))
        yield decision

session.decide = unordered
for found in replay_file(Path(sys.argv[1])).divergences:
    print(found.sequence, found.label, sep=": ")
"""


def test_a_sets_order_that_a_core_depends_on() -> None:
    path = named("turns")
    first = sequences(records_of(path), "items_recorded")[0]
    outcomes = [_replayed_with_hash_seed(seed, path) for seed in (1, 2, 3)]
    assert any(outcomes)  # some orders are as they were
    for lines in filter(None, outcomes):
        assert lines[0] == f"{first}: changed items_recorded: items"


def _replayed_with_hash_seed(seed: int, path: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", _SET_ORDER, str(path)],
        env={**os.environ, "PYTHONHASHSEED": str(seed)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_a_decision_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(decision: SessionDecision) -> SessionDecision:
        if isinstance(decision, ModelAsked):
            raise KeyError("planted")
        return decision

    records = records_of(named("steering"))
    monkeypatch.setattr(session, "decide", planted(broken))
    places = sequences(records, "model_asked")
    assert found(records) == [(at, "other model_asked -> step_failed") for at in places]


# --- in the log -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_event_that_was_dropped(path: Path) -> None:
    """Every decision, and every fact that led to one, is missed from the same place."""
    records = records_of(path)
    decided_about = {record.cause for record in records}
    for at, record in enumerate(records):
        if at == 0 or (record.role == "fact" and record.sequence not in decided_about):
            continue
        left = renumbered(records[:at] + records[at + 1 :])
        assert next(divergences(left)).sequence == record.sequence, record.kind


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_pair_of_decisions_that_was_reordered(path: Path) -> None:
    records = records_of(path)
    pairs = 0
    for at, (one, other) in enumerate(pairwise(records)):
        if one.role == other.role == "decision" and one.event != other.event:
            swapped = renumbered([*records[:at], other, one, *records[at + 2 :]])
            assert next(divergences(swapped)).sequence == one.sequence
            pairs += 1
    assert pairs


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_line_that_was_dropped_or_reordered_in_a_file_is_found_there(
    path: Path, tmp_path: Path
) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    middle = len(lines) // 2
    damaged = tmp_path / "damaged.turnlog"
    for changed in (
        [*lines[:middle], *lines[middle + 1 :]],
        [*lines[:middle], lines[middle + 1], lines[middle], *lines[middle + 2 :]],
    ):
        damaged.write_bytes(b"".join(changed))
        report = replay_file(damaged)
        assert report.damage is not None
        assert (report.events, report.damage.sequence) == (middle - 1, middle)
        assert f"line {middle + 1}: " in report.damage.message
        assert list(report.divergences) == []
        assert check_file(damaged).status == "damaged"
