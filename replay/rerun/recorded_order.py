"""The recorded order: a port or a user continues once all that was recorded before is there again.

Each fact that a port or a user gave has a key that is the same in the recording and in the branch,
such as: item 1 of the second attempt at the model in turn 2. A recorded port waits with its next
fact until the branch has every earlier one in its log. So timing cannot change what is decided.
"""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

import attrs
import trio
from msgspec import Struct

from turnlog.protocol.envelope import Recorded
from turnlog.protocol.events import (
    AgentsAwaited,
    ApprovalAsked,
    CallSettled,
    ChildAsked,
    ChildTold,
    Closes,
    CompactionAsked,
    ContextAsked,
    EffectLost,
    FilesSaved,
    ModelAsked,
    ModelItemReceived,
    Opens,
    PlanAsked,
    RetryScheduled,
    StepFailed,
    ToolDispatched,
    ToolStarted,
    TurnEnded,
    UserShellAsked,
)
from turnlog.protocol.ids import EffectId

_NO_TURN: Final = -1
GRACE: Final = 5.0  # seconds in which a recorded stop should have come again


class EffectName(Struct, frozen=True):
    """Names an effect, the same in the recording and in the branch."""

    port: str  # model, context, tool, child, steer, agents; or the kind of the decision
    about: tuple[str | int, ...]  # what is asked of the port: a turn, a call, a child
    number: int  # how many times that was asked by then, from 1


class Key(Struct, frozen=True):
    """Names one thing that happened to an effect, or that a user did."""

    # asked, dispatched, started, saved, item, ended; over: a turn ended; op, answer: of the user
    what: str
    effect: EffectName | None = None
    number: int = 0  # of the item or save; or the turn that is over, or the user's recorded event


def op_key(at: int) -> Key:
    """Return the key of the op that was received at event `at` of the recording."""
    return Key("op", number=at)


def answer_key(at: int) -> Key:
    """Return the key of the answer that was received at event `at` of the recording."""
    return Key("answer", number=at)


@attrs.define
class EventNamer:
    """Gives events their keys. It is shown each event, from the cut on, once and in order."""

    _effects: dict[EffectId, EffectName] = attrs.field(factory=dict[EffectId, EffectName])
    _asked: Counter[tuple[str, tuple[str | int, ...]]] = attrs.field(
        factory=Counter[tuple[str, tuple[str | int, ...]]]
    )
    _parts: Counter[tuple[str, EffectName]] = attrs.field(factory=Counter[tuple[str, EffectName]])

    def keys(self, record: Recorded) -> list[Key]:
        """Return the keys of all that has happened by this event: mostly one, or none."""
        match record.event:
            case ModelAsked(effect=effect) | CompactionAsked(effect=effect):
                return [self._open("asked", effect, "model", record.turn)]
            case ContextAsked(effect=effect):
                return [self._open("asked", effect, "context", record.turn)]
            case ToolDispatched(effect=effect, call_id=call_id):
                return [self._open("dispatched", effect, "tool", call_id)]
            case UserShellAsked(effect=effect):
                return [self._open("dispatched", effect, "tool", "user", record.turn)]
            case ChildAsked(effect=effect, kind=kind, name=name, run=run):
                return [self._open("asked", effect, "child", kind, name, run)]
            case ChildTold(effect=effect):
                return [self._open("asked", effect, "steer", record.turn)]
            case AgentsAwaited(effect=effect, call_id=call_id):
                return [self._open("asked", effect, "agents", call_id)]
            case RetryScheduled() | ApprovalAsked() | PlanAsked():
                return []  # no recorded port waits for them
            case Opens(effect=effect):
                return [self._open("asked", effect, record.kind, record.turn)]
            case FilesSaved(effect=effect) if effect in self._effects:
                return [self._part("saved", effect)]
            case ModelItemReceived(effect=effect) if effect in self._effects:
                return [self._part("item", effect)]
            case ToolStarted(effect=effect) if effect in self._effects:
                return [Key("started", self._effects[effect])]
            case Closes(effect=effect) | EffectLost(effect=effect) if effect in self._effects:
                return _ended(self._effects.pop(effect))
            case CallSettled(call_id=call_id):
                number = self._asked["tool", (call_id,)]
                return _ended(EffectName("tool", (call_id,), number)) if number else []
            case TurnEnded() | StepFailed():
                return [Key("over", number=record.turn)]
            case _:
                return []

    def _open(self, what: str, effect: EffectId, port: str, *about: str | int) -> Key:
        self._asked[port, about] += 1
        self._effects[effect] = name = EffectName(port, about, self._asked[port, about])
        return Key(what, name)

    def _part(self, what: str, effect: EffectId) -> Key:
        name = self._effects[effect]
        self._parts[what, name] += 1
        return Key(what, name, self._parts[what, name])


