"""A hundred seeds, that equal seeds are equal runs, and that a broken promise is seen."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.simulation.__main__ import MOST_SHOWN, least, report
from tests.simulation.acts import Crash, Tell
from tests.simulation.running import Outcome, simulate
from tests.simulation.scenario import (
    CallTool,
    LeadAgent,
    Response,
    Scenario,
    Surroundings,
    ToolScript,
    drawn,
)
from turnlog.actors import session_actor
from turnlog.actors.core import agents
from turnlog.actors.core import session as session_core
from turnlog.actors.core.evolving import calls, decisions, facts
from turnlog.actors.core.state import CallStatus, State, Turn
from turnlog.actors.queues import outbox
from turnlog.actors.tasks.runner import TaskRunner
from turnlog.protocol.events import OpRefused, SessionDecision, SessionFact, ToolFinished
from turnlog.protocol.ops import prompt
from turnlog.replay.acting.stage import replay_acting

ROOT = Path(__file__).parents[2]
SEEDS = 100  # `make simulate` takes the ones after these
ACTED = 60  # of them: replayed by the real actors, too
SEEDS_TO_FIND_IT = 60


def test_whatever_happens_the_promises_are_kept_and_it_happens_again_with_actors() -> None:
    """Simulates each seed once. What never happens is not tested, so they see much of the world."""
    kinds = Counter[str]()
    for seed in range(SEEDS):
        outcome = simulate(drawn(seed))
        if outcome.failure is not None:
            pytest.fail(report(seed, outcome))
        for records in outcome.sessions.values():
            kinds.update(recorded.kind for recorded in records)
            if records and seed < ACTED:
                assert replay_acting(records, seed) == [], f"seed {seed}"
    rare = {"session_started", "step_failed"}
    assert kinds.keys() >= {kind for kind in _every_kind() if kind not in rare}
    assert kinds["session_opened"] > SEEDS
    assert kinds["session_forked"] > 5


def _every_kind() -> set[str]:
    """Return the kinds that a simulated world can have, by the acts and ports that it has."""
    return {
        *("session_forked", "session_opened", "op_received", "effect_closed", "timer_fired"),
        *("context_loaded", "model_item_received", "rate_limits_received", "model_completed"),
        *("model_failed", "tool_started", "tool_finished", "op_refused", "input_queued"),
        *("turn_opened", "context_asked", "items_recorded", "model_asked", "tool_dispatched"),
        *("approval_asked", "call_settled", "retry_scheduled", "response_abandoned"),
        *("turn_stopping", "turn_ended", "effect_lost", "session_closed"),
        *("compaction_asked", "compacted", "compaction_given_up", "compaction_wanted"),
        *("child_asked", "child_ended", "child_told", "effect_done", "child_stopping"),
        *("agents_awaited", "scan_asked", "workspace_scanned", "files_saved", "undo_asked"),
        *("turns_restored", "turns_dropped", "user_shell_asked", "prefix_changed", "call_parked"),
    }


def test_a_seed_gives_the_same_run_in_every_process_and_under_every_hash_seed() -> None:
    """This process has a hash seed that differs each time; the other one always has the same."""
    there = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "12", "--digests"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    here = [f"{seed} {simulate(drawn(seed)).digest}" for seed in range(12)]
    assert there.stdout.splitlines()[:12] == here


# --- planted defects ------------------------------------------------------------------------------


def found(promise: str) -> tuple[int, Outcome]:
    """Return the first seed that breaks a promise in this way."""
    for seed in range(SEEDS_TO_FIND_IT):
        outcome = simulate(drawn(seed))
        if promise in (outcome.failure or ""):
            return seed, outcome
    raise AssertionError("nothing was found")


def test_publishing_before_it_is_stored_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    original = outbox.Outbox.release

    def at_once(self: outbox.Outbox, release: outbox.Release) -> None:
        for recorded in release.events:
            self.publish(recorded)
        original(self, outbox.Release(release.ticket, (), release.then))

    monkeypatch.setattr(outbox.Outbox, "release", at_once)
    assert found("was acknowledged and is not on disk")[1].failure


def test_an_effect_that_begins_before_it_is_stored_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def at_once(*_: object) -> bool:
        return True

    monkeypatch.setattr(session_actor.SessionActor, "_needs_no_disk", at_once)
    assert found("the model is asked what is not on disk")[1].failure


def test_an_effect_that_is_never_closed_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    close = TaskRunner._close  # pyright: ignore[reportPrivateUsage]

    def forget(self: TaskRunner, effect: Any, slot: Any, closing: Any) -> None:  # noqa: ANN401
        if isinstance(closing, ToolFinished):
            self._forgotten.add(effect)  # pyright: ignore[reportPrivateUsage]
        close(self, effect, slot, closing)

    monkeypatch.setattr(TaskRunner, "_close", forget)
    assert found("was cut off before it was closed")[1].failure


def test_deciding_otherwise_than_replay_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    decide = session_core.decisions

    def silently(state: State, fact: SessionFact) -> Iterator[SessionDecision]:
        return (made for made in decide(state, fact) if not isinstance(made, OpRefused))

    monkeypatch.setattr(session_core, "decisions", silently)
    assert found("replay differs")[1].failure


def test_a_live_state_that_knows_more_than_the_log_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begin = session_actor.SessionActor._begin_effects  # pyright: ignore[reportPrivateUsage]

    def remember(self: session_actor.SessionActor, events: Any) -> Sequence[Any]:  # noqa: ANN401
        self.state.approved[f"at {self.state.head}"] = ()
        return begin(self, events)

    monkeypatch.setattr(session_actor.SessionActor, "_begin_effects", remember)
    assert found("the live state is not the fold of the log")[1].failure


def test_running_a_call_again_after_a_crash_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replay alone would not notice: it makes the same mistake."""
    mark = calls.mark

    def forget(turn: Turn, number: int, status: CallStatus) -> None:
        mark(turn, number, "waiting" if status in ("unknown", "stopped") else status)

    for module in (decisions, facts):
        monkeypatch.setattr(module, "mark", forget)
    slow = Response((CallTool(ToolScript(ms=100)),))
    acts = (Tell(0, 0, prompt("work")), Crash(50, 0, "continue"))
    outcome = simulate(Scenario(0, Surroundings(), (slow,), acts=acts))
    assert "is run again" in (outcome.failure or "")


