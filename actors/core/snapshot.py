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
from msgspec import Struct

from turnlog.actors.core import ledger, texts
from turnlog.actors.core.evolving.agents import result_text
from turnlog.actors.core.history import MODEL, OUTPUT, History, Source
from turnlog.actors.core.state import SEVERAL, Agent, Mark, State, Undone
from turnlog.protocol.calls import NamedFile, ToolReport
from turnlog.protocol.envelope import Recorded, UnknownEvent
from turnlog.protocol.events import (
    CallSettled,
    ChildEnded,
    Compacted,
    ItemsRecorded,
    ModelItemReceived,
    OpeningDecision,
    OpReceived,
    RecordedItem,
    RestoredPart,
    SessionEvent,
    StepFailed,
    ToolFinished,
    TurnsRestored,
)
from turnlog.protocol.ids import SessionId
from turnlog.protocol.images import Image
from turnlog.protocol.items import JsonText, ToolCallItem, other_call, output_item, read_item
from turnlog.protocol.settings import SessionSettings, TurnSettings
from turnlog.protocol.summary import SessionSummary
from turnlog.protocol.usage import RateLimits, TokenUsage
from turnlog.protocol.version import VERSION

FORMAT: Final = 7  # of snapshots; grows with each change of `State`, `_Index` or `evolve`
_CHECK_BYTES: Final = 16  # before the index
# A snapshot says what this release made of the events. Another one folds for itself.
_MAKER: Final = blake2b(f"turnlog {VERSION} snapshot {FORMAT}".encode(), digest_size=32).digest()


class _Index(Struct, frozen=True, array_like=True):
    """What is stored. A list of sources is flat, each sequence as its distance from the last."""

    head: int
    digest: bytes
    session: SessionId
    cache_key: SessionId
    time_us: int
    facts: int
    settings: SessionSettings | None
    fence: int
    place: str
    rules: int
    turns: int
    queue: list[int]  # sequences
    parts: list[int]  # sources
    history_digest: bytes
    context: dict[str, Source]
    belongs_to: OpeningDecision | None
    op: int  # sequence; 0: none
    repeated_op: bool
    op_ids: list[str]
    approved: dict[str, tuple[NamedFile, ...]]
    agents: list[tuple[SessionId, Agent]]
    marks: list[Mark]
    undone: Undone | None
    epoch: int
    asked_with: TurnSettings | None
    asked_tools: bytes
    measured: tuple[int, int]
    usage: TokenUsage
    last_usage: TokenUsage | None
    rate_limits: RateLimits | None
    closing: bool
    closed: bool
    dormant: bool
    summary: SessionSummary | None


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Index).decode


