"""Recorded sessions, acted out again by the real actors: a session must be itself again.

`test_simulation` tries that with every session that it simulates.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec import structs

from tests.core.play import Play
from tests.replay.recordings import FILES, records_of
from tests.simulation.running import simulate
from tests.simulation.scenario import drawn
from turnlog.actors.core import session as session_core
from turnlog.actors.core.rebuild import rebuild
from turnlog.actors.core.sealed_step import sealed_step
from turnlog.actors.core.state import State
from turnlog.actors.tasks.runner import TaskRunner
from turnlog.protocol.envelope import Recorded, UnknownEvent
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import StoreTooNew, UsageError
from turnlog.protocol.events import (
    EffectClosed,
    OpReceived,
    OpRefused,
    SessionDecision,
    SessionFact,
    TimerFired,
    ToolFinished,
    TurnOpened,
)
from turnlog.protocol.ops import Interrupt
from turnlog.replay.acting.stage import LogDifference, replay_acting

SEEDS = 180  # in which each kind of event happens


@cache
def recorded_sessions(seed: int) -> list[list[Recorded]]:
    return [records for records in simulate(drawn(seed)).sessions.values() if records]


def with_kind(kind: str) -> Iterator[tuple[list[Recorded], int]]:
    """Yield some sessions that have events of a kind, and the index of the first."""
    for seed in range(SEEDS):
        for records in recorded_sessions(seed):
            kinds = [recorded.kind for recorded in records]
            if kind in kinds:
                yield records, kinds.index(kind)


@pytest.mark.parametrize(
    "kind",
    [
        *("timer_fired", "approval_asked", "session_forked", "effect_lost", "turn_stopping"),
        *("compacted", "child_ended", "child_told", "child_stopping", "agents_awaited"),
        *("workspace_scanned", "files_saved", "turns_restored", "user_shell_asked"),
        *("call_parked", "compaction_wanted"),
    ],
)
def test_no_seed_makes_a_difference(kind: str) -> None:
    records, _ = next(with_kind(kind))
    for seed in range(5):
        assert replay_acting(records, seed) == []


@pytest.mark.parametrize("seed", [1589, 1857])
def test_what_no_port_holds_back_does_not_outrun_a_recorded_stop(seed: int) -> None:
    """Seeds in which a timer of no time, and an undo without files, were stopped first."""
    for records in recorded_sessions(seed):
        assert replay_acting(records, seed) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_session_of_an_older_schema_happens_again_by_the_rules_that_it_had(path: Path) -> None:
    assert replay_acting(records_of(path)) == []


def test_a_session_that_was_cut_short_happens_again_up_to_there() -> None:
    records, _ = next(with_kind("tool_finished"))
    ends = [r.sequence - 1 for r in records if r.role == "fact" and r.sequence > 2]
    for end in ends:
        assert replay_acting(records[:end], end) == []


def test_a_decision_that_changed_is_found_at_its_event(monkeypatch: pytest.MonkeyPatch) -> None:
    records, index = next(with_kind("op_refused"))
    assert replay_acting(records) == []
    decide = session_core.decisions

    def silently(state: State, fact: SessionFact) -> Iterator[SessionDecision]:
        return (made for made in decide(state, fact) if not isinstance(made, OpRefused))

    monkeypatch.setattr(session_core, "decisions", silently)
    assert replay_acting(records) == [LogDifference(index + 1, records[index], None)]


def test_a_decision_that_the_log_has_not_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    records, index = next(with_kind("op_refused"))
    shorter = records[:index]
    (difference,) = replay_acting(shorter)
    assert (difference.sequence, difference.recorded) == (index + 1, None)
    assert difference.happened is not None
    assert difference.happened.event == records[index].event


def test_a_recorded_decision_that_was_altered_is_found_at_its_event() -> None:
    records, index = next(with_kind("turn_opened"))
    opened = records[index].event
    assert isinstance(opened, TurnOpened)
    altered = structs.replace(records[index], event=structs.replace(opened, turn=7))
    first = replay_acting([*records[:index], altered, *records[index + 1 :]])[0]
    assert (first.sequence, first.recorded) == (index + 1, altered)
    assert first.happened is not None
    assert first.happened.event == opened


def test_a_shell_that_loses_a_closing_fact_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cores alone would not notice: nothing that they decide has changed."""
    records, index = next(with_kind("tool_finished"))
    close = TaskRunner._close  # pyright: ignore[reportPrivateUsage]

    def forget(self: TaskRunner, effect: Any, slot: Any, closing: Any) -> None:  # noqa: ANN401
        if isinstance(closing, ToolFinished):
            self._forgotten.add(effect)  # pyright: ignore[reportPrivateUsage]
        close(self, effect, slot, closing)

    monkeypatch.setattr(TaskRunner, "_close", forget)
    assert replay_acting(records)[0] == LogDifference(index + 1, records[index], None)


def test_a_fact_that_came_too_late_is_handed_over_all_the_same() -> None:
    places = (
        (records, index, next(i for i, r in enumerate(records) if i > index and r.role == "fact"))
        for records, index in with_kind("tool_finished")
    )
    is_open = ((log, at, end) for log, at, end in places if log[end - 1].kind != "session_closed")
    records, index, end = next(is_open)
    late = structs.replace(records[index], sequence=end + 1)
    assert replay_acting([*records[:end], late]) == []


def test_a_timer_that_fired_just_before_its_turn_was_stopped_fires_again() -> None:
    found = (records[: index + 1] for records, index in with_kind("timer_fired"))
    *log, fired = next(log for log in found if _alone(log))
    state = rebuild(log)
    for fact in (OpReceived("stop", Interrupt()), cast(TimerFired, fired.event)):
        step = sealed_step(state, fact, time_us=state.time_us + 1000)
        log += [one.recorded for one in step]
    assert log[-1].kind == "turn_ended"
    assert replay_acting(log) == []


def _alone(log: Sequence[Recorded]) -> bool:
    """Say whether the timer that fired last was for a retry, and the only thing that was open."""
    return log[-1].kind == "timer_fired" and len(rebuild(log[:-1]).outstanding) == 1


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("KeyError: 'lost'", ""),
        ("outcome unknown", ""),
        (
            "'/tmp/out': No space left on device. Free some space on its disk.",
            ErrorCode.ENVIRONMENT_FAULT,
        ),
    ],
)
def test_a_tool_that_crashed_crashes_again_with_the_same_text_and_code(
    message: str, code: str
) -> None:
    play = Play.started()
    play.ask("go")
    play.call("call-1")
    play.complete()
    play.start(0)
    play.send(EffectClosed(play.tool(0), "crashed", message, code))
    assert replay_acting(play.records) == []


def test_what_does_not_begin_at_a_session_s_first_event_is_refused() -> None:
    records, _ = next(with_kind("turn_ended"))
    with pytest.raises(UsageError, match="do not begin with the first event"):
        replay_acting(records[1:])


def test_an_event_of_an_unknown_kind_cannot_be_acted_out() -> None:
    records, _ = next(with_kind("turn_ended"))
    unknown = structs.replace(records[3], event=UnknownEvent(99, True, b""))
    with pytest.raises(StoreTooNew):
        replay_acting([*records[:3], unknown, *records[4:]])