def _ended(name: EffectName) -> list[Key]:
    """Return the keys of an effect that ended: so it was begun, too, also if nobody saw that."""
    return [Key(what, name) for what in ("ended", "started", "dispatched", "asked")]


@attrs.define(eq=False)
class RecordedOrder:
    """What is still to come, by its place in the recording. An empty one lets everybody pass.

    Args:
        recorded: the ports that say themselves when they begin: some of model, context, tool,
            child and steer.
    """

    recorded: frozenset[str] = frozenset()
    _left: dict[Key, int] = attrs.field(factory=dict[Key, int])
    _order: list[tuple[int, Key]] = attrs.field(factory=list[tuple[int, Key]])
    _turns: dict[Key, int] = attrs.field(factory=dict[Key, int])
    _sent: set[Key] = attrs.field(factory=set[Key])
    _namer: EventNamer = attrs.field(factory=EventNamer)
    _changed: trio.Event = attrs.field(factory=trio.Event)
    _first: int = 0

    @classmethod
    def of(
        cls,
        records: Iterable[Recorded],
        after: int,
        keeps: Callable[[Key], bool],
        recorded: Iterable[str] = (),
    ) -> "RecordedOrder":
        """Return the order of what comes after the event `after`.

        Args:
            keeps: whether the branch is going to have what a key names.
            recorded: see the class.
        """
        order, namer = cls(frozenset(recorded)), EventNamer()
        for record in records:
            if record.sequence <= after:
                continue
            for key in namer.keys(record):
                if keeps(key):
                    order.expect(key, record.sequence, record.turn)
        return order

    @classmethod
    def none(cls) -> "RecordedOrder":
        """Return an order that holds nobody back."""
        return cls()

    def expect(self, key: Key, at: int, turn: int = _NO_TURN) -> None:
        """Add what happened at event `at`. A key that is there already keeps its place."""
        if key not in self._left:
            self._left[key] = at
            self._turns[key] = turn
            place = bisect_right(self._order, at, key=lambda entry: entry[0])
            self._order.insert(place, (at, key))

    def done(self, *keys: Key) -> None:
        """Note that these have happened in the branch."""
        for key in keys:
            self._left.pop(key, None)
        self._wake()

    def see(self, record: Recorded) -> None:
        """Note an event of the branch. If it ends a turn, all that the turn still owed is done."""
        keys = self._namer.keys(record)
        if len(keys) == 1 and keys[0].what in ("asked", "dispatched"):
            keys = [key for key in keys if key.effect and key.effect.port not in self.recorded]
        if any(key.what == "over" for key in keys):
            keys += [key for key in self._left if 0 <= self._turns[key] <= record.turn]
        self.done(*keys)

    def begun(self, at: int) -> None:
        """Note that a recorded port was reached with what was asked for at event `at`.

        Only from then on can it be stopped as it was.
        """
        self.done(*[key for key, place in self._left.items() if place == at])

    def give_up(self) -> None:
        """Hold nobody back any more: the branch is not like the recording."""
        self._left.clear()
        self._wake()

    def sent(self, key: Key) -> None:
        """Note that a message is on its way: any message sent from now on is received after it."""
        self._sent.add(key)
        self._wake()

    async def before(self, at: int | None, *, sends: bool = False) -> None:
        """Wait until all that came before event `at` has happened.

        Args:
            at: None: it is not recorded, and nothing is waited for.
            sends: wait only until earlier messages of the user were sent, not until they were
                handled: two that arrived close together then do so again.
        """
        if at is not None:
            await self._wait(at, sends=sends)

    async def until_stopped(self, at: int | None) -> None:
        """Wait to be cancelled, as it happened at event `at`; None: at the end of the recording.

        Returns if nothing cancels this within `GRACE` seconds of that place.
        """
        place = math.inf if at is None else at
        try:
            await self._wait(place)
            await trio.sleep(GRACE)
        except trio.Cancelled:  # what came before its end has to come first now, too
            with trio.move_on_after(GRACE, shield=True):
                await self._wait(place)
            raise

    async def _wait(self, at: float, *, sends: bool = False) -> None:
        while self._next(sends=sends) < at:
            await self._changed.wait()
        await trio.lowlevel.checkpoint()

    def _next(self, *, sends: bool) -> float:
        while self._first < len(self._order) and not self._is_left(self._first):
            self._first += 1
        for place in range(self._first, len(self._order)):
            at, key = self._order[place]
            if self._is_left(place) and not (sends and key in self._sent):
                return at
        return math.inf

    def _is_left(self, place: int) -> bool:
        at, key = self._order[place]
        return self._left.get(key) == at

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
