"""Index snapshots: a state whose texts are named by the events that hold them.

With one, opening a session costs its live context and not its history. A snapshot is a cache. It is
taken between turns only, after a whole step. It may be missing. One that does not fit the log, or
that another release made, is noticed: then the session is folded from its first event.
"""

from collections.abc import Iterable
from hashlib import blake2b
from itertools import accumulate, chain
from typing import Any, Final

import attrs
import msgspec
from msgspec import Struct, structs

from turnlog.actors.core import ledger, texts
from turnlog.actors.core.evolving.agents import joined_results, result_text
from turnlog.actors.core.history import MODEL, OUTPUT, History, Part, Source
from turnlog.actors.core.state import Agent, Queued, State
from turnlog.protocol.calls import ToolReport
from turnlog.protocol.envelope import Recorded, UnknownEvent
from turnlog.protocol.events import (
    CallSettled,
    ChildEnded,
    Compacted,
    ItemsRecorded,
    ModelItemReceived,
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
from turnlog.protocol.items import ToolCallItem, other_call, output_item, read_item
from turnlog.protocol.version import VERSION

FORMAT: Final = 8  # of snapshots; grows with each change of `State`, `_Index` or `evolve`
_CHECK_BYTES: Final = 16  # before the index
# A snapshot says what this release made of the events. Another one folds for itself.
_MAKER: Final = blake2b(f"turnlog {VERSION} snapshot {FORMAT}".encode(), digest_size=32).digest()


class _Index(Struct, frozen=True, array_like=True):
    """What is stored. A list of sources is flat, each sequence as its distance from the last."""

    plain: msgspec.Raw  # a `_Plain`
    queue: list[int]  # sequences
    parts: list[int]  # sources
    history_digest: bytes
    unreported: list[SessionId]  # agents whose results the model does not know


# What the events give back, or what is empty while a snapshot can be taken.
_FROM_EVENTS: Final = frozenset({"turn", "outstanding", "in_hand", "queue", "history", "results"})
# The other fields of `State`, as they are: a new one is stored without a word here.
_Plain: Final = msgspec.defstruct(
    "_Plain",
    [(one.name, one.type) for one in attrs.fields(State) if one.name not in _FROM_EVENTS],
    frozen=True,
    array_like=True,
)
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Index).decode
_decode_plain: Final = msgspec.msgpack.Decoder(_Plain).decode


def snapshot(state: State) -> bytes | None:
    """Return `state`, which is that after a whole step, as an index into its log.

    None while a turn or an effect is open.
    """
    if state.turn is not None or state.outstanding:
        return None
    plain = _Plain(*(getattr(state, name) for name in _Plain.__struct_fields__))
    index = _encode(
        _Index(
            plain=msgspec.Raw(_encode(plain)),
            queue=[queued.at for queued in state.queue],
            parts=_flat([part.source for part in state.history.parts]),
            history_digest=state.history.digest,
            unreported=list(state.results),
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
    _plain: dict[str, Any]  # fields of `State`
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
            plain = structs.asdict(_decode_plain(decoded.plain))
            return cls(decoded, plain, _sources(decoded.parts))
        except ValueError:  # msgspec's errors, too: made by this release while it was written
            return None

    def sequences(self) -> list[int]:
        """Return the sequences of the events that are needed, ascending."""
        needed = {self._plain["head"], *self._index.queue, *(at for at, _ in self._parts)}
        return sorted(needed.union(*self._unreported_ends().values()) - {0})

    def take(self, records: Iterable[Recorded]) -> None:
        """Take some of the events, in any order."""
        for recorded in records:
            if recorded.sequence == self._plain["head"]:
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
        if self._head_digest != self._plain["digest"]:
            return None
        try:
            state = self._state()
        except (LookupError, TypeError, ValueError):  # msgspec's errors are ValueErrors
            return None
        return state if state.history.digest == self._index.history_digest else None

    def _state(self) -> State:
        return State(
            **self._plain,
            queue=[Queued(self._ops[at], at) for at in self._index.queue],
            history=self._history(),
            results={
                child: joined_results(self._results[at] for at in ends)
                for child, ends in self._unreported_ends().items()
            },
        )

    def _unreported_ends(self) -> dict[SessionId, tuple[int, ...]]:
        """Return the ends that the model does not know, by agent."""
        agents: dict[SessionId, Agent] = self._plain["agents"]
        return {child: agents[child].ends for child in self._index.unreported}

    def _history(self) -> History:
        history = History()
        for at, offset in self._parts:
            history.add(self._part(at, offset))
        return history

    def _part(self, at: int, offset: int) -> Part:
        """Return the part with this source."""
        if at in self._items:
            return Part(self._items[at].item_json, (at, offset), MODEL)
        if at in self._outputs:
            return self._output(at, offset)
        told = self._told(at, offset)
        note = told.note if isinstance(told, RestoredPart) else ""
        return Part(told.item_json, (at, offset), told.kind, note)

    def _told(self, at: int, index: int) -> RecordedItem | RestoredPart:
        told = self._recorded[at][index]
        if isinstance(told, int):
            raise TypeError(f"event {at} holds no part {index}")
        return told

    def _output(self, at: int, distance: int) -> Part:
        call_at = at - distance
        asked = self._items[call_at]
        read = read_item(asked.item_json)
        call = read if isinstance(read, ToolCallItem) else other_call(asked.item_json)
        if call is None:
            raise TypeError(f"event {call_at} is no call")
        end = self._ends.get(at)
        done = ledger.note(call, asked.plan, *end) if end else self._notes.get(at, "")
        text = output_item(call, self._outputs[at], self._images.get(at, ()))
        return Part(text, (at, distance), OUTPUT, done)
