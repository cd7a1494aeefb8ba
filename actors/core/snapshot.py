"""Index snapshots: a state whose texts are named by the events that hold them.

With one, opening a session costs its live context and not its history. A snapshot is a cache: it
is taken between turns only, it may be missing, and one that does not fit the log, or that another
release made, is noticed. Then the session is folded from its first event.
"""

from collections.abc import Iterable
from hashlib import blake2b
from itertools import accumulate, chain
from typing import Final

import attrs
import msgspec
from msgspec import Struct, structs

from turnlog.actors.core import texts
from turnlog.actors.core.effects import (
    AskQuestion,
    CallModel,
    Effect,
    LoadContext,
    RunTool,
    Wait,
)
from turnlog.actors.core.state import History, Source, State
from turnlog.protocol.envelope import Recorded, UnknownEvent
from turnlog.protocol.events import (
    CallSettled,
    ItemsRecorded,
    ModelItemReceived,
    OpReceived,
    RecordedItem,
    SessionEvent,
    StepFailed,
    ToolFinished,
)
from turnlog.protocol.ids import SessionId
from turnlog.protocol.items import CustomToolCall, FunctionCall, JsonText, output_item, read_item
from turnlog.protocol.settings import SessionSettings
from turnlog.protocol.summary import SessionSummary
from turnlog.protocol.usage import RateLimits, TokenUsage
from turnlog.protocol.version import VERSION

FORMAT: Final = 2  # of snapshots; grows with each change of `State`, `_Index` or `evolve`
_CHECK_BYTES: Final = 16  # before the index
# A snapshot says what this release made of the events. Another one folds for itself.
_MAKER: Final = blake2b(f"turnlog {VERSION} snapshot {FORMAT}".encode(), digest_size=32).digest()
_EFFECTS: Final[dict[str, type[Effect]]] = {
    kind.__name__: kind for kind in (LoadContext, CallModel, RunTool, AskQuestion, Wait)
}


class _Index(Struct, frozen=True, array_like=True):
    """What is stored. A list of sources is flat, each sequence as its distance from the last."""

    head: int
    digest: bytes
    session: SessionId
    time_us: int
    facts: int
    settings: SessionSettings | None
    fence: int
    turns: int
    queue: list[int]  # sequences
    parts: list[int]  # sources
    history_digest: bytes
    context: dict[str, Source]
    belongs_to: tuple[str, dict[str, str | int | bool]] | None
    op: int  # sequence; 0: none
    repeated_op: bool
    op_ids: list[str]
    approved: list[str]
    usage: TokenUsage
    last_usage: TokenUsage | None
    rate_limits: RateLimits | None
    closing: bool
    closed: bool
    summary: SessionSummary | None


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Index).decode


def snapshot(state: State) -> bytes | None:
    """Return `state` as an index into its log. None while a turn is open: there is none then."""
    if state.turn is not None or state.outstanding:
        return None
    index = _encode(
        _Index(
            head=state.head,
            digest=state.digest,
            session=state.session,
            time_us=state.time_us,
            facts=state.facts,
            settings=state.settings,
            fence=state.fence,
            turns=state.turns,
            queue=state.queued_at,
            parts=_flat(state.history.sources),
            history_digest=state.history.digest,
            context=state.context_at,
            belongs_to=_effect_fields(state.belongs_to),
            op=state.op_at,
            repeated_op=state.repeated_op,
            op_ids=list(state.op_ids),
            approved=sorted(state.approved),
            usage=state.usage,
            last_usage=state.last_usage,
            rate_limits=state.rate_limits,
            closing=state.closing,
            closed=state.closed,
            summary=state.summary,
        )
    )
    return _check(index) + index


def _check(index: bytes) -> bytes:
    return blake2b(index, key=_MAKER, digest_size=_CHECK_BYTES).digest()


def _flat(sources: list[Source]) -> list[int]:
    befores = chain((0,), (at for at, _ in sources))
    steps = ((at - before, offset) for before, (at, offset) in zip(befores, sources, strict=False))
    return list(chain.from_iterable(steps))


def _sources(flat: list[int]) -> list[Source]:
    return list(zip(accumulate(flat[::2]), flat[1::2], strict=True))


def _effect_fields(effect: Effect | None) -> tuple[str, dict[str, str | int | bool]] | None:
    return None if effect is None else (type(effect).__name__, structs.asdict(effect))


