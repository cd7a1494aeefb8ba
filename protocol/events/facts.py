"""Facts: what the engine could not have known."""

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
from turnlog.protocol.files import FileImage, FileMark, RestoredFile
from turnlog.protocol.ids import EffectId, SessionId
from turnlog.protocol.images import Image
from turnlog.protocol.items import JsonText
from turnlog.protocol.ops import Op
from turnlog.protocol.settings import OnRecovery, SessionSettings, TurnSettings
from turnlog.protocol.usage import RateLimits, TokenUsage


class Fact(Struct, frozen=True, array_like=True, gc=False):
    """Something that the engine could not have known."""

    ignorable: ClassVar[bool] = False  # a reader that does not know the kind may skip it


class Closes(Fact, frozen=True):
    """A fact that ends what the world was asked for. It closes the effect that it names."""

    effect: EffectId  # as the decision that opened it has it


# --- the session ------------------------------------------------------------------------------


class SessionStarted(Fact, frozen=True, tag=1):
    """The first event of a session that is not a fork."""

    session: SessionId
    settings: SessionSettings
    originator: str  # which front-end
    engine: str  # turnlog's version
    spawned_by: SessionId | None = None  # the session whose sub-agent or review this is
    place: str = ""  # the store that it was made in; see `SessionOpened`


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
    rules: int = 1  # the revision of the rules that it decides by: a replay does, too
    place: str = ""  # the store of that engine: of one machine, and one folder of it
    adopted: SessionSettings | None = None  # of this machine, for a session from another place


class SessionImported(Fact, frozen=True, tag=9):
    """What is before this came from a file. It is not taken at its word where it was made."""

    engine: str


class OpReceived(Fact, frozen=True, tag=4):
    """A client asked for something."""

    op_id: str  # of the client's making
    op: Op
    origin: str = "api"  # which door it came through


class EffectClosed(Closes, frozen=True, tag=5):
    """An effect without a closing fact of its own ended, or any effect's task died."""

    how: Literal["failed", "cancelled", "crashed"]
    message: str = ""
    code: str = ""  # of the error, where there is one


class TimerFired(Closes, frozen=True, tag=6):
    """The time that a decision waits for is over."""


class ChildEnded(Closes, frozen=True, tag=7):
    """A child session has become idle. Closes `ChildAsked`; the child's log says so before."""

    child: SessionId
    status: Literal["completed", "interrupted", "failed"]
    sequence: int  # of the child's last event
    digest: str  # of that event, hex
    output: str | None = None  # its last message
    usage: TokenUsage | None = None  # of the child over all its life
    error: ErrorInfo | None = None


class EffectDone(Closes, frozen=True, tag=8):
    """An effect that has no result of its own is over."""


# --- the surroundings of a turn ---------------------------------------------------------------


class ContextLoaded(Closes, frozen=True, tag=10):
    """What a turn starts with. Closes `ContextAsked`."""

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


# --- tools ------------------------------------------------------------------------------------


class ToolStarted(Fact, frozen=True, tag=30):
    """The tool is about to touch the world: its process runs, its files are written."""

    effect: EffectId


class CallPlanned(Closes, frozen=True, tag=35):
    """A call has a new plan, and waits again; nothing of it has run.

    Closes `PlanAsked`; and `ToolDispatched`, where the plan that somebody allowed holds no longer.
    """

    plan: ToolPlan


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


class FilesSaved(Fact, frozen=True, tag=32):
    """What these files were before the effect changes them."""

    effect: EffectId
    files: tuple[FileImage, ...]


class WorkspaceScanned(Closes, frozen=True, tag=33):
    """Closes `ScanAsked`: what the turn's commands may change has been saved, or in part."""

    files: int
    left_out: int
    why: str = ""  # what was left out


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
