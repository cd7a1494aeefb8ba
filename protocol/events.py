"""Session events, as they stand in the log: facts happened to us, decisions are ours.

Logs outlive releases: a tag is never reused, and fields are only appended, with a default.
A field that ends in `_json` holds one JSON value verbatim. An effect is opened by the decision
that carries its id, and closed by exactly one fact, or by `EffectLost`.
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
from turnlog.protocol.ids import EffectId, SessionId, TurnId
from turnlog.protocol.items import JsonText
from turnlog.protocol.ops import Op
from turnlog.protocol.settings import (
    OnRecovery,
    SandboxPolicy,
    SessionSettings,
    TurnSettings,
)
from turnlog.protocol.usage import RateLimits, TokenUsage


class Fact(Struct, frozen=True, array_like=True, gc=False):
    """Something that the engine could not have known."""

    ignorable: ClassVar[bool] = False  # a reader that does not know the kind may go on


class Decision(Struct, frozen=True, array_like=True, gc=False):
    """What the engine did about a fact: a pure function of the events before it."""

    ignorable: ClassVar[bool] = False


# --- the session ------------------------------------------------------------------------------


class SessionStarted(Fact, frozen=True, tag=1):
    """The first event of a session that is not a fork."""

    session: SessionId
    settings: SessionSettings
    originator: str  # which front-end
    engine: str  # turnlog's version


class SessionForked(Fact, frozen=True, tag=2):
    """The first event of a fork's own; what comes before it is the parent's, by reference."""

    session: SessionId
    parent: SessionId
    cut: int  # sequence of the parent's last event that counts
    digest: str  # of that event, hex
    engine: str


class SessionOpened(Fact, frozen=True, tag=3):
    """An engine became the session's writer."""

    fence: int  # of its lease; each is higher than the last
    owner: str
    engine: str
    on_recovery: OnRecovery = "continue"


class OpReceived(Fact, frozen=True, tag=4):
    op_id: str
    op: Op
    origin: str = "api"


class EffectClosed(Fact, frozen=True, tag=5):
    """An effect without a closing fact of its own ended, or any effect's task died."""

    effect: EffectId
    how: Literal["failed", "cancelled", "crashed"]
    message: str = ""
    code: str = ""  # of the error, where there is one


class TimerFired(Fact, frozen=True, tag=6):
    effect: EffectId


# --- the surroundings of a turn ---------------------------------------------------------------


class ContextLoaded(Fact, frozen=True, tag=10):
    """What a turn starts with. Closes `ContextAsked`."""

    effect: EffectId
    settings: TurnSettings
    tools_json: JsonText  # the tool specifications, a list
    fragments: tuple[ContextFragment, ...]
    input_json: JsonText  # the user's message, images read


# --- the model --------------------------------------------------------------------------------


class ModelItemReceived(Fact, frozen=True, tag=20):
    """One finished item of a response, the model's own text."""

    effect: EffectId
    item_json: JsonText
    plan: ToolPlan | None = None  # for a call that is ours to run


class RateLimitsReceived(Fact, frozen=True, tag=21):
    ignorable: ClassVar[bool] = True

    effect: EffectId
    limits: RateLimits


class ModelCompleted(Fact, frozen=True, tag=22):
    """The response is whole. Closes `ModelAsked`."""

    effect: EffectId
    response_id: str
    usage: TokenUsage | None = None


class ModelFailed(Fact, frozen=True, tag=23):
    """The attempt ended without a whole response. Closes `ModelAsked`."""

    effect: EffectId
    failure: ModelFailure
    partial_text: str = ""  # what had been said of an unfinished message


# --- tools ------------------------------------------------------------------------------------


class ToolStarted(Fact, frozen=True, tag=30):
    """The tool is about to touch the world: its process runs, its files are written."""

    effect: EffectId


class ToolFinished(Fact, frozen=True, tag=31):
    """Closes `ToolDispatched`. The model sees `preamble` and `output`, joined."""

    effect: EffectId
    outcome: ToolOutcome
    preamble: str
    output: str
    full_output: str | None = None  # where `output` was cut: as much as was kept, at most 1 MiB
    report: ToolReport | None = None


