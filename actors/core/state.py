"""The folded state of a session: everything that a decision may look at."""

from collections.abc import Sequence
from typing import Final, Literal, TypeVar

import attrs
from msgspec import Struct

from turnlog.actors.core.history import BYTES_A_TOKEN, MODEL, OUTPUT, History, Part
from turnlog.protocol.calls import NamedFile, ToolPlan
from turnlog.protocol.envelope import GENESIS, chain
from turnlog.protocol.events import (
    ChildEnded,
    CompactionAsked,
    CompactionTrigger,
    ContextLoaded,
    OpeningDecision,
    Opens,
    OpReceived,
    TurnKind,
    TurnsRestored,
    TurnStopping,
)
from turnlog.protocol.ids import EffectId, SessionId, TurnId
from turnlog.protocol.images import Image
from turnlog.protocol.items import CallItem, JsonText, OtherCall, ToolCallItem, output_item
from turnlog.protocol.ops import UserInputItem
from turnlog.protocol.settings import SessionSettings, TurnSettings
from turnlog.protocol.summary import SessionSummary
from turnlog.protocol.usage import TokenUsage

_NO_SESSION: Final = SessionId("")
_NO_USAGE: Final = TokenUsage()

CallStatus = Literal[
    "waiting",
    "planning",
    "asked",
    "dispatched",
    "running",
    "awaiting",
    "stopped",
    "unknown",
    "settled",
]
_O = TypeVar("_O", bound=Opens)


@attrs.define
class Call:
    """One tool call of the response in hand, or of the one whose outputs are awaited."""

    number: int  # within the turn, from 0
    item: CallItem
    plan: ToolPlan
    item_at: int  # sequence of the item's event
    status: CallStatus = "waiting"
    approved: bool = False
    question: str | None = None
    denied: str | None = None  # what the model is told unless it runs outside the sandbox
    output: str = ""  # what the model is told, once settled
    images: tuple[Image, ...] = ()  # what the model is shown besides
    output_at: int = 0  # sequence of the event that settled it
    note: str = ""  # what it did, if it ran
    waited: bool = False  # it has begun to wait for agents
    served: bool = False  # the provider has answered it itself
    origin: Literal["here", "elsewhere", "planned"] = "here"  # planned: here, and not allowed yet
    changed: tuple[str, ...] = ()  # files that changed after somebody had allowed it

    @property
    def settled(self) -> bool:
        return self.status == "settled"

    def plan_again(self, plan: ToolPlan, changed: tuple[str, ...]) -> None:
        """Wait again, to be decided about by another plan. What was asked before is void."""
        self.plan, self.changed = plan, changed
        self.status, self.approved, self.question = "waiting", False, None
        if self.origin == "elsewhere":
            self.origin = "planned"

    def settle(self, output: str, at: int, images: tuple[Image, ...] = ()) -> None:
        self.status, self.output, self.output_at = "settled", output, at
        self.images = images


class Mark(Struct, frozen=True, array_like=True):
    """Where a turn began: what an undo of it goes back to."""

    turn: int
    at: int  # sequence of the last event before it
    parts: int  # of the conversation
    epoch: int


class Undone(Struct, frozen=True, array_like=True):
    """What the last undo dropped, and where that began."""

    begin: Mark
    dropped: tuple[Mark, ...]


class Agent(Struct, frozen=True, array_like=True):
    """A sub-agent of this session: a session of its own, made or about to be."""

    name: str
    settings: SessionSettings
    status: Literal["running", "completed", "interrupted", "failed"] = "running"
    runs: int = 1  # prompts that set it to work
    ends: tuple[int, ...] = ()  # sequences of the ends that the model does not know yet
    closed: bool = False
    tokens: int = 0  # over all its life


@attrs.define
class Compaction:
    """A compaction in hand."""

    asked: CompactionAsked
    retries: int = 0
    summary: str | None = None  # so far
    empty: int = 0  # answers without one


@attrs.frozen
class Received:
    """A finished item of a response that is not whole yet."""

    item_json: JsonText
    at: int  # sequence of its event
    is_reasoning: bool
    text: str | None  # of an assistant's message


def tools_digest(tools_json: JsonText) -> bytes:
    """Return what tells two lists of tools apart."""
    return chain(GENESIS, tools_json.encode())


