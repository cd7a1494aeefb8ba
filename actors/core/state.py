"""The folded state of a session: everything that a decision may look at."""

from typing import Final, Literal

import attrs

from turnlog.actors.core.effects import Effect
from turnlog.protocol.calls import ToolPlan
from turnlog.protocol.envelope import GENESIS, chain
from turnlog.protocol.events import OpReceived, TurnStopping
from turnlog.protocol.ids import EffectId, SessionId, TurnId
from turnlog.protocol.items import JsonText, ToolCallItem, output_item
from turnlog.protocol.ops import UserInputItem
from turnlog.protocol.settings import SessionSettings, TurnSettings
from turnlog.protocol.summary import SessionSummary
from turnlog.protocol.usage import RateLimits, TokenUsage

_NO_SESSION: Final = SessionId("")
_NO_USAGE: Final = TokenUsage()

# Where a text stands in the log: the sequence of an event, and a number that is the item's index
# in ItemsRecorded; of an output, how many events before it its call's item came; else 0.
Source = tuple[int, int]

CallStatus = Literal["waiting", "asked", "dispatched", "stopped", "unknown", "settled"]


@attrs.define
class History:
    """The conversation as the model is sent it: parts that are only ever appended."""

    parts: list[JsonText] = attrs.field(factory=list[JsonText])
    sources: list[Source] = attrs.field(factory=list[Source])  # of the parts, one each
    digest: bytes = GENESIS  # chained over the parts, so that asking costs the same at any length

    def add(self, part: JsonText, source: Source) -> None:
        self.parts.append(part)
        self.sources.append(source)
        self.digest = chain(self.digest, part.encode())


@attrs.define
class Call:
    """One tool call of the response in hand, or of the one whose outputs are awaited."""

    item: ToolCallItem
    plan: ToolPlan
    item_at: int  # sequence of the item's event
    status: CallStatus = "waiting"
    approved: bool = False
    question: str | None = None
    output: str = ""  # what the model is told, once settled
    output_at: int = 0  # sequence of the event that settled it

    @property
    def settled(self) -> bool:
        return self.status == "settled"

    def settle(self, output: str, at: int) -> None:
        self.status, self.output, self.output_at = "settled", output, at


@attrs.frozen
class Received:
    """A finished item of a response that is not whole yet."""

    item_json: JsonText
    at: int  # sequence of its event
    is_reasoning: bool
    text: str | None  # of an assistant's message


@attrs.define
class Turn:
    """The turn in progress."""

    number: int
    turn_id: TurnId
    op: OpReceived
    settings: TurnSettings | None = None  # None: its context is not loaded yet
    tools_json: JsonText = "[]"
    stopping: TurnStopping | None = None
    request: int = 0  # model requests so far
    attempt: int = 0  # at a request that has no whole response yet
    request_retries: int = 0
    stream_retries: int = 0
    prompted: bool = False  # the prompt is in the conversation
    owes_request: bool = False  # something waits to be told to the model
    items: list[Received] = attrs.field(factory=list[Received])
    calls: list[Call] = attrs.field(factory=list[Call])
    first_call: int = 0  # number within the turn of `calls[0]`
    steered: list[tuple[UserInputItem, ...]] = attrs.field(factory=list[tuple[UserInputItem, ...]])
    last_agent_message: str | None = None

    def call(self, number: int) -> Call:
        """Return the call with this number within the turn."""
        return self.calls[number - self.first_call]

    def find(self, number: int) -> Call | None:
        """Return the call with this number, if its outputs are still awaited."""
        index = number - self.first_call
        return self.calls[index] if 0 <= index < len(self.calls) else None

    def progressed(self) -> None:
        """Note that a response is in the conversation: the next request has its own retries."""
        self.attempt = self.request_retries = self.stream_retries = 0

    def number_of(self, call: Call) -> int:
        return self.first_call + next(i for i, other in enumerate(self.calls) if other is call)


@attrs.define
class State:
    """A session after its events. The default is a session with none."""

    session: SessionId = _NO_SESSION
    head: int = 0  # sequence of the last event
    digest: bytes = GENESIS  # of the last event
    time_us: int = 0  # of the last fact
    facts: int = 0  # number of the last fact, facts counted alone
    settings: SessionSettings | None = None
    fence: int = 0
    turns: int = 0
    turn: Turn | None = None
    queue: list[OpReceived] = attrs.field(factory=list[OpReceived])  # input for later turns
    queued_at: list[int] = attrs.field(factory=list[int])  # sequences of `queue`, one each
    history: History = attrs.field(factory=History)
    context: dict[str, JsonText] = attrs.field(factory=dict[str, JsonText])  # last told, by kind
    context_at: dict[str, Source] = attrs.field(factory=dict[str, Source])
    outstanding: dict[EffectId, Effect] = attrs.field(factory=dict[EffectId, Effect])
    belongs_to: Effect | None = None  # the effect that the fact in hand is about; None: late
    op: OpReceived | None = None  # the op in hand
    op_at: int = 0  # its sequence
    repeated_op: bool = False  # it has been done before
    op_ids: dict[str, None] = attrs.field(factory=dict[str, None])  # done, oldest first
    approved: set[str] = attrs.field(factory=set[str])  # approval keys, for the session
    usage: TokenUsage = _NO_USAGE
    last_usage: TokenUsage | None = None
    rate_limits: RateLimits | None = None
    closing: bool = False
    closed: bool = False
    summary: SessionSummary | None = None

    def commit_items(self, turn: Turn) -> None:
        """Move a response's finished items into the history."""
        for received in turn.items:
            self.history.add(received.item_json, (received.at, 0))
            if received.text is not None:
                turn.last_agent_message = received.text
        turn.items.clear()
        self.flush_outputs(turn)

    def flush_outputs(self, turn: Turn) -> None:
        """Put the outputs into the history, in call order, once all of a response are there."""
        if not turn.items and all(call.settled for call in turn.calls):
            for call in turn.calls:
                output = output_item(call.item, call.output)
                self.history.add(output, (call.output_at, call.output_at - call.item_at))
            turn.first_call += len(turn.calls)
            turn.calls.clear()
