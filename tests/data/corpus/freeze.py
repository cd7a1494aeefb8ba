"""Writes one event of each kind, as this release stores it, to a new file. See README.md."""

import json
import sys
from pathlib import Path

import msgspec

from turnlog.protocol import ops
from turnlog.protocol.calls import (
    CommandPreview,
    CommandReport,
    ContextFragment,
    ErrorInfo,
    FileChange,
    ModelFailure,
    PatchPreview,
    PatchReport,
    ToolPlan,
)
from turnlog.protocol.envelope import (
    GENESIS,
    SCHEMA,
    Envelope,
    Record,
    chain,
    seal,
    unseal,
)
from turnlog.protocol.events import (
    ApprovalAsked,
    CallSettled,
    ContextAsked,
    ContextLoaded,
    Decision,
    EffectClosed,
    EffectLost,
    InputQueued,
    ItemsRecorded,
    ModelAsked,
    ModelCompleted,
    ModelFailed,
    ModelItemReceived,
    OpReceived,
    OpRefused,
    RateLimitsReceived,
    RecordedItem,
    ResponseAbandoned,
    RetryScheduled,
    SessionClosed,
    SessionEvent,
    SessionForked,
    SessionOpened,
    SessionStarted,
    StepFailed,
    TimerFired,
    ToolDispatched,
    ToolFinished,
    ToolStarted,
    TurnEnded,
    TurnOpened,
    TurnStopping,
)
from turnlog.protocol.ids import EffectId, SessionId, TurnId
from turnlog.protocol.items import text_message
from turnlog.protocol.settings import (
    RetryLimits,
    SandboxPolicy,
    SessionSettings,
    SettingsUpdate,
    ShellEnvironmentPolicy,
    TurnSettings,
)
from turnlog.protocol.usage import RateLimits, RateLimitWindow, TokenUsage
from turnlog.protocol.view import event_object

SESSION = SessionId("0190163d-8694-739b-aea5-966c26f8ad91")
TURN = TurnId("0190163d-8694-7000-8000-000000000001")
SANDBOX = SandboxPolicy("workspace-write", ("/srv/data",), True)
SETTINGS = SessionSettings(
    "/home/me/project",
    "gpt-5.5",
    sandbox=SANDBOX,
    reasoning_effort="high",
    shell_environment=ShellEnvironmentPolicy("all", set={"LANG": "C"}),
)
RUN = ToolPlan(
    "exec_command", True, "outside", "it is needed", "rm", CommandPreview(("rm", "-r"), "/home/me")
)
CHANGES = (FileChange("/home/me/a.txt", "update"),)
CALL = (
    '{"type":"function_call","call_id":"call_1","name":"exec_command","arguments":"{\\"cmd\\": 1}"}'
)

OPS: tuple[ops.Op, ...] = (
    ops.prompt("make the tests pass", SettingsUpdate(model="gpt-5.5", reasoning_effort=None)),
    ops.UserTurn((ops.TextInput("as JSON"),), final_output_json_schema={"type": "object"}),
    ops.UserInput(
        (
            ops.TextInput("naïve ✓"),
            ops.ImageInput("data:image/png;base64,AA=="),
            ops.LocalImageInput("/a.png"),
        )
    ),
    ops.Interrupt(),
    ops.OverrideTurnContext(SettingsUpdate(cwd="/tmp", sandbox=SandboxPolicy())),
    ops.ExecApproval("question-1", "approved_for_session"),
    ops.PatchApproval("question-2", "abort"),
    ops.AddToHistory("make"),
    ops.GetHistoryEntryRequest(3, 7),
    ops.ListMcpTools(),
    ops.ListCustomPrompts(),
    ops.Undo(),
    ops.Compact(),
    ops.RunUserShellCommand("ls"),
    ops.Review("the last commit"),
    ops.Shutdown(),
)