@attrs.define
class OpenTurn:
    """The turn in progress, as it begins: it waits for its context, and can only stop before."""

    number: int
    turn_id: TurnId
    op: OpReceived
    opened_at: int = 0  # sequence of the last event before it
    kind: TurnKind = "regular"
    stopping: TurnStopping | None = None
    prompted: bool = False  # the prompt is in the conversation
    owes_request: bool = False  # something waits to be told to the model
    steered: list[tuple[UserInputItem, ...]] = attrs.field(factory=list[tuple[UserInputItem, ...]])
    wants_compaction: CompactionTrigger | None = None
    is_foreign: bool = False  # it was begun elsewhere
    could_redo: Undone | None = None  # what a redo took back when this was opened

    @property
    def did_nothing(self) -> bool:
        """Whether it failed before any of its work was done: it does not count as a turn."""
        return self.stopping is not None and self.stopping.status == "failed"


@attrs.define
class Turn(OpenTurn):
    """The turn in progress, once its context is loaded: now it asks the model and runs calls."""

    context: ContextLoaded = attrs.field(kw_only=True)
    tools_digest: bytes = attrs.field(kw_only=True)  # taken once: each request quotes it
    request: int = 0  # model requests so far
    attempt: int = 0  # at a request that has no whole response yet
    request_retries: int = 0
    stream_retries: int = 0
    items: list[Received] = attrs.field(factory=list[Received])
    calls: list[Call] = attrs.field(factory=list[Call])
    first_call: int = 0  # number within the turn of `calls[0]`
    last_agent_message: str | None = None
    response_at: int = 0  # where in the conversation the response begins whose calls are open
    compaction: Compaction | None = None
    compactions: int = 0  # since the user's last word, or the last change of a file
    over_limit: bool = False  # a compaction was not followed by a response below the limit
    rescued: bool = False  # compacted since the last response, as the window was exceeded
    no_gain: bool = False  # nothing smaller could be put in the conversation's place
    scanned: bool = False
    parking: bool = False  # a question stays open for whoever opens the session next
    begun: bool = False  # the work of a turn that is not `regular` was asked for, or is over
    answered: bool = False  # something of a response has come
    child_end: ChildEnded | None = None  # of a review
    restored: TurnsRestored | None = None  # by an undo
    restored_at: int = 0  # its sequence

    @classmethod
    def begin(cls, turn: OpenTurn, context: ContextLoaded) -> "Turn":
        """Return `turn` with its context. A regular turn owes the model its prompt now."""
        fields, digest = attrs.asdict(turn, recurse=False), tools_digest(context.tools_json)
        begun = cls(**fields, context=context, tools_digest=digest)
        begun.owes_request = begun.owes_request or begun.kind == "regular"
        return begun

    @property
    def settings(self) -> TurnSettings:
        """What the turn runs under."""
        return self.context.settings

    @property
    def tools_json(self) -> JsonText:
        """The tools that its requests name."""
        return self.context.tools_json

    def add_call(self, item: CallItem, plan: ToolPlan, at: int) -> None:
        """Add a call of the response in hand, whose event has the sequence `at`."""
        self.calls.append(Call(self.first_call + len(self.calls), item, plan, at))

    def call(self, number: int) -> Call:
        """Return the call with this number within the turn."""
        return self.calls[number - self.first_call]

    def dispatched(self, number: int) -> ToolCallItem:
        """Return the item of a call that a tool has been given."""
        item = self.call(number).item
        assert not isinstance(item, OtherCall)  # no tool takes it
        return item

    def find(self, number: int) -> Call | None:
        """Return the call with this number, if its outputs are still awaited."""
        index = number - self.first_call
        return self.calls[index] if 0 <= index < len(self.calls) else None

    @property
    def did_nothing(self) -> bool:
        """Whether it failed before any of its work was done: it does not count as a turn."""
        failed = self.stopping is not None and self.stopping.status == "failed"
        return failed and not self.answered and not self.begun

    def progressed(self) -> None:
        """Note that a response is in the conversation: the next request has its own retries."""
        self.attempt = self.request_retries = self.stream_retries = 0


@attrs.frozen
class Queued:
    """An op that waits for a turn of its own."""

    op: OpReceived
    at: int  # its sequence


