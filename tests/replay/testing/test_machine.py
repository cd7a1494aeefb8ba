"""A user's state machine: sound tools pass; a planted bug is found, shrunk and kept as a log."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
import trio
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import invariant, run_state_machine_as_test

from tests.replay.testing.bank import bank_tools
from tests.warm.client import run
from tests.warm.request import Program
from turnlog.protocol.ops import Interrupt
from turnlog.replay.testing import CoreSession, SessionMachine
from turnlog.replay.testing.failures import save_records
from turnlog.runtime.tools.tool import Tool
from turnlog.runtime.tools.update_plan import UpdatePlan

QUICK = settings(
    max_examples=60,
    stateful_step_count=20,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
SEARCH = settings(
    QUICK,
    max_examples=1000,
    stateful_step_count=6,
    derandomize=True,
    phases=(Phase.generate, Phase.shrink),
)
LONGEST = 19  # events; without a step too many there are 15
STOPPED_BY_INTERRUPT = ["op_received interrupt", "turn_stopping", "effect_closed", "call_settled"]


class BankMachine(SessionMachine):
    """A user's machine: tools over one bank, so they are made together."""

    def make_tools(self) -> Sequence[Tool]:
        return bank_tools(wants="outside")

    @invariant()
    def no_money_is_lost(self) -> None:
        assert self.tool("transfer").bank.total == 100


class CarelessMachine(BankMachine):
    def make_tools(self) -> Sequence[Tool]:
        return bank_tools(careless=True)[:1]


def test_sound_tools_pass() -> None:
    run_state_machine_as_test(BankMachine, settings=QUICK)


def test_a_careless_tool_is_found_and_its_session_is_minimal_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError) as caught:
        run_state_machine_as_test(CarelessMachine, settings=SEARCH)
    notes = "\n".join(caught.value.__notes__)
    home, session = re.findall(r"TURNLOG_HOME=(.+) turnlog show (\S+)$", notes, re.MULTILINE)[0]
    assert home == str(tmp_path / ".turnlog-failures/CarelessMachine")
    seen = [shortened(line) for line in show(home, session)]
    assert seen[:9] == [
        "session_started",
        "session_opened",
        "op_received user_turn",
        "turn_opened",
        "context_asked",
        "context_loaded",
        "items_recorded",
        "model_asked",
        "model_item_received transfer 1",
    ]
    # The shrinker may leave a step that is not needed; what did the harm is there once, at the end.
    assert len(seen) <= LONGEST
    assert [seen.count(kind) for kind in ("turn_opened", "tool_dispatched", "tool_started")] == [
        1
    ] * 3
    assert seen[-4:] == STOPPED_BY_INTERRUPT or "session_opened" in seen[9:]


def show(home: str, session: str) -> list[dict[str, Any]]:
    environment = {**os.environ, "TURNLOG_HOME": home}
    shown = trio.run(run, Program(home, environment, ("show", "--json", session)))
    return [msgspec.json.decode(line) for line in shown.out.splitlines()]


def shortened(line: dict[str, Any]) -> str:
    match line:
        case {"kind": "op_received", "event": {"op": {"type": op}}}:
            return f"op_received {op}"
        case {"kind": "model_item_received", "event": {"item": {"name": name} as item}}:
            return f"model_item_received {name} {msgspec.json.decode(item['arguments'])['amount']}"
        case _:
            return str(line["kind"])


class WrongMachine(SessionMachine):
    tools: ClassVar[Sequence[Tool]] = [UpdatePlan()]

    @invariant()
    def nobody_plans(self) -> None:
        assert "tool_finished" not in [record.kind for record in self.records]


def test_a_machine_needs_no_more_than_a_list_of_tools(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(WrongMachine, settings=SEARCH)
    assert (tmp_path / ".turnlog-failures/.gitignore").read_text() == "*\n"


def test_a_failure_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    first, second = CoreSession.started(), CoreSession.started()
    second.op(Interrupt())
    save_records("machine", first.records, folder=tmp_path)
    save_records("machine", second.records, folder=tmp_path)
    session = str(second.state.session)
    kept = [line["kind"] for line in show(str(tmp_path / "machine"), session)]
    assert kept == [record.kind for record in second.records]