def test_forgetting_a_child_over_a_crash_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replay alone would not notice, and nor would the parent: nothing of its is open."""

    def forget(*_: object) -> Iterator[SessionDecision]:
        return iter(())

    spawning = Response((LeadAgent("spawn"),))
    scenario = Scenario(
        0,
        Surroundings(most_agents=1, done_ms=200),
        (spawning,),
        acts=(Tell(0, 0, prompt("work")), Crash(100, 0, "continue")),
    )
    assert simulate(scenario).failure is None
    monkeypatch.setattr(agents, "ask_lost", forget)
    assert simulate(scenario).failure == "a turn ends, and a child still works"


def test_what_fails_is_told_with_the_least_that_is_needed_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decide = session_core.decisions

    def silently(state: State, fact: SessionFact) -> Iterator[SessionDecision]:
        return (made for made in decide(state, fact) if not isinstance(made, OpRefused))

    monkeypatch.setattr(session_core, "decisions", silently)
    seed, outcome = found("replay differs")
    small, again = least(drawn(seed), outcome)
    assert len(small.acts) == 1
    assert small.responses == ()
    assert small.answers == ()
    assert all(len(records) < MOST_SHOWN for records in again.sessions.values())
    told = report(seed, outcome)
    assert f"seed {seed} breaks a promise: replay differs" in told
    assert "● op_received" in told
