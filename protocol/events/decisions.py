"""Decisions: what the engine did about the facts."""

from typing import ClassVar, Literal

from msgspec import Struct

from turnlog.protocol.calls import ErrorInfo
from turnlog.protocol.ids import EffectId, SessionId, TurnId
from turnlog.protocol.items import JsonText

TurnKind = Literal["regular", "compact", "review", "undo", "redo", "shell"]
CallOutcome = Literal["refused", "declined", "never_started", "stopped", "unknown", "answered"]
CompactionTrigger = Literal["manual", "before_turn", "in_turn", "smaller_window", "overflow"]


class Decision(Struct, frozen=True, array_like=True, gc=False):
    """What the engine did about a fact: a pure function of the events before it."""

    ignorable: ClassVar[bool] = False


class OpRefused(Decision, frozen=True, tag=101):
    """An op does not fit the session's state. It changes nothing."""

    ignorable: ClassVar[bool] = True

    op_id: str
    code: str
    reason: str


class InputQueued(Decision, frozen=True, tag=102):
    """Input that came while a turn ran: it waits for the next model request, or the next turn."""

    op_id: str
    until: Literal["request", "turn"]


class TurnOpened(Decision, frozen=True, tag=103):
    """A turn begins."""

    turn: int  # 1-based and consecutive within a session
    turn_id: TurnId
    op_id: str
    kind: TurnKind = "regular"


class RecordedItem(Struct, frozen=True):
    """An item that turnlog put into the conversation."""

    kind: str  # base_instructions, permissions, environment, user, turn_aborted, ...
    item_json: JsonText


class ItemsRecorded(Decision, frozen=True, tag=105):
    """The conversation grows by these. They are never rendered again."""

    items: tuple[RecordedItem, ...]


class CallSettled(Decision, frozen=True, tag=109):
    """A call gets its output without having run to its end, and the model is told why."""

    call: int
    call_id: str
    outcome: CallOutcome
    output: str
    note: str = ""  # what it did, for the ledger, if it did anything


class ResponseAbandoned(Decision, frozen=True, tag=116):
    """A response ended before it was whole. Its finished items stay in the conversation, or go.

    They stay once a call among them has been acted on, or no retry follows; a reasoning item at
    their end goes in any case, since a provider takes it only with what it led to.
    """

    effect: EffectId
    keep: bool


class ConversationResumed(Decision, frozen=True, tag=132):
    """What the conversation of a session held when it was opened again."""

    ignorable: ClassVar[bool] = True

    parts: int
    tokens: int
    input_digest: str  # chained over the parts, hex, as `ModelAsked` has it


class TurnStopping(Decision, frozen=True, tag=111):
    """The turn's work is cancelled; the turn ends once nothing of it is outstanding."""

    status: Literal["interrupted", "failed"]
    error: ErrorInfo | None = None


class TurnEnded(Decision, frozen=True, tag=112):
    """A turn is over, and nothing of it is outstanding."""

    turn: int
    turn_id: TurnId
    status: Literal["completed", "interrupted", "failed"]
    last_agent_message: str | None = None
    error: ErrorInfo | None = None


class StepFailed(Decision, frozen=True, tag=114):
    """Deciding about a fact raised an exception: a defect of turnlog's.

    The turn is over with all of its effects, some of whose processes may still be ending. What
    waited for a turn begins.
    """

    message: str


class SessionClosed(Decision, frozen=True, tag=115):
    """The writer is done, as it was asked to be. The session can be opened again."""

    ignorable: ClassVar[bool] = True

    reason: str = "shutdown"  # or parked: it waits for an answer, with its turn open


class CompactionWanted(Decision, frozen=True, tag=131):
    """A summary was asked for while a turn runs: it is made before the next model request."""

    op_id: str


class Compacted(Decision, frozen=True, tag=118):
    """The first `replaced` parts of the conversation were replaced; the parts after them stay.

    In their place stand `parts`: a number is the index of a part that stays as it is.
    """

    trigger: CompactionTrigger
    method: Literal["summary", "truncation"]
    replaced: int
    parts: tuple[int | RecordedItem, ...]
    tokens_before: int
    tokens_after: int  # an estimate: as many bytes a token as before


class CompactionGivenUp(Decision, frozen=True, tag=119):
    """The conversation stays as it is, since nothing smaller could be put in its place."""

    trigger: CompactionTrigger
    why: str


class ChildStopping(Decision, frozen=True, tag=122):
    """The child's work is being stopped. Its end closes the effect that asked for it."""

    effect: EffectId  # that runs it; empty: it is idle
    child: SessionId


class TurnsDropped(Decision, frozen=True, tag=126):
    """The conversation is again what it was before `turns` turns, or what an undo took away.

    Its first `parts` parts stay; None: it is what `TurnsRestored` says.
    """

    turns: int
    parts: int | None = None
    redo: bool = False


class PrefixChanged(Decision, frozen=True, tag=128):
    """The next request does not begin as the last one did, though its conversation does."""

    causes: tuple[Literal["model", "tools"], ...]


class QuestionAnswered(Decision, frozen=True, tag=130):
    """Closes a question, which an answer that holds for the session has answered, too."""

    effect: EffectId
    call: int
    call_id: str


class CallParked(Decision, frozen=True, tag=129):
    """Nobody answered in time: the question stays open, and the session closes when it can."""

    call: int
    call_id: str