def snapshot(state: State) -> bytes | None:
    """Return `state` as an index into its log.

    None while a turn is open, or where what an agent came to stands in several events.
    """
    if state.turn is not None or state.outstanding:
        return None
    if any(agent.result_at == SEVERAL and not agent.told for agent in state.agents.values()):
        return None
    index = _encode(
        _Index(
            head=state.head,
            digest=state.digest,
            session=state.session,
            cache_key=state.cache_key,
            time_us=state.time_us,
            facts=state.facts,
            settings=state.settings,
            fence=state.fence,
            place=state.place,
            rules=state.rules,
            turns=state.turns,
            queue=state.queued_at,
            parts=_flat(state.history.sources),
            history_digest=state.history.digest,
            context=state.context_at,
            belongs_to=state.belongs_to,
            op=state.op_at,
            repeated_op=state.repeated_op,
            op_ids=list(state.op_ids),
            approved=state.approved,
            agents=list(state.agents.items()),
            marks=state.marks,
            undone=state.undone,
            epoch=state.epoch,
            asked_with=state.asked_with,
            asked_tools=state.asked_tools,
            measured=state.measured,
            usage=state.usage,
            last_usage=state.last_usage,
            rate_limits=state.rate_limits,
            closing=state.closing,
            closed=state.closed,
            dormant=state.dormant,
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


@attrs.define
class Restoration:
    """A snapshot on its way to being a state: it is given the events that it refers to.

    What it does not need of an event it lets go of, so that they can be read in pages.
    """

    _index: _Index
    _parts: list[Source]
    _head_digest: bytes | None = None
    _recorded: dict[int, tuple[RecordedItem | RestoredPart | int, ...]] = attrs.field(
        factory=dict[int, tuple[RecordedItem | RestoredPart | int, ...]]
    )
    _results: dict[int, str] = attrs.field(factory=dict[int, str])
    _items: dict[int, ModelItemReceived] = attrs.field(factory=dict[int, ModelItemReceived])
    _outputs: dict[int, str] = attrs.field(factory=dict[int, str])
    _images: dict[int, tuple[Image, ...]] = attrs.field(factory=dict[int, tuple[Image, ...]])
    _notes: dict[int, str] = attrs.field(factory=dict[int, str])
    _ends: dict[int, tuple[str, ToolReport | None]] = attrs.field(
        factory=dict[int, tuple[str, ToolReport | None]]
    )
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
        needed |= {agent.result_at for _, agent in index.agents if not agent.told}
        return sorted((needed | {index.op, index.head, *index.queue}) - {0})

    def take(self, records: Iterable[Recorded]) -> None:
        """Take some of the events, in any order."""
        for recorded in records:
            if recorded.sequence == self._index.head:
                self._head_digest = recorded.digest
            self._keep(recorded.sequence, recorded.event)

    def _keep(self, at: int, event: SessionEvent | UnknownEvent) -> None:
        match event:
            case ModelItemReceived():
                self._items[at] = event
            case ToolFinished(preamble=preamble, output=output):
                self._outputs[at], self._images[at] = preamble + output, event.images
                self._ends[at] = event.outcome, event.report
            case CallSettled(output=output, note=note):
                self._outputs[at], self._notes[at] = output, note
            case StepFailed():
                self._outputs[at] = texts.UNKNOWN
            case ItemsRecorded(items=items):
                self._recorded[at] = items
            case Compacted(parts=parts):
                self._recorded[at] = parts
            case TurnsRestored(parts=parts) if parts is not None:
                self._recorded[at] = parts
            case ChildEnded():
                self._results[at] = result_text(event)
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
            cache_key=index.cache_key,
            head=index.head,
            digest=index.digest,
            time_us=index.time_us,
            facts=index.facts,
            settings=index.settings,
            fence=index.fence,
            place=index.place,
            rules=index.rules,
            turns=index.turns,
            queue=[self._ops[at] for at in index.queue],
            queued_at=index.queue,
            history=self._history(),
            context={kind: self._told(*src).item_json for kind, src in index.context.items()},
            context_at=index.context,
            belongs_to=index.belongs_to,
            op=self._ops[index.op] if index.op else None,
            op_at=index.op,
            repeated_op=index.repeated_op,
            op_ids=dict.fromkeys(index.op_ids),
            approved=index.approved,
            agents=dict(index.agents),
            results=self._untold(),
            marks=index.marks,
            undone=index.undone,
            epoch=index.epoch,
            asked_with=index.asked_with,
            asked_tools=index.asked_tools,
            measured=index.measured,
            usage=index.usage,
            last_usage=index.last_usage,
            rate_limits=index.rate_limits,
            closing=index.closing,
            closed=index.closed,
            dormant=index.dormant,
            summary=index.summary,
        )

    def _history(self) -> History:
        history = History()
        for at, offset in self._parts:
            part, kind, note = self._part(at, offset)
            history.add(part, (at, offset), kind, note)
        return history

    def _part(self, at: int, offset: int) -> tuple[JsonText, str, str]:
        """Return a part, its kind and its note."""
        if at in self._items:
            return self._items[at].item_json, MODEL, ""
        if at in self._outputs:
            return self._output(at, call_at=at - offset)
        told = self._told(at, offset)
        return told.item_json, told.kind, told.note if isinstance(told, RestoredPart) else ""

    def _told(self, at: int, index: int) -> RecordedItem | RestoredPart:
        told = self._recorded[at][index]
        if isinstance(told, int):
            raise TypeError(f"event {at} holds no part {index}")
        return told

    def _untold(self) -> dict[SessionId, str]:
        return {
            child: self._results[agent.result_at] if agent.result_at else ""
            for child, agent in self._index.agents
            if not agent.told
        }

    def _output(self, at: int, call_at: int) -> tuple[JsonText, str, str]:
        asked = self._items[call_at]
        read = read_item(asked.item_json)
        call = read if isinstance(read, ToolCallItem) else other_call(asked.item_json)
        if call is None:
            raise TypeError(f"event {call_at} is no call")
        end = self._ends.get(at)
        done = ledger.note(call, asked.plan, *end) if end else self._notes.get(at, "")
        return output_item(call, self._outputs[at], self._images.get(at, ())), OUTPUT, done
