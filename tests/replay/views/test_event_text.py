"""What the timeline says of an event, in a line."""

import pytest

from turnlog.protocol.calls import CommandPreview, ErrorInfo, ModelFailure, ToolPlan
from turnlog.protocol.events import (
    AgentsAwaited,
    ApprovalAsked,
    ChildAsked,
    ChildEnded,
    ChildStopping,
    ChildTold,
    Compacted,
    CompactionGivenUp,
    ConversationResumed,
    ModelFailed,
    OpReceived,
    PrefixChanged,
    SessionEvent,
    TurnsDropped,
    TurnsRestored,
    UndoAsked,
    UserShellAsked,
    WorkspaceScanned,
)
from turnlog.protocol.files import RestoredFile
from turnlog.protocol.ids import EffectId, SessionId
from turnlog.protocol.ops import Archive, ExecApproval, Op, Review, SetName, Undo
from turnlog.protocol.settings import SessionSettings
from turnlog.replay.views.event_text import event_text

EFFECT = EffectId("1.x")
CHILD = SessionId("01900000")
SETTINGS = SessionSettings("/work", "m")
REVIEW = '{"findings": [{"title": "A"}, {"title": "B"}], "overall_correctness": "wrong"}'
PLAN = ToolPlan("exec_command", wants="outside", preview=CommandPreview(("ls",), "/"), reason="Why")

SAID: list[tuple[SessionEvent, str]] = [
    (
        Compacted("manual", "summary", 11, (0, 1), 1200, 400),
        "summary: 11 parts became 2, 1200 tokens about 400",
    ),
    (CompactionGivenUp("manual", "it is short"), "manual: it is short"),
    (
        ModelFailed(EFFECT, ModelFailure("stream_disconnected", "It ended")),
        "stream_disconnected: It ended",
    ),
    (
        ModelFailed(EFFECT, ModelFailure("stream_disconnected", "It ended"), "Half of"),
        "stream_disconnected: It ended; until then it said: Half of",
    ),
    (
        ChildAsked(EFFECT, CHILD, "agent", "digger", 1, "Dig", SETTINGS),
        "agent digger 01900000: Dig",
    ),
    (ChildAsked(EFFECT, CHILD, "review", "review", 1, "Look", SETTINGS), "review 01900000: Look"),
    (ChildTold(EFFECT, CHILD, "op", "Stop"), "01900000: Stop"),
    (ChildStopping(EFFECT, CHILD), "01900000"),
    (ChildEnded(EFFECT, CHILD, "completed", 3, "", "Dug."), "01900000 completed: Dug."),
    (ChildEnded(EFFECT, CHILD, "completed", 3, "", REVIEW), "01900000 completed: A; B (wrong)"),
    (
        ChildEnded(EFFECT, CHILD, "failed", 3, "", error=ErrorInfo("parked", "it waits")),
        "01900000 failed: it waits",
    ),
    (AgentsAwaited(EFFECT, 0, "call_1", 500), "call_1, 500 ms at most"),
    (UndoAsked(EFFECT, 22, 1, True, True, False, 3), "1 turn, back to event 22"),
    (UndoAsked(EFFECT, 22, 3, True, True, False, 3), "3 turns, back to event 22"),
    (
        UndoAsked(EFFECT, 52, 0, True, True, False, None),
        "the last undo is taken back: as it was at event 52",
    ),
    (TurnsDropped(2, 1), "2 turns"),
    (TurnsDropped(0), "no turn"),
    (TurnsDropped(0, redo=True), "an undo was taken back"),
    (TurnsRestored(EFFECT, (RestoredFile("/a", "conflict", "x"),), {}), "conflict /a (x)"),
    (WorkspaceScanned(EFFECT, 3, 2, "too large"), "3 files, 2 left out: too large"),
    (UserShellAsked(EFFECT, "make"), "make"),
    (ConversationResumed(12, 3_400, "00"), "12 parts, 3400 tokens"),
    (PrefixChanged(("model", "tools")), "the next request has another beginning: model, tools"),
    (
        ApprovalAsked(EFFECT, "q", 0, "call_1", PLAN),
        "exec_command wants to run outside (Why): ls",
    ),
]
OPS: list[tuple[Op, str]] = [
    (Undo(1), "undo 1 turn"),
    (Archive(False), "archive taken back"),
    (SetName("mine"), "set_name mine"),
    (Review("Look"), "review Look"),
    (ExecApproval("q", "denied"), "exec_approval q denied"),
]


@pytest.mark.parametrize(("event", "said"), SAID, ids=lambda value: type(value).__name__)
def test_an_event_is_told_in_words(event: SessionEvent, said: str) -> None:
    assert event_text(event) == said


@pytest.mark.parametrize(("op", "said"), OPS, ids=lambda value: type(value).__name__)
def test_an_op_is_told_with_what_it_asks_for(op: Op, said: str) -> None:
    assert event_text(OpReceived("id", op)) == said
