"""Checking exported files, and accepting what was meant to change."""

import io
import os
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import NoReturn

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tests.core.play import Play
from tests.errors import raises_code
from tests.replay.recordings import FILES, exported, named, read, records_of, written
from tests.strategies import sessions
from turnlog.actors.core import session, texts
from turnlog.actors.core.state import State, Turn
from turnlog.protocol.envelope import UnknownEvent
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.events import (
    ModelAsked,
    OpReceived,
    OpRefused,
    RetryScheduled,
    SessionDecision,
    SessionFact,
    SessionForked,
    TurnEnded,
    TurnOpened,
)
from turnlog.protocol.ids import EffectId, TurnId
from turnlog.replay.files.portable import read_portable, write_lines
from turnlog.replay.verify.accept import rerecord
from turnlog.replay.verify.files import (
    accept_file,
    check_file,
    check_files,
    portable_files,
    replay_file,
)
from turnlog.replay.verify.verdict import total
from turnlog.replay.verify.verifier import divergences

Decide = Callable[[State, SessionFact], Iterator[SessionDecision]]


def rerecorded(data: bytes) -> bytes:
    """Return a file with today's decisions."""
    reader = read_portable(io.BytesIO(data))
    header, lines = rerecord(reader.header, reader)
    stream = io.StringIO()
    write_lines(header, lines, stream)
    return stream.getvalue().encode()


def chatty(original: Decide) -> Decide:
    """Plant a decision that does nothing at the end of each step: what follows moves."""

    def decide(state: State, fact: SessionFact) -> Iterator[SessionDecision]:
        yield from original(state, fact)
        yield OpRefused("added", "added", "by a later release")

    return decide


def at_once(original: Decide) -> Decide:
    """Plant another delay of retries."""

    def decide(state: State, fact: SessionFact) -> Iterator[SessionDecision]:
        for decision in original(state, fact):
            is_retry = isinstance(decision, RetryScheduled)
            yield structs.replace(decision, delay_ms=1) if is_retry else decision

    return decide


def copy(path: Path, folder: Path) -> Path:
    """Copy a recorded session, as this release exports it."""
    target = folder / path.name
    target.write_bytes(exported(records_of(path)))
    return target


# --- what is the same stays -------------------------------------------------------------------


@given(sessions(when=lambda play: bool(play.records)))
def test_a_session_without_a_difference_is_recorded_as_it_was(play: Play) -> None:
    data = exported(play.records)
    assert rerecorded(data) == data


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_kept_session_without_a_difference_is_recorded_as_it_was(path: Path) -> None:
    data = exported(records_of(path))
    assert rerecorded(data) == data


@given(sessions(when=lambda play: bool(play.records)))
def test_what_was_accepted_replays_and_what_is_taken_back_is_as_it_was(play: Play) -> None:
    before = exported(play.records)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "decide", chatty(session.decide))
        after = rerecorded(before)
        assert list(divergences(read(after))) == []
    assert list(divergences(read(after))) or after == before
    assert rerecorded(after) == before


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_kept_session_is_as_it_was_once_a_change_is_taken_back(path: Path) -> None:
    before = exported(records_of(path))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "decide", chatty(session.decide))
        after = rerecorded(before)
        assert list(divergences(read(after))) == []
    assert list(divergences(read(after)))
    assert rerecorded(after) == before


def test_a_changed_field_changes_its_line_and_the_header_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = exported(records_of(named("retries")))
    monkeypatch.setattr(session, "decide", at_once(session.decide))
    after = rerecorded(before)
    pairs = zip(before.splitlines(), after.splitlines(), strict=True)
    changed = [number for number, (one, other) in enumerate(pairs, 1) if one != other]
    places = [r.sequence + 1 for r in records_of(named("retries")) if r.kind == "retry_scheduled"]
    assert changed == [1, *places]


def test_a_text_that_changes_changes_the_digests_of_the_inputs_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(texts, "DECLINED", "no")
    before = records_of(named("approvals"))
    after = read(rerecorded(written(before)))
    kinds = [one.kind for one, other in zip(before, after, strict=True) if one.event != other.event]
    assert kinds[0] == "call_settled"
    assert set(kinds[1:]) == {"model_asked"}
    asked = [r.event.input_digest for r in after if isinstance(r.event, ModelAsked)]
    assert len(set(asked)) == len(asked)


