"""The recorded order: who may go on, once all that came before it has been seen again.

Each fact that a port or a user gave has a name that is the same in the recording and in the
branch, such as (`item`, turn 2, attempt 1, number 0). A recorded port waits with the next one until
the branch has every earlier one in its log. So timing cannot change what is decided.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable
from typing import Final

import attrs
import trio

from turnlog.protocol.envelope import Recorded
from turnlog.protocol.events import (
    AgentsAwaited,
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
    ScanAsked,
    StepFailed,
    ToolDispatched,
    ToolStarted,
    TurnEnded,
    UndoAsked,
    UserShellAsked,
)
from turnlog.protocol.ids import EffectId

Key = tuple[str | int, ...]
_NOBODY: Final = -1
GRACE: Final = 5.0  # seconds in which what stopped something then should have come again


@attrs.define
class Namer:
    """Names what it is shown, event by event, from the cut on."""

    _effects: dict[EffectId, Key] = attrs.field(factory=dict[EffectId, Key])
    _counts: dict[Key, int] = attrs.field(factory=dict[Key, int])

    def names(self, record: Recorded) -> list[Key]:
        """Return what is done with this event; mostly one name, or none."""
        match record.event:
            case ModelAsked(effect=effect) | CompactionAsked(effect=effect):
                return [("asked", *self._open(effect, ("model", record.turn)))]
            case ContextAsked(effect=effect):
                return [("asked", *self._open(effect, ("context", record.turn)))]
            case ToolDispatched(effect=effect, call_id=call_id):
                return [("dispatched", *self._open(effect, ("tool", call_id)))]
            case UserShellAsked(effect=effect):
                return [("dispatched", *self._open(effect, ("tool", "user", record.turn)))]
            case ChildAsked(effect=effect, kind=kind, name=name, run=run):
                return [("asked", *self._open(effect, ("child", kind, name, run)))]
            case ChildTold(effect=effect):
                return [("asked", *self._open(effect, ("tell", record.turn)))]
            case AgentsAwaited(effect=effect, call_id=call_id):
                return [("asked", *self._open(effect, ("await", call_id)))]
            case ScanAsked(effect=effect) | UndoAsked(effect=effect):
                return [("asked", *self._open(effect, (record.kind, record.turn)))]
            case FilesSaved(effect=effect) if effect in self._effects:
                return [("saved", *self._numbered(("saves", *self._effects[effect])))]
            case ModelItemReceived(effect=effect) if effect in self._effects:
                return [("item", *self._numbered(("items", *self._effects[effect])))]
            case ToolStarted(effect=effect) if effect in self._effects:
                return [("started", *self._effects[effect])]
            case Closes(effect=effect) | EffectLost(effect=effect) if effect in self._effects:
                return self._ended(self._effects.pop(effect))
            case CallSettled(call_id=call_id):
                number = self._counts.get(("tool", call_id), 0)
                return self._ended(("tool", call_id, number)) if number else []
            case TurnEnded() | StepFailed():
                return [("over", record.turn)]
            case _:
                return []

    def _open(self, effect: EffectId, kind: Key) -> Key:
        self._effects[effect] = name = self._numbered(kind)
        return name

    def _numbered(self, kind: Key) -> Key:
        self._counts[kind] = number = self._counts.get(kind, 0) + 1
        return (*kind, number)

    @staticmethod
    def _ended(name: Key) -> list[Key]:
        """What has ended has begun, too, whether or not it was seen to."""
        return [(what, *name) for what in ("ended", "started", "dispatched", "asked")]


@attrs.define(eq=False)
class Cues:
    """What is still to come, by its place in the recording."""

    recorded: frozenset[str | int] = (
        frozenset()
    )  # which of model, context, tool, child and tell say it themselves
    _left: dict[Key, int] = attrs.field(factory=dict[Key, int])
    _order: list[tuple[int, Key]] = attrs.field(factory=list[tuple[int, Key]])
    _turns: dict[Key, int] = attrs.field(factory=dict[Key, int])
    _sent: set[Key] = attrs.field(factory=set[Key])
    _namer: Namer = attrs.field(factory=Namer)
    _changed: trio.Event = attrs.field(factory=trio.Event)
    _first: int = 0

    @classmethod
    def of(
        cls,
        records: Iterable[Recorded],
        after: int,
        keeps: Callable[[Key], bool],
        recorded: Iterable[str] = (),
    ) -> "Cues":
        """Return the cues of what comes behind the event `after`.

        Args:
            keeps: says of a name whether the branch is going to have it.
            recorded: which of `model`, `context`, `tool`, `child` and `tell` recorded ports do.
        """
        cues, namer = cls(frozenset(recorded)), Namer()
        for record in records:
            if record.sequence <= after:
                continue
            for key in namer.names(record):
                if keeps(key):
                    cues.expect(key, record.sequence, record.turn)
        return cues

    def expect(self, key: Key, at: int, turn: int = _NOBODY) -> None:
        """Add what happened at event `at`. What is known already keeps its first place."""
        if key not in self._left:
            self._left[key] = at
            self._turns[key] = turn
            place = bisect_right(self._order, at, key=lambda entry: entry[0])
            self._order.insert(place, (at, key))

    def done(self, *keys: Key) -> None:
        for key in keys:
            self._left.pop(key, None)
        self._wake()

    def see(self, record: Recorded) -> None:
        """Note an event of the branch. With a turn's end, all that it still owed is done."""
        names = self._namer.names(record)
        if len(names) == 1 and names[0][0] in ("asked", "dispatched"):
            names = [key for key in names if key[1] not in self.recorded]
        for key in names:
            if key[0] == "over":
                names = names + [k for k in self._left if 0 <= self._turns[k] <= record.turn]
                break
        self.done(*names)

    def begun(self, at: int) -> None:
        """Note that a recorded port was reached with what was asked for at event `at`.

        Only from then on can it be stopped as it was.
        """
        self.done(*[key for key, place in self._left.items() if place == at])

    def give_up(self) -> None:
        """Hold nobody back any more: the branch has left the recording."""
        self._left.clear()
        self._wake()

    def sent(self, key: Key) -> None:
        """Note that a message is on its way: one sent now is received behind it."""
        self._sent.add(key)
        self._wake()

    async def before(self, at: int | None, *, sends: bool = False) -> None:
        """Wait until nothing is left that came before event `at`. None: for everything.

        Args:
            sends: it is enough that earlier messages of the user's are on their way, so that one
                which came close behind another one comes as close again.
        """
        while self._next(sends=sends) < (math.inf if at is None else at):
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


async def until_stopped(cues: Cues | None, at: int | None) -> None:
    """Wait to be cancelled, as it happened at event `at`. Returns if nothing does that in time."""
    try:
        if cues is not None:
            await cues.before(at)
        await trio.sleep(GRACE)
    except trio.Cancelled:  # what came in front of its end then has to come now, too
        with trio.move_on_after(GRACE, shield=True):
            if cues is not None:
                await cues.before(at)
        raise