EVENTS: tuple[SessionEvent, ...] = (
    SessionStarted(SESSION, SETTINGS, "exec", "0.1.0"),
    SessionForked(
        SessionId("0190163d-8694-7000-8000-000000000002"), SESSION, 1, "ab" * 16, "0.1.0"
    ),
    SessionOpened(2, "host:4711", "0.1.0", "interrupt"),
    *(OpReceived(f"op-{number}", op, "exec") for number, op in enumerate(OPS, 1)),
    EffectClosed(EffectId("7.context.0"), "failed", "no such file", "input_unreadable"),
    TimerFired(EffectId("9.timer.0")),
    ContextLoaded(
        EffectId("4.context.0"),
        TurnSettings(SETTINGS, RetryLimits(1, 2, 3_000, 4, 50), context_window=400_000),
        '[{"type":"function","name":"exec_command"}]',
        (ContextFragment("environment", "user", "<cwd>/home/me</cwd>"),),
        text_message("user", "make the tests pass"),
    ),
    ModelItemReceived(EffectId("5.model.0"), CALL, RUN),
    ModelItemReceived(EffectId("5.model.0"), '{"type":"a_newer_kind","n":1.5}'),
    RateLimitsReceived(
        EffectId("5.model.0"), RateLimits(RateLimitWindow(12.5, 300, 1_700_000_000))
    ),
    ModelCompleted(EffectId("5.model.0"), "resp_1", TokenUsage(100, 80, 0, 20, 10)),
    ModelFailed(
        EffectId("6.model.0"),
        ModelFailure("rate_limited", "slow down", "request", 1500, 429),
        "half an ans",
    ),
    ToolStarted(EffectId("6.tool.0")),
    ToolFinished(
        EffectId("6.tool.0"), "done", "exit code 0\n", "ok\n", "", CommandReport(0, 1200, True)
    ),
    ToolFinished(EffectId("6.tool.1"), "failed", "", "x" * 4097, None, PatchReport(CHANGES, False)),
    OpRefused("op-9", "not_supported", "not yet"),
    InputQueued("op-3", "turn"),
    TurnOpened(1, TURN, "op-1"),
    ContextAsked(EffectId("4.context.0")),
    ItemsRecorded(
        (RecordedItem("environment", text_message("user", "<cwd>/home/me</cwd>", "two")),)
    ),
    ModelAsked(EffectId("5.model.0"), 1, 2, 3, "cd" * 16),
    ToolDispatched(EffectId("6.tool.0"), 0, "call_1", "exec_command", SANDBOX),
    ApprovalAsked(
        EffectId("6.question.1"),
        "question-1",
        1,
        "call_2",
        ToolPlan("apply_patch", preview=PatchPreview(CHANGES), refusal="no"),
    ),
    CallSettled(0, "call_1", "unknown", "aborted"),
    RetryScheduled(EffectId("9.timer.0"), "stream", 1, 5, 200, "Reconnecting... 1/5 (cut)"),
    ResponseAbandoned(EffectId("6.model.0"), True),
    TurnStopping("failed", ErrorInfo("quota_exceeded", "no more")),
    TurnEnded(1, TURN, "completed", "done", ErrorInfo("none", "")),
    EffectLost(EffectId("6.tool.0")),
    StepFailed("KeyError: 'x'"),
    SessionClosed(),
)


def main(path: Path) -> None:
    """Write the log to `path`, which must be new."""
    digest, records = GENESIS, list[Record]()
    for sequence, event in enumerate(EVENTS, 1):
        cause = sequence - 1 if isinstance(event, Decision) else 0
        record = seal(
            event,
            sequence=sequence,
            time_us=1_700_000_000_000_000 + sequence,
            cause=cause,
            turn=sequence % 3,
            previous=digest,
        )
        digest = record.digest
        records.append(record)
    records.append(_unknown(len(records) + 1, digest))
    with path.open("x") as file:
        file.writelines(_line(record) for record in records)


def _unknown(sequence: int, previous: bytes) -> Record:
    body = msgspec.Raw(msgspec.msgpack.encode([999, "of a newer release"]))
    data = msgspec.msgpack.encode(
        Envelope(SCHEMA, sequence, 1_700_000_000_000_000 + sequence, 3, 999, sequence - 1, 1, body)
    )
    return Record(sequence, chain(previous, data), data, {})


def _line(record: Record) -> str:
    recorded = unseal(record.data, record.digest, record.blobs.__getitem__)
    line = {
        "kind": recorded.kind,
        "sequence": recorded.sequence,
        "time_us": recorded.time_us,
        "role": recorded.role,
        "cause": recorded.cause,
        "turn": recorded.turn,
        "envelope": record.data.hex(),
        "digest": record.digest.hex(),
        "blobs": {digest.hex(): text.decode() for digest, text in record.blobs.items()},
        "event": event_object(recorded.event),
    }
    return json.dumps(line, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