def test_a_fork_still_says_where_its_parent_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "decide", chatty(session.decide))
    data = rerecorded(named("forks").read_bytes())
    records = read(data)
    at = next(i for i, record in enumerate(records) if record.kind == "session_forked")
    forked = records[at].event
    assert isinstance(forked, SessionForked)
    assert (forked.cut, forked.digest) == (at, records[at - 1].digest.hex())
    assert read_portable(io.BytesIO(data)).header.cut == at


@given(sessions(when=lambda play: bool(play.records)), st.data())
def test_unknown_events_are_kept_where_they_are(play: Play, data: st.DataObject) -> None:
    at = data.draw(st.integers(1, len(play.records)))
    last = play.records[at - 1]
    newer = structs.replace(last, role="decision", event=UnknownEvent(999, True, b"\x91\x07"))
    records = [*play.records[:at], newer, *play.records[at:]]
    records = [structs.replace(record, sequence=n) for n, record in enumerate(records, 1)]
    file = rerecorded(written(records))  # what refers to a sequence has moved
    assert [record.kind for record in read(file)] == [record.kind for record in records]
    assert rerecorded(file) == file


# --- what cannot be accepted ------------------------------------------------------------------


def hasty(state: State, fact: SessionFact) -> Iterator[SessionDecision]:
    """Plant: a turn ends as soon as it has begun."""
    if isinstance(fact, OpReceived):
        yield TurnOpened(1, TurnId("planted"), fact.op_id)
        yield TurnEnded(1, TurnId("planted"), "completed")


def test_a_fact_about_what_todays_code_does_not_start_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session, "decide", hasty)
    with raises_code(
        ErrorCode.RERECORDING_REFUSED, match=r"about 3\.context\.0, which today's code does"
    ):
        rerecorded(named("turns").read_bytes())


def test_an_effect_that_no_fact_closes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    original = session.decide

    def eager(state: State, fact: SessionFact) -> Iterator[SessionDecision]:
        yield from original(state, fact)
        if isinstance(state.turn, Turn) and state.turn.calls:
            yield RetryScheduled(EffectId("9.planted.0"), "stream", 1, 1, 1, "planted")

    monkeypatch.setattr(session, "decide", eager)
    with raises_code(
        ErrorCode.RERECORDING_REFUSED, match=r"starts 9\.planted\.0, and no fact tells"
    ):
        rerecorded(named("tools").read_bytes())


def test_code_that_fails_is_never_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(state: State, fact: SessionFact) -> NoReturn:
        raise KeyError("planted")

    monkeypatch.setattr(session, "decide", broken)
    with raises_code(ErrorCode.RERECORDING_REFUSED, match="fails there: KeyError: 'planted'"):
        rerecorded(named("turns").read_bytes())


def test_a_file_that_cannot_be_accepted_is_left_alone_and_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = copy(named("turns"), tmp_path)
    before = path.read_bytes()
    monkeypatch.setattr(session, "decide", hasty)
    verdict = check_file(path, accept=True)
    assert (verdict.status, verdict.code) == ("different", "rerecording_refused")
    assert path.read_bytes() == before


def test_decisions_that_differ_from_one_time_to_the_next_are_not_accepted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path, times, original = copy(named("retries"), tmp_path), count(1_000_000), session.decide
    before = path.read_bytes()

    def later(state: State, fact: SessionFact) -> Iterator[SessionDecision]:
        for decision in original(state, fact):
            is_retry = isinstance(decision, RetryScheduled)
            yield structs.replace(decision, delay_ms=next(times)) if is_retry else decision

    monkeypatch.setattr(session, "decide", later)
    with raises_code(ErrorCode.RERECORDING_REFUSED, match="when it is asked once more"):
        accept_file(path)
    assert path.read_bytes() == before


# --- files ------------------------------------------------------------------------------------


def test_accepting_replaces_the_file_and_the_next_check_passes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = copy(named("retries"), tmp_path)
    path.chmod(0o640)
    link = tmp_path / "link.turnlog"
    link.symlink_to(path.name)
    monkeypatch.setattr(session, "decide", at_once(session.decide))
    assert check_file(link).status == "different"
    assert check_file(link, accept=True).status == "accepted"
    assert check_file(link).status == "same"
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(tmp_path)) == ["link.turnlog", path.name]