# --- decisions --------------------------------------------------------------------------------


class OpRefused(Decision, frozen=True, tag=101):
    ignorable: ClassVar[bool] = True

    op_id: str
    code: str
    reason: str


class InputQueued(Decision, frozen=True, tag=102):
    """Input that came while a turn ran: it waits for the next model request, or the next turn."""

    op_id: str
    until: Literal["request", "turn"]


class TurnOpened(Decision, frozen=True, tag=103):
    turn: int  # 1-based and consecutive within a session
    turn_id: TurnId
    op_id: str


class ContextAsked(Decision, frozen=True, tag=104):
    """Effect: load what the turn starts with."""

    effect: EffectId


class RecordedItem(Struct, frozen=True):
    """An item that turnlog put into the conversation."""

    kind: str  # base_instructions, permissions, environment, user, turn_aborted, ...
    item_json: JsonText


class ItemsRecorded(Decision, frozen=True, tag=105):
    """The conversation grows by these. They are never rendered again."""

    items: tuple[RecordedItem, ...]


class ModelAsked(Decision, frozen=True, tag=106):
    """Effect: one attempt at the model, with the first `parts` parts of the conversation."""

    effect: EffectId
    request: int  # 1-based within the turn; a retry keeps it
    attempt: int  # 1-based within the request
    parts: int
    input_digest: str  # chained over the parts, hex


class ToolDispatched(Decision, frozen=True, tag=107):
    """Effect: run a tool call, under this policy."""

    effect: EffectId
    call: int  # number of the call within its turn, from 0
    call_id: str  # the model's name for it
    tool: str
    sandbox: SandboxPolicy


class ApprovalAsked(Decision, frozen=True, tag=108):
    """Effect: put a question to whoever may answer it. Asked again, it keeps its question id."""

    effect: EffectId
    question: str
    call: int
    call_id: str
    plan: ToolPlan


class CallSettled(Decision, frozen=True, tag=109):
    """A call gets its output without having run to its end, and the model is told why."""

    call: int
    call_id: str
    outcome: Literal["refused", "declined", "never_started", "stopped", "unknown"]
    output: str


class RetryScheduled(Decision, frozen=True, tag=110):
    """Effect: wait, then ask the model again. Requests are retried silently, streams are not."""

    effect: EffectId
    level: Literal["request", "stream"]
    retry: int  # 1-based
    max_retries: int
    delay_ms: int
    message: str


class ResponseAbandoned(Decision, frozen=True, tag=116):
    """A response ended before it was whole. Its finished items stay in the conversation, or go.

    They stay once a call among them has been acted on, or no retry follows; a reasoning item at
    their end goes in any case, since a provider takes it only with what it led to.
    """

    effect: EffectId
    keep: bool


class TurnStopping(Decision, frozen=True, tag=111):
    """The turn's work is cancelled; the turn ends once nothing of it is outstanding."""

    status: Literal["interrupted", "failed"]
    error: ErrorInfo | None = None


class TurnEnded(Decision, frozen=True, tag=112):
    turn: int
    turn_id: TurnId
    status: Literal["completed", "interrupted", "failed"]
    last_agent_message: str | None = None
    error: ErrorInfo | None = None


class EffectLost(Decision, frozen=True, tag=113):
    """Closes an effect whose engine is gone, at the next opening or in a fork."""

    effect: EffectId


class StepFailed(Decision, frozen=True, tag=114):
    """Deciding about a fact raised an exception; the turn is closed, the session goes on."""

    message: str


class SessionClosed(Decision, frozen=True, tag=115):
    """The writer is done, as it was asked to be. The session can be opened again."""

    ignorable: ClassVar[bool] = True

    reason: str = "shutdown"


SessionFact = (
    SessionStarted
    | SessionForked
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
    | ToolFinished
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
)
SessionEvent = SessionFact | SessionDecision