@attrs.define
class Restoration:
    """A snapshot on its way to being a state: it is given the events that it refers to.

    What it does not need of an event it lets go of, so that they can be read in pages.
    """

    _index: _Index
    _parts: list[Source]
    _head_digest: bytes | None = None
    _recorded: dict[int, tuple[RecordedItem, ...]] = attrs.field(
        factory=dict[int, tuple[RecordedItem, ...]]
    )
    _items: dict[int, JsonText] = attrs.field(factory=dict[int, JsonText])
    _outputs: dict[int, str] = attrs.field(factory=dict[int, str])
    _ops: dict[int, OpReceived] = attrs.field(factory=dict[int, OpReceived])

    @classmethod
    def begin(cls, data: bytes) -> "Restoration | None":
        """Return the beginning of a restoration; None if this release did not make `data`."""
        index = data[_CHECK_BYTES:]
        if _check(index) != data[:_CHECK_BYTES]:
            return None
        try:
            decoded = _decode(index)
            return cls(decoded, _sources(decoded.parts))
        except ValueError:  # msgspec's errors, too: made by this release while it was written
            return None

    def sequences(self) -> list[int]:
        """Return the sequences of the events that are needed, ascending."""
        index = self._index
        needed = {at for at, _ in self._parts} | {at for at, _ in index.context.values()}
        return sorted((needed | {index.op, index.head, *index.queue}) - {0})

    def take(self, records: Iterable[Recorded]) -> None:
        """Take some of the events, in any order."""
        for recorded in records:
            if recorded.sequence == self._index.head:
                self._head_digest = recorded.digest
            self._keep(recorded.sequence, recorded.event)

    def _keep(self, at: int, event: SessionEvent | UnknownEvent) -> None:
        match event:
            case ModelItemReceived(item_json=item):
                self._items[at] = item
            case ToolFinished(preamble=preamble, output=output):
                self._outputs[at] = preamble + output
            case CallSettled(output=output):
                self._outputs[at] = output
            case StepFailed():
                self._outputs[at] = texts.UNKNOWN
            case ItemsRecorded(items=items):
                self._recorded[at] = items
            case OpReceived():
                self._ops[at] = event
            case _:
                pass

    def finish(self) -> State | None:
        """Return the state; None if the events are not those that the snapshot was made of."""
        if self._head_digest != self._index.digest:
            return None
        try:
            state = self._state()
        except (LookupError, TypeError, ValueError):  # msgspec's errors are ValueErrors
            return None
        return state if state.history.digest == self._index.history_digest else None

    def _state(self) -> State:
        index = self._index
        return State(
            session=index.session,
            head=index.head,
            digest=index.digest,
            time_us=index.time_us,
            facts=index.facts,
            settings=index.settings,
            fence=index.fence,
            turns=index.turns,
            queue=[self._ops[at] for at in index.queue],
            queued_at=index.queue,
            history=self._history(),
            context={kind: self._told(*source) for kind, source in index.context.items()},
            context_at=index.context,
            belongs_to=_effect(index.belongs_to),
            op=self._ops[index.op] if index.op else None,
            op_at=index.op,
            repeated_op=index.repeated_op,
            op_ids=dict.fromkeys(index.op_ids),
            approved=set(index.approved),
            usage=index.usage,
            last_usage=index.last_usage,
            rate_limits=index.rate_limits,
            closing=index.closing,
            closed=index.closed,
            summary=index.summary,
        )

    def _history(self) -> History:
        history = History()
        for at, offset in self._parts:
            history.add(self._part(at, offset), (at, offset))
        return history

    def _part(self, at: int, offset: int) -> JsonText:
        if at in self._items:
            return self._items[at]
        if at in self._outputs:
            return self._output(self._outputs[at], call_at=at - offset)
        return self._told(at, offset)

    def _told(self, at: int, index: int) -> JsonText:
        return self._recorded[at][index].item_json

    def _output(self, output: str, call_at: int) -> JsonText:
        call = read_item(self._items[call_at])
        if not isinstance(call, FunctionCall | CustomToolCall):
            raise TypeError(f"event {call_at} is no call")
        return output_item(call, output)


def _effect(fields: tuple[str, dict[str, str | int | bool]] | None) -> Effect | None:
    return None if fields is None else msgspec.convert(fields[1], _EFFECTS[fields[0]])
