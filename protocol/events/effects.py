"""Effects: each decision that asks something of the world, beside the facts about it.

A decision of the kind `Opens` opens an effect. One event closes it: a fact of the kind `Closes`,
or a decision that makes it needless, such as `EffectLost`.
"""

from typing import ClassVar, Literal

from msgspec import Struct

from turnlog.protocol.calls import (
    ContextFragment,
    ErrorInfo,
    ModelFailure,
    ToolOutcome,
    ToolPlan,
    ToolReport,
)
from turnlog.protocol.events.decisions import CompactionTrigger, Decision
from turnlog.protocol.events.facts import Fact
from turnlog.protocol.files import FileImage, FileMark, RestoredFile
from turnlog.protocol.ids import EffectId, SessionId
from turnlog.protocol.images import Image
from turnlog.protocol.items import JsonText
from turnlog.protocol.settings import SandboxPolicy, SessionSettings, TurnSettings
from turnlog.protocol.usage import RateLimits, TokenUsage

# --- any effect -----------------------------------------------------------------------------------


class Opens(Decision, frozen=True):
    """A decision that asks something of the world. It opens an effect, and is its identity.

    The effect stays open until one event closes it: a fact of the kind `Closes`, or a decision
    that makes it needless, such as `EffectLost`.
    """

    effect: EffectId


class Closes(Fact, frozen=True):
    """A fact that ends what the world was asked for. It closes the effect that it names."""

    effect: EffectId  # as the decision that opened it has it


class EffectClosed(Closes, frozen=True, tag=5):
    """An effect without a closing fact of its own ended, or any effect's task died."""

    how: Literal["failed", "cancelled", "crashed"]
    message: str = ""
    code: str = ""  # of the error, where there is one


class EffectDone(Closes, frozen=True, tag=8):
    """An effect that has no result of its own is over."""


class EffectLost(Decision, frozen=True, tag=113):
    """Closes an effect whose engine is gone, at the next opening or in a fork."""

    effect: EffectId


# --- the surroundings of a turn -------------------------------------------------------------------


class ContextAsked(Opens, frozen=True, tag=104):
    """Effect: load what the turn starts with."""


class ContextLoaded(Closes, frozen=True, tag=10):
    """What a turn starts with. Closes `ContextAsked`."""

    settings: TurnSettings
    tools_json: JsonText  # the tool specifications, a list
    fragments: tuple[ContextFragment, ...]
    input_json: JsonText  # the user's message, images read


# --- the model ------------------------------------------------------------------------------------


class ModelAsked(Opens, frozen=True, tag=106):
    """Effect: one attempt at the model, with the first `parts` parts of the conversation."""

    request: int  # 1-based within the turn; a retry keeps it
    attempt: int  # 1-based within the request
    parts: int
    input_digest: str  # chained over the parts, hex


class CompactionAsked(Opens, frozen=True, tag=117):
    """Effect: have the model sum up the first `parts` parts of the conversation."""

    trigger: CompactionTrigger
    attempt: int  # 1-based; a retry and a shorter try each count
    parts: int
    skipped: int  # the oldest of them, which it is not sent, so that the rest fits
    tokens: int  # of the conversation
    prompt_json: JsonText
    settings: TurnSettings  # of the last turn, where its model had the larger window


class ModelItemReceived(Fact, frozen=True, tag=20):
    """One finished item of a response, the model's own text."""

    effect: EffectId
    item_json: JsonText
    plan: ToolPlan | None = None  # for a call that is ours to run


class RateLimitsReceived(Fact, frozen=True, tag=21):
    """The provider said how much of its limits is used."""

    ignorable: ClassVar[bool] = True

    effect: EffectId
    limits: RateLimits


class ModelCompleted(Closes, frozen=True, tag=22):
    """The response is whole. Closes `ModelAsked`."""

    response_id: str
    usage: TokenUsage | None = None


class ModelFailed(Closes, frozen=True, tag=23):
    """The attempt ended without a whole response. Closes `ModelAsked`."""

    failure: ModelFailure
    partial_text: str = ""  # what had been said of an unfinished message


# --- tools ----------------------------------------------------------------------------------------


class ToolDispatched(Opens, frozen=True, tag=107):
    """Effect: run a tool call, under this policy."""

    call: int  # number of the call within its turn, from 0
    call_id: str  # the model's name for it
    tool: str
    sandbox: SandboxPolicy
    approved: bool = False  # somebody allowed it, for its plan: it runs only if that still holds


class UserShellAsked(Opens, frozen=True, tag=127):
    """Effect: run the user's own command. Neither it nor its output is told to the model."""

    command: str


class ToolStarted(Fact, frozen=True, tag=30):
    """The tool is about to touch the world: its process runs, its files are written."""

    effect: EffectId


