"""Rules with a revision: a change after a release, shown with one that is made up."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.core.play import Play
from tests.core.test_model_retries import CUT
from turnlog.actors.core import model_call, retries
from turnlog.actors.core.rules import RULES, Change, since
from turnlog.actors.core.state import State
from turnlog.protocol.calls import ModelFailure
from turnlog.protocol.events import RetryScheduled
from turnlog.protocol.settings import RetryLimits
from turnlog.replay.verify.verifier import divergences

ROOT = Path(__file__).parents[2]
PACKAGES = ("actors", "protocol", "replay", "frontends", "runtime")
ALLOWED = ROOT / "actors/core/rules.py"


class MadeUp(Change):
    """A change that a release might make: every retry comes after a second."""

    EVEN_RETRIES = 2


def changed_delay(state: State, failure: ModelFailure, retry: int, limits: RetryLimits) -> int:
    if since(state, MadeUp.EVEN_RETRIES):
        return 1000
    return retries.delay_ms(state, failure, retry, limits)


def even_delay(*_: object) -> int:
    return 1000


def delays(play: Play) -> list[int]:
    return [event.delay_ms for event in play.events if isinstance(event, RetryScheduled)]


def lived(*revisions: int) -> Play:
    """Return a session that is opened under each of these revisions, and retries once in each."""
    play = Play.started()
    for revision in revisions:
        play.rules = revision
        play.open()
        play.ask("hi")
        play.fail(CUT)
        play.fire()
        play.complete()
    return play


def test_a_changed_rule_leaves_what_was_recorded_before_it_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    released = lived(1, 1)
    monkeypatch.setattr(model_call, "delay_ms", changed_delay)
    assert list(divergences(released.records)) == []
    upgraded = lived(1, 2)
    before, after = delays(upgraded)
    assert (before, after) == (delays(released)[0], 1000)
    assert list(divergences(upgraded.records)) == []


def test_a_changed_rule_without_a_revision_is_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    released = lived(1)
    monkeypatch.setattr(model_call, "delay_ms", even_delay)
    assert [found.label for found in divergences(released.records)] == [
        "changed retry_scheduled: delay_ms"
    ]


# --- one place ------------------------------------------------------------------------------------


def sources(*packages: str) -> Iterator[tuple[Path, ast.Module]]:
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path, ast.parse(path.read_text())


def names(node: ast.AST) -> set[str]:
    found = (one for one in ast.walk(node) if isinstance(one, ast.Name | ast.Attribute))
    return {one.id if isinstance(one, ast.Name) else one.attr for one in found}


def test_only_one_module_compares_revisions() -> None:
    compare = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path, tree in sources(*PACKAGES)
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare) and names(node) & {"rules", "RULES"} and path != ALLOWED
    ]
    assert compare == []


def test_what_an_event_means_never_depends_on_a_revision() -> None:
    asking = [
        str(path.relative_to(ROOT))
        for path, tree in sources("actors/core/evolving")
        if {"since", "Change"} & names(tree)
    ]
    assert asking == []


def test_every_change_has_a_user() -> None:
    used = set[str]().union(*(names(tree) for _, tree in sources("actors/core")))
    assert [change.name for change in Change if change.name not in used] == []
    assert max(Change, default=1) == RULES
