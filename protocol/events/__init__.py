"""Session events, as they stand in the log: facts happened to us, decisions are ours.

Logs outlive releases: a tag is never reused, and fields are only appended, with a default.
A field that ends in `_json` holds one JSON value verbatim. A decision of the kind `Opens` asks
something of the world and opens an effect. One event closes it: a fact of the kind `Closes`, or a
decision that makes it needless, such as `EffectLost`.
"""

from turnlog.protocol.events import effects
from turnlog.protocol.events.decisions import (
    CallOutcome,
    CallParked,
    CallSettled,
    ChildStopping,
    Compacted,
    CompactionGivenUp,
    CompactionTrigger,
    CompactionWanted,
    ConversationResumed,
    Decision,
    InputQueued,
    ItemsRecorded,
    OpRefused,
    PrefixChanged,
    QuestionAnswered,
    RecordedItem,
    ResponseAbandoned,
    SessionClosed,
    StepFailed,
    TurnEnded,
    TurnKind,
    TurnOpened,
    TurnsDropped,
    TurnStopping,
)
from turnlog.protocol.events.effects import *  # noqa: F403 - each of them is of the vocabulary
from turnlog.protocol.events.effects import (
    ClosingFact,
    EffectLost,
    FilesSaved,
    ModelItemReceived,
    OpeningDecision,
    RateLimitsReceived,
    ToolStarted,
)
from turnlog.protocol.events.facts import (
    Fact,
    OpReceived,
    SessionForked,
    SessionImported,
    SessionOpened,
    SessionStarted,
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

__all__: list[str] = [
    "CallOutcome",
    "CallParked",
    "CallSettled",
    "ChildStopping",
    "Compacted",
    "CompactionGivenUp",
    "CompactionTrigger",
    "CompactionWanted",
    "ConversationResumed",
    "Decision",
    "Fact",
    "InputQueued",
    "ItemsRecorded",
    "OpReceived",
    "OpRefused",
    "PrefixChanged",
    "QuestionAnswered",
    "RecordedItem",
    "ResponseAbandoned",
    "SessionClosed",
    "SessionDecision",
    "SessionEvent",
    "SessionFact",
    "SessionForked",
    "SessionImported",
    "SessionOpened",
    "SessionStarted",
    "StepFailed",
    "TurnEnded",
    "TurnKind",
    "TurnOpened",
    "TurnStopping",
    "TurnsDropped",
]
__all__ += effects.__all__