class ToolFinished(Closes, frozen=True, tag=31):
    """Closes `ToolDispatched`. The model sees `preamble` and `output`, joined, then the images."""

    outcome: ToolOutcome
    preamble: str
    output: str
    full_output: str | None = None  # where `output` was cut: as much as was kept, at most 1 MiB
    report: ToolReport | None = None
    denial: str | None = None  # the word by which its sandbox seems to have stopped it
    traceback: str | None = None  # of the error that the tool raised: for people, not the model
    images: tuple[Image, ...] = ()  # the model sees them after the text


class PlanAsked(Opens, frozen=True, tag=133):
    """Effect: plan a call here, since its plan was made elsewhere."""

    call: int
    call_id: str


class CallPlanned(Closes, frozen=True, tag=35):
    """A call has a new plan, and waits again; nothing of it has run.

    Closes `PlanAsked`; and `ToolDispatched`, where the plan that somebody allowed holds no longer.
    """

    plan: ToolPlan


# --- questions ------------------------------------------------------------------------------------


class ApprovalAsked(Opens, frozen=True, tag=108):
    """Effect: put a question to whoever may answer it. Asked again, it keeps its question id."""

    question: str
    call: int
    call_id: str
    plan: ToolPlan
    changed: tuple[str, ...] = ()  # files that are no longer what they were when it was allowed


# --- time -----------------------------------------------------------------------------------------


class RetryScheduled(Opens, frozen=True, tag=110):
    """Effect: wait, then ask the model again. Requests are retried silently, streams are not."""

    level: Literal["request", "stream"]
    retry: int  # 1-based
    max_retries: int
    delay_ms: int
    message: str


class AgentsAwaited(Opens, frozen=True, tag=123):
    """Effect: a call waits for agents, so long at most."""

    call: int
    call_id: str
    delay_ms: int


class TimerFired(Closes, frozen=True, tag=6):
    """The time that a decision waits for is over."""


# --- children -------------------------------------------------------------------------------------


class ChildAsked(Opens, frozen=True, tag=120):
    """Effect: give a child session a prompt, and wait until it is idle. It is made if needed."""

    child: SessionId
    kind: Literal["agent", "review"]
    name: str
    run: int  # number of the prompt among those to this child: it may be asked again
    prompt: str
    settings: SessionSettings


class ChildTold(Opens, frozen=True, tag=121):
    """Effect: steer a child that works."""

    child: SessionId
    op_id: str
    text: str
    interrupt: bool = False


class ChildEnded(Closes, frozen=True, tag=7):
    """A child session has become idle. Closes `ChildAsked`; the child's log says so before."""

    child: SessionId
    status: Literal["completed", "interrupted", "failed"]
    sequence: int  # of the child's last event
    digest: str  # of that event, hex
    output: str | None = None  # its last message
    usage: TokenUsage | None = None  # of the child over all its life
    error: ErrorInfo | None = None


# --- files ----------------------------------------------------------------------------------------


class FilesSaved(Fact, frozen=True, tag=32):
    """What these files were before the effect changes them."""

    effect: EffectId
    files: tuple[FileImage, ...]


class ScanAsked(Opens, frozen=True, tag=124):
    """Effect: save what the commands of this turn may change. Tools wait until it is closed."""


class WorkspaceScanned(Closes, frozen=True, tag=33):
    """Closes `ScanAsked`: what the turn's commands may change has been saved, or in part."""

    files: int
    left_out: int
    why: str = ""  # what was left out


class UndoAsked(Opens, frozen=True, tag=125):
    """Effect: bring back what was there at event `since`."""

    since: int  # sequence; what came after it is undone
    turns: int
    files: bool
    conversation: bool
    force: bool
    parts: int | None  # of the conversation that stay; None: they must be read from the log


class RestoredPart(Struct, frozen=True):
    """A part of the conversation as it was, with what its item is."""

    kind: str
    item_json: JsonText
    note: str = ""  # of an output: what its call did


class TurnsRestored(Closes, frozen=True, tag=34):
    """Closes `UndoAsked`."""

    files: tuple[RestoredFile, ...]
    left: dict[str, FileMark]  # how the files are that it changed, by path
    # The conversation before those turns, where a summary has taken its place since.
    parts: tuple[RestoredPart, ...] | None = None


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

__all__ = [
    "AgentsAwaited",
    "ApprovalAsked",
    "CallPlanned",
    "ChildAsked",
    "ChildEnded",
    "ChildTold",
    "Closes",
    "ClosingFact",
    "CompactionAsked",
    "ContextAsked",
    "ContextLoaded",
    "EffectClosed",
    "EffectDone",
    "EffectLost",
    "FilesSaved",
    "ModelAsked",
    "ModelCompleted",
    "ModelFailed",
    "ModelItemReceived",
    "OpeningDecision",
    "Opens",
    "PlanAsked",
    "RateLimitsReceived",
    "RestoredPart",
    "RetryScheduled",
    "ScanAsked",
    "TimerFired",
    "ToolDispatched",
    "ToolFinished",
    "ToolStarted",
    "TurnsRestored",
    "UndoAsked",
    "UserShellAsked",
    "WorkspaceScanned",
]
