"""Crashes after every event of a scenario, with a user's own tools."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.replay.testing.bank import bank_tools
from turnlog.protocol.settings import SessionSettings
from turnlog.replay.testing import CrashRun, Scenario, ScriptedModel, crash_at, crash_everywhere
from turnlog.runtime.scripted_model.script import call, message

ASKING = SessionSettings(cwd="/", model="test-model", approval_policy="on-request")


def model() -> ScriptedModel:
    return ScriptedModel(
        [
            message("Moving."),
            call("transfer", {"source": "anna", "target": "ben", "amount": 5}),
            call("balance", {"account": "ben"}),
        ],
        "Done.",
        call("balance", {"account": "anna"}),
        "There.",
    )


def total_is_kept(run: CrashRun) -> None:
    assert run.tools[0].bank.total == 100  # type: ignore[attr-defined]


def test_a_sound_tool_survives_a_crash_after_every_event() -> None:
    scenario = Scenario(prompts=["move 5", "and now?"], model=model, tools=bank_tools)
    whole, *crashed = crash_everywhere(scenario, check=total_is_kept)
    ends = [run.at for run in crashed]
    assert ends == sorted({at for at in ends if at})
    assert ends[-1] == len(whole.records)
    kinds = [record.kind for record in whole.records]
    assert kinds.count("turn_ended") == 2
    assert all([r.kind for r in run.records].count("turn_ended") == 2 for run in crashed)


def test_questions_are_answered_on_both_sides_of_a_crash() -> None:
    scenario = Scenario(
        prompts=["move 5"],
        model=model,
        tools=lambda: bank_tools(wants="outside"),
        settings=ASKING,
    )
    runs = crash_everywhere(scenario, check=total_is_kept)
    assert all("approval_asked" in [r.kind for r in run.records] for run in runs)


def test_a_careless_tool_is_found_with_the_event_of_the_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    scenario = Scenario(prompts=["move 5"], model=model, tools=lambda: bank_tools(careless=True))
    with pytest.raises(AssertionError) as caught:
        crash_everywhere(scenario, check=total_is_kept, name="careless")
    note, kept = caught.value.__notes__
    assert note.startswith("crashed after event 12 (model_item_received); then:")
    assert str(tmp_path / ".turnlog-failures/careless") in kept


@settings(max_examples=20)
@given(st.integers(1, 40))
def test_a_crash_may_be_drawn(at: int) -> None:
    scenario = Scenario(prompts=["move 5"], model=model, tools=bank_tools)
    crash_at(scenario, at, check=total_is_kept)