def test_a_verdict_counts_by_kind_and_shows_the_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = copy(named("retries"), tmp_path)
    monkeypatch.setattr(session, "decide", at_once(session.decide))
    verdict = check_file(path)
    records = records_of(path)
    places = [record for record in records if isinstance(record.event, RetryScheduled)]
    assert verdict.by_kind == {"changed retry_scheduled: delay_ms": len(places)}
    assert verdict.first is not None
    recorded = places[0].event
    assert isinstance(recorded, RetryScheduled)
    assert verdict.first["sequence"] == places[0].sequence
    assert verdict.first["differences"] == [
        {"path": "delay_ms", "recorded": recorded.delay_ms, "decided": 1}
    ]
    assert [fact["sequence"] for fact in verdict.first["facts"]][-1] == places[0].cause
    assert msgspec.json.decode(msgspec.json.encode(verdict), type=type(verdict)) == verdict


def test_damage_is_reported_with_what_precedes_it(tmp_path: Path) -> None:
    path = copy(named("long"), tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    events = len(records_of(named("long")))
    verdict = check_file(path)
    assert (verdict.status, verdict.events, verdict.code) == (
        "damaged",
        events - 1,
        "portable_invalid",
    )
    assert check_file(path, accept=True).status == "damaged"


def test_differences_from_an_event_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "decide", at_once(session.decide))
    every = [found.sequence for found in replay_file(named("retries")).divergences]
    later = replay_file(named("retries"), start=every[1]).divergences
    assert [found.sequence for found in later] == every[1:]


def test_portable_files_are_found_by_name_and_by_content(tmp_path: Path) -> None:
    (tmp_path / "a" / ".hidden").mkdir(parents=True)
    data = named("turns").read_bytes()
    for name in ("b.turnlog", "a/c.jsonl", "a/.hidden/d.turnlog"):
        (tmp_path / name).write_bytes(data)
    for half_written in (".turnlog-accept-x", ".b.turnlog.17", "a/.c.turnlog"):
        (tmp_path / half_written).write_bytes(data[:-20])
    (tmp_path / "a" / "README.md").write_text("# no session\n")
    (tmp_path / "broken.turnlog").write_bytes(b"\x00\xff")
    found = portable_files(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in found] == [
        "a/c.jsonl",
        "b.turnlog",
        "broken.turnlog",
    ]
    assert [verdict.status for verdict in check_files(found)] == ["same", "same", "damaged"]


def test_a_file_that_is_removed_after_it_was_found_is_missed_and_the_others_are_checked(
    tmp_path: Path,
) -> None:
    kept, gone = tmp_path / "a.turnlog", tmp_path / "b.turnlog"
    for path in (kept, gone):
        path.write_bytes(named("turns").read_bytes())
    found = portable_files(tmp_path)
    gone.unlink()
    verdicts = list(check_files(found))
    assert [verdict.status for verdict in verdicts] == ["same", "error"]
    assert verdicts[1].code == "input_unreadable"


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    with raises_code(ErrorCode.INPUT_UNREADABLE):
        portable_files(tmp_path / "nowhere")


def test_processes_find_the_same_in_the_same_order(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number:02}.turnlog" for number in range(40)]
    good = named("steering").read_bytes()
    play = Play.started()
    play.ask("hi")
    play.records[3] = structs.replace(play.records[3], event=OpRefused("planted", "", ""))
    for number, path in enumerate(paths):
        path.write_bytes(written(play.records) if number % 7 == 3 else good)
    alone = list(check_files(paths, jobs=1))
    assert list(check_files(paths, jobs=3)) == alone
    totals = total(alone)
    assert totals.by_status == {"same": 34, "different": 6}
    assert totals.by_kind["other op_refused -> turn_opened"] == 6
    assert sum(totals.by_kind.values()) == sum(verdict.divergences for verdict in alone)
    assert totals.events == sum(verdict.events for verdict in alone)


def test_a_process_may_be_left_half_way(tmp_path: Path) -> None:
    path = copy(named("steering"), tmp_path)
    verdicts = check_files([path] * 40, jobs=2)
    assert next(verdicts).status == "same"
    verdicts.close()