@attrs.frozen
class InHand:
    """What the state says of the last fact: its decisions need it, and nothing after them does."""

    closes: OpeningDecision | None = None  # what it is about; None: of nothing, or it is late
    answers: Call | None = None  # the call whose question the op answers
    op: OpReceived | None = None
    at: int = 0  # the op's sequence
    is_repeated: bool = False  # an op that has been done before


NOTHING: Final = InHand()


@attrs.define
class State:
    """A session after its events. The default is a session with none."""

    session: SessionId = _NO_SESSION
    cache_key: SessionId = _NO_SESSION  # of prompts; a fork's begin as its parent's do
    head: int = 0  # sequence of the last event
    digest: bytes = GENESIS  # of the last event
    time_us: int = 0  # of the last fact
    facts: int = 0  # number of the last fact, facts counted alone
    settings: SessionSettings | None = None
    fence: int = 0
    place: str = ""  # the store that it was last made or opened in; empty: elsewhere
    rules: int = 1  # the revision of the rules that decide
    turns: int = 0
    turn: OpenTurn | Turn | None = None
    queue: list[Queued] = attrs.field(factory=list[Queued])
    history: History = attrs.field(factory=History)
    outstanding: dict[EffectId, OpeningDecision] = attrs.field(
        factory=dict[EffectId, OpeningDecision]
    )  # the open effects: each is the decision that opened it
    in_hand: InHand = attrs.field(default=NOTHING, eq=False)
    op_ids: dict[str, None] = attrs.field(factory=dict[str, None])  # done, oldest first
    approved: dict[str, tuple[NamedFile, ...]] = attrs.field(
        factory=dict[str, tuple[NamedFile, ...]]
    )  # what is allowed for the session, with the files that it names as they were
    agents: dict[SessionId, Agent] = attrs.field(factory=dict[SessionId, Agent])
    results: dict[SessionId, str] = attrs.field(factory=dict[SessionId, str])  # the model knows
    marks: list[Mark] = attrs.field(factory=list[Mark])  # of the turns that can be undone
    undone: Undone | None = None  # what a redo takes back
    epoch: int = 0  # how often the conversation changed otherwise than by growing
    asked_with: TurnSettings | None = None  # of the last model request
    asked_tools: bytes = b""  # a digest of its tools
    measured: tuple[int, int] = (0, 0)  # tokens by the provider's count, of so many bytes
    usage: TokenUsage = _NO_USAGE
    closing: bool = False
    closed: bool = False
    maintenance: bool = False  # opened for maintenance: a turn that was cut off stays as it is
    summary: SessionSummary | None = None

    @property
    def tokens(self) -> int:
        """How much the conversation holds: the provider's count, and an estimate of the rest."""
        tokens, size = self.measured
        return tokens + max(0, self.history.size - size) // BYTES_A_TOKEN

    def open(self, *kinds: type[_O]) -> list[_O]:
        """Return the open effects that decisions of these kinds have opened, oldest first."""
        return [one for one in self.outstanding.values() if isinstance(one, kinds)]

    def takes_input(self, items: Sequence[UserInputItem]) -> bool:
        """Say whether these words of the user's would be used. Otherwise they are refused."""
        return bool(items) and not self.closing and not self.maintenance

    def commit_items(self, turn: Turn, tokens: int | None = None) -> None:
        """Move a response's finished items into the history.

        Args:
            tokens: what the provider counts up to here.
        """
        if turn.items:
            turn.response_at = len(self.history.parts)
        for received in turn.items:
            self.history.add(Part(received.item_json, (received.at, 0), MODEL))
            if received.text is not None:
                turn.last_agent_message = received.text
        turn.items.clear()
        if tokens is not None:
            self.measured = (tokens, self.history.size)

    def flush_outputs(self, turn: Turn) -> None:
        """Put the outputs into the history, in call order, once all of a response are there."""
        if not turn.items and all(call.settled for call in turn.calls):
            for call in turn.calls:
                if call.served:
                    continue
                output = output_item(call.item, call.output, call.images)
                source = (call.output_at, call.output_at - call.item_at)
                self.history.add(Part(output, source, OUTPUT, call.note))
            turn.first_call += len(turn.calls)
            turn.calls.clear()
