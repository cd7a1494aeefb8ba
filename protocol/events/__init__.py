"""Session events, as they stand in the log: facts happened to us, decisions are ours.

Logs outlive releases: a tag is never reused, and fields are only appended, with a default.
A field that ends in `_json` holds one JSON value verbatim. An effect is opened by the decision
that carries its id, and closed once: by the fact about it, or by a decision that makes it
needless, such as `EffectLost`.
"""

from turnlog.protocol.events.decisions import (
    AgentsAwaited,
    ApprovalAsked,
    CallOutcome,
    CallParked,
    CallSettled,
    ChildAsked,
    ChildStopping,
    ChildTold,
    Compacted,
    CompactionAsked,
    CompactionGivenUp,
    CompactionTrigger,
    CompactionWanted,
    ContextAsked,
    ConversationResumed,
    Decision,
    EffectLost,
    InputQueued,
    ItemsRecorded,
    ModelAsked,
    OpRefused,
    PlanAsked,
    PrefixChanged,
    QuestionAnswered,
    RecordedItem,
    ResponseAbandoned,
    RetryScheduled,
    ScanAsked,
    SessionClosed,
    StepFailed,
    ToolDispatched,
    TurnEnded,
    TurnKind,
    TurnOpened,
    TurnsDropped,
    TurnStopping,
    UndoAsked,
    UserShellAsked,
)
from turnlog.protocol.events.facts import (
    CallPlanned,
    ChildEnded,
    ContextLoaded,
    EffectClosed,
    EffectDone,
    Fact,
    FilesSaved,
    ModelCompleted,
    ModelFailed,
    ModelItemReceived,
    OpReceived,
    RateLimitsReceived,
    RestoredPart,
    SessionForked,
    SessionImported,
    SessionOpened,
    SessionStarted,
    TimerFired,
    ToolFinished,
    ToolStarted,
    TurnsRestored,
    WorkspaceScanned,
)

SessionFact = (
    SessionStarted
    | SessionForked
    | SessionImported
    | SessionOpened
    | OpReceived
    | EffectClosed
    | TimerFired
    | ContextLoaded
    | ModelItemReceived
    | RateLimitsReceived
    | ModelCompleted
    | ModelFailed
    | ToolStarted
    | CallPlanned
    | ToolFinished
    | ChildEnded
    | EffectDone
    | FilesSaved
    | WorkspaceScanned
    | TurnsRestored
)
SessionDecision = (
    OpRefused
    | InputQueued
    | TurnOpened
    | ContextAsked
    | ItemsRecorded
    | ModelAsked
    | ToolDispatched
    | ApprovalAsked
    | CallSettled
    | RetryScheduled
    | ResponseAbandoned
    | TurnStopping
    | TurnEnded
    | EffectLost
    | StepFailed
    | SessionClosed
    | CompactionWanted
    | CompactionAsked
    | Compacted
    | CompactionGivenUp
    | ChildAsked
    | ChildTold
    | ChildStopping
    | AgentsAwaited
    | ScanAsked
    | UndoAsked
    | TurnsDropped
    | UserShellAsked
    | PrefixChanged
    | PlanAsked
    | CallParked
    | QuestionAnswered
    | ConversationResumed
)
SessionEvent = SessionFact | SessionDecision

__all__ = [
    "AgentsAwaited",
    "ApprovalAsked",
    "CallOutcome",
    "CallParked",
    "CallPlanned",
    "CallSettled",
    "ChildAsked",
    "ChildEnded",
    "ChildStopping",
    "ChildTold",
    "Compacted",
    "CompactionAsked",
    "CompactionGivenUp",
    "CompactionTrigger",
    "CompactionWanted",
    "ContextAsked",
    "ContextLoaded",
    "ConversationResumed",
    "Decision",
    "EffectClosed",
    "EffectDone",
    "EffectLost",
    "Fact",
    "FilesSaved",
    "InputQueued",
    "ItemsRecorded",
    "ModelAsked",
    "ModelCompleted",
    "ModelFailed",
    "ModelItemReceived",
    "OpReceived",
    "OpRefused",
    "PlanAsked",
    "PrefixChanged",
    "QuestionAnswered",
    "RateLimitsReceived",
    "RecordedItem",
    "ResponseAbandoned",
    "RestoredPart",
    "RetryScheduled",
    "ScanAsked",
    "SessionClosed",
    "SessionDecision",
    "SessionEvent",
    "SessionFact",
    "SessionForked",
    "SessionImported",
    "SessionOpened",
    "SessionStarted",
    "StepFailed",
    "TimerFired",
    "ToolDispatched",
    "ToolFinished",
    "ToolStarted",
    "TurnEnded",
    "TurnKind",
    "TurnOpened",
    "TurnStopping",
    "TurnsDropped",
    "TurnsRestored",
    "UndoAsked",
    "UserShellAsked",
    "WorkspaceScanned",
]
