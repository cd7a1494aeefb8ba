"""Assertions about a session's calls say what is wrong, and show where."""

from collections.abc import Sequence

import pytest

from tests.replay.testing.bank import bank_tools
from turnlog.protocol.envelope import Recorded
from turnlog.replay.testing import (
    Scenario,
    ScriptedModel,
    TrajectoryError,
    Use,
    assert_always,
    assert_at_most,
    assert_before,
    assert_in_order,
    assert_never,
    assert_tools,
    uses,
)
from turnlog.runtime.scripted_model.script import call


@pytest.fixture(scope="module")
def records() -> Sequence[Recorded]:
    def model() -> ScriptedModel:
        return ScriptedModel(
            call("balance", {"account": "anna"}),
            [call("transfer", {"source": "anna", "target": "ben", "amount": 5}), call("fly")],
            call("balance", "not JSON"),
            "Done.",
        )

    return Scenario(prompts=["move 5"], model=model, tools=bank_tools).run().records


def test_each_call_is_seen_with_its_end(records: Sequence[Recorded]) -> None:
    seen = [(use.tool, use.arguments, use.ran, use.outcome, use.output) for use in uses(records)]
    broken = "failed to parse function arguments: JSON is malformed: invalid character (byte 4)"
    moved = {"source": "anna", "target": "ben", "amount": 5}
    assert seen == [
        ("balance", {"account": "anna"}, True, "done", "50"),
        ("transfer", moved, True, "done", "moved 5"),
        ("fly", {}, False, "refused", "unsupported call: fly"),
        ("balance", "not JSON", False, "refused", broken),
    ]


def moves_little(use: Use) -> bool:
    return use.tool == "transfer" and use.arguments["amount"] < 10


def ran(use: Use) -> bool:
    return use.ran


def test_what_holds_passes(records: Sequence[Recorded]) -> None:
    assert_tools(records, "balance", moves_little, "fly", "balance")
    assert_in_order(records, "balance", "transfer", "balance")
    assert_before(records, "balance", "transfer")
    assert_never(records, "delete")
    assert_at_most(records, 2, "balance")
    assert_always(records, lambda use: use.outcome in {"done", "refused"})


def test_what_does_not_hold_is_shown_in_the_timeline(records: Sequence[Recorded]) -> None:
    with pytest.raises(
        TrajectoryError, match="call 2 should be balance, and is transfer"
    ) as caught:
        assert_tools(records, "balance", "balance", "fly", "balance")
    (marked,) = [line for line in str(caught.value).splitlines() if line.startswith("->")]
    shown = 'model_item_received transfer {"source":"anna","target":"ben","amount":5}'
    assert marked == f"->   15 {shown}"
    with pytest.raises(TrajectoryError, match="call 5 should be fly, and is nothing more"):
        assert_tools(records, "balance", "transfer", "fly", "balance", "fly")
    with pytest.raises(TrajectoryError, match="call 4 should be nothing more, and is balance"):
        assert_tools(records, "balance", "transfer", "fly")
    with pytest.raises(TrajectoryError, match="no call of fly after balance"):
        assert_in_order(records, "balance", "balance", "fly", "balance")
    with pytest.raises(TrajectoryError, match="balance came before any transfer"):
        assert_before(records, "transfer", "balance")
    with pytest.raises(TrajectoryError, match="1 calls of moves_little, and at most 0 are allowed"):
        assert_never(records, moves_little)
    with pytest.raises(TrajectoryError, match="not every call is ran"):
        assert_always(records, ran)
