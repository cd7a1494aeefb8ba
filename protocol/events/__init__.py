"""Session events, as they stand in the log: facts happened to us, decisions are ours.

Logs outlive releases: a tag is never reused, and fields are only appended, with a default.
A field that ends in `_json` holds one JSON value verbatim. A decision of the kind `Opens` asks
something of the world and opens an effect. One event closes it: a fact of the kind `Closes`, or a
decision that makes it needless, such as `EffectLost`.
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
    Opens,
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
    Closes,
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

OpeningDecision = (
    ContextAsked
    | ModelAsked
    | ToolDispatched
    | ApprovalAsked
    | RetryScheduled
    | CompactionAsked
    | ChildAsked
    | ChildTold
    | AgentsAwaited
    | ScanAsked
    | UndoAsked
    | UserShellAsked
    | PlanAsked
)
SessionDecision = (
    OpeningDecision
    | OpRefused
    | InputQueued
    | TurnOpened
    | ItemsRecorded
    | CallSettled
    | ResponseAbandoned
    | TurnStopping
    | TurnEnded
    | EffectLost
    | StepFailed
    | SessionClosed
    | CompactionWanted
    | Compacted
    | CompactionGivenUp
    | ChildStopping
    | TurnsDropped
    | PrefixChanged
    | CallParked
    | QuestionAnswered
    | ConversationResumed
)
ClosingFact = (
    EffectClosed
    | TimerFired
    | ContextLoaded
    | ModelCompleted
    | ModelFailed
    | CallPlanned
    | ToolFinished
    | ChildEnded
    | EffectDone
    | WorkspaceScanned
    | TurnsRestored
)
SessionFact = (
    ClosingFact
    | SessionStarted
    | SessionForked
    | SessionImported
    | SessionOpened
    | OpReceived
    | ModelItemReceived
    | RateLimitsReceived
    | ToolStarted
    | FilesSaved
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
    "Closes",
    "ClosingFact",
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
    "OpeningDecision",
    "Opens",
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
