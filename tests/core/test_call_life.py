"""The life of a call: `evolve` keeps to the table, and each line of the table happens."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given

from tests.core.play import SESSION, SETTINGS, Play, loaded
from tests.replay.recordings import FILES, records_of
from tests.strategies import sessions
from turnlog.actors.core.call_life import CALL
from turnlog.actors.core.evolving import evolve
from turnlog.actors.core.rebuild import rebuild
from turnlog.actors.core.state import Call, CallStatus, OpenTurn, State, Turn
from turnlog.protocol.calls import ToolPlan
from turnlog.protocol.envelope import Recorded, UnknownEvent
from turnlog.protocol.events import (
    AgentsAwaited,
    ApprovalAsked,
    CallParked,
    CallPlanned,
    CallSettled,
    EffectClosed,
    EffectLost,
    ModelAsked,
    ModelItemReceived,
    OpeningDecision,
    OpReceived,
    PlanAsked,
    QuestionAnswered,
    SessionEvent,
    StepFailed,
    ToolDispatched,
    ToolFinished,
    ToolStarted,
)
from turnlog.protocol.ids import EffectId, TurnId
from turnlog.protocol.items import JsonText, OtherCall
from turnlog.protocol.ops import ExecApproval
from turnlog.protocol.ops import prompt as prompted
from turnlog.protocol.settings import SandboxPolicy, TurnSettings

EFFECT, MODEL = EffectId("1.call.0"), EffectId("1.model.0")
PLAN = ToolPlan("tool")
OUTPUT = JsonText('{"type":"other_output","call_id":"c"}')
DISPATCHED = ToolDispatched(EFFECT, 0, "c", "tool", SandboxPolicy())
ASKED = ApprovalAsked(EFFECT, "q", 0, "c", PLAN)
PLANNING = PlanAsked(EFFECT, 0, "c")
AWAITED = AgentsAwaited(EFFECT, 0, "c", 1)
OPENED_BY: dict[CallStatus, OpeningDecision] = {
    "planning": PLANNING,
    "asked": ASKED,
    "dispatched": DISPATCHED,
    "running": DISPATCHED,
    "awaiting": AWAITED,
}
EVENTS: tuple[SessionEvent, ...] = (
    PLANNING,
    ASKED,
    DISPATCHED,
    AWAITED,
    ModelItemReceived(MODEL, OUTPUT),
    CallSettled(0, "c", "answered", "done"),
    StepFailed("a fault"),
    CallPlanned(EFFECT, PLAN),
    EffectLost(EFFECT),
    EffectClosed(EFFECT, "cancelled"),
    OpReceived("op", ExecApproval("q", "approved")),
    QuestionAnswered(EFFECT, 0, "c"),
    CallParked(0, "c"),
    ToolStarted(EFFECT),
    ToolFinished(EFFECT, "done", "", "done"),
)
Change = tuple[CallStatus, type[SessionEvent], CallStatus]
LINES = [(before, event) for before, changes in CALL.items() for event in changes]


def test_the_events_of_the_table_are_all_tried() -> None:
    assert {event for _, event in LINES} == {type(event) for event in EVENTS}


@pytest.mark.parametrize(("before", "kind"), LINES)
def test_an_event_does_what_the_table_says(before: CallStatus, kind: type[SessionEvent]) -> None:
    opened = OpenTurn(1, TurnId("turn"), OpReceived("op-0", prompted("go")))
    turn = Turn.begin(opened, loaded(EffectId("1.context.0"), TurnSettings(SETTINGS), ()))
    turn.add_call(OtherCall("c", "other_call"), PLAN, 1)
    turn.add_call(OtherCall("d", "other_call"), PLAN, 2)  # keeps the first one's output waiting
    call = turn.calls[0]
    call.status, call.question = before, "q"
    state = State(session=SESSION, settings=SETTINGS, turn=turn)
    state.outstanding[MODEL] = ModelAsked(MODEL, 1, 1, 0, "")
    if (opened_by := OPENED_BY.get(before)) is not None:
        state.outstanding[EFFECT] = opened_by
    evolve(state, next(event for event in EVENTS if type(event) is kind), time_us=1)
    assert call.status in CALL[before][kind]


def changes(records: list[Recorded]) -> Iterator[Change]:
    """Yield each change of a call's status that happened, also of a call that is gone by then."""
    state = State()
    for record in records:
        assert not isinstance(record.event, UnknownEvent)
        turn = state.turn
        before: list[tuple[Call, CallStatus]] = []
        if isinstance(turn, Turn):
            before = [(call, call.status) for call in turn.calls]
        rebuild([record], state)
        for call, status in before:
            if call.status != status:
                yield status, type(record.event), call.status


def unlisted(records: list[Recorded]) -> list[Change]:
    return [one for one in changes(records) if one[2] not in CALL[one[0]].get(one[1], ())]


@given(sessions())
def test_a_call_changes_as_the_table_says_and_never_otherwise(play: Play) -> None:
    assert unlisted(play.records) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_recorded_calls_changed_as_the_table_says(path: Path) -> None:
    assert unlisted(records_of(path)) == []
