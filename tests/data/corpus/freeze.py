"""Writes one event of each kind, as this release stores it, to a new file. See README.md."""

import json
import sys
from pathlib import Path

import msgspec

from turnlog.protocol import ops
from turnlog.protocol.calls import (
    AwaitAgents,
    CloseAgent,
    CommandPreview,
    CommandReport,
    ContextFragment,
    ErrorInfo,
    FileChange,
    ListAgents,
    ModelFailure,
    NamedFile,
    PatchPreview,
    PatchReport,
    SpawnAgent,
    TellAgent,
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
    AgentsAwaited,
    ApprovalAsked,
    CallParked,
    CallPlanned,
    CallSettled,
    ChildAsked,
    ChildEnded,
    ChildStopping,
    ChildTold,
    Compacted,
    CompactionAsked,
    CompactionGivenUp,
    CompactionWanted,
    ContextAsked,
    ContextLoaded,
    ConversationResumed,
    Decision,
    EffectClosed,
    EffectDone,
    EffectLost,
    FilesSaved,
    InputQueued,
    ItemsRecorded,
    ModelAsked,
    ModelCompleted,
    ModelFailed,
    ModelItemReceived,
    OpReceived,
    OpRefused,
    PlanAsked,
    PrefixChanged,
    QuestionAnswered,
    RateLimitsReceived,
    RecordedItem,
    ResponseAbandoned,
    RestoredPart,
    RetryScheduled,
    ScanAsked,
    SessionClosed,
    SessionEvent,
    SessionForked,
    SessionImported,
    SessionOpened,
    SessionStarted,
    StepFailed,
    TimerFired,
    ToolDispatched,
    ToolFinished,
    ToolStarted,
    TurnEnded,
    TurnOpened,
    TurnsDropped,
    TurnsRestored,
    TurnStopping,
    UndoAsked,
    UserShellAsked,
    WorkspaceScanned,
)
from turnlog.protocol.files import FileImage, FileMark, RestoredFile
from turnlog.protocol.ids import EffectId, SessionId, TurnId
from turnlog.protocol.items import text_message
from turnlog.protocol.settings import (
    CompactionLimits,
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
CHILD = SessionId("0190163d-8694-7000-8000-000000000003")
SPAWN = SpawnAgent("do this", "helper", "gpt-5.5-mini", "low")
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
    ops.UserTurn((ops.TextInput("later"),), queue=True),
    ops.Undo(3, conversation=False, force=True),
    ops.Redo(),
    ops.SetName("the parser"),
    ops.Archive(False),
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
    SessionStarted(CHILD, SETTINGS, "agent", "0.1.0", SESSION),
    SessionOpened(3, "host:4711", "0.1.0", "leave", 2),
    ModelItemReceived(EffectId("5.model.0"), CALL, ToolPlan("spawn_agent", agent=SPAWN)),
    *(
        ModelItemReceived(EffectId("5.model.0"), CALL, ToolPlan("agents", agent=request))
        for request in (
            TellAgent(CHILD, "hurry", True),
            AwaitAgents((CHILD,), 30_000),
            CloseAgent(CHILD),
            ListAgents(),
        )
    ),
    ToolFinished(
        EffectId("6.tool.0"),
        "failed",
        "",
        "",
        report=PatchReport(CHANGES, True, (FileImage("/home/me/a.txt", "after", mode=0o644),)),
        denial="permission denied",
    ),
    ChildEnded(
        EffectId("9.child.0"),
        CHILD,
        "failed",
        12,
        "ab" * 16,
        "half of it",
        TokenUsage(10, 0, 0, 2),
        ErrorInfo("server_error", "503"),
    ),
    EffectDone(EffectId("9.tell.0")),
    FilesSaved(
        EffectId("6.tool.0"),
        (
            FileImage("/home/me/a.txt", "before", mode=0o644, digest="cd" * 32),
            FileImage("/home/me/b.bin", base64="AAEC", mode=0o755),
            FileImage("/home/me/c", link="a.txt"),
            FileImage("/home/me/d", missing=True),
            FileImage("/home/me/e", skipped="too_large"),
        ),
    ),
    WorkspaceScanned(EffectId("6.scan.0"), 3, 1, "1 file is larger than 1 MiB"),
    TurnsRestored(
        EffectId("6.undo.0"),
        (RestoredFile("/home/me/a.txt", "restored", "it is as it was before"),),
        {"/home/me/a.txt": FileMark("file", "cd" * 32, 0o644)},
        (RestoredPart("user", text_message("user", "hi")),),
    ),
    TurnOpened(2, TURN, "op-13", "compact"),
    CallSettled(0, "call_1", "answered", "{}"),
    CompactionWanted("op-13"),
    CompactionAsked(
        EffectId("7.summary.0"),
        "in_turn",
        2,
        9,
        3,
        250_000,
        text_message("user", "Sum up."),
        TurnSettings(SETTINGS, compaction=CompactionLimits(240_000, 10_000, 2, "Sum up.")),
    ),
    Compacted(
        "in_turn",
        "summary",
        9,
        (0, 4, RecordedItem("summary", text_message("user", "So far."))),
        250_000,
        900,
    ),
    CompactionGivenUp("manual", "there is nothing yet that could be summed up"),
    ChildAsked(EffectId("8.child.0"), CHILD, "agent", "helper", 1, "do this", SETTINGS),
    ChildTold(EffectId("8.tell.0"), CHILD, "op-child", "hurry", True),
    ChildStopping(EffectId("8.child.0"), CHILD),
    AgentsAwaited(EffectId("8.await.0"), 0, "call_1", 30_000),
    ScanAsked(EffectId("8.scan.0")),
    UndoAsked(EffectId("8.undo.0"), 17, 2, True, True, False, 4),
    TurnsDropped(2, 4),
    UserShellAsked(EffectId("8.shell.0"), "ls"),
    PrefixChanged(("model", "tools")),
    CallParked(0, "call_1"),
    QuestionAnswered(EffectId("8.question.1"), 1, "call_2"),
    SessionClosed("parked"),
    ConversationResumed(12, 3_400, "ab" * 32),
    SessionImported("0.1.0"),
    SessionOpened(4, "host:4711", "0.1.0", "continue", 1, "ab" * 8, SETTINGS),
    PlanAsked(EffectId("9.plan.0"), 0, "call_1"),
    CallPlanned(
        EffectId("9.plan.0"),
        ToolPlan("exec_command", files=(NamedFile("/x.sh", FileMark("file", "ab" * 32, 0o755)),)),
    ),
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
