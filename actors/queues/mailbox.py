"""Mailboxes: bounded, with a lane for each kind of sender, so that actors never wait in a circle.

A message is the encoded fact that the session is going to log. Items of a stream wait until
there is space. A client's op is refused when its lane is full. Interrupts and answers have their
own lane. The message that closes an effect has a reserved place since the effect began.
"""

from collections import Counter, deque
from typing import Final, Literal

import attrs
import trio

from turnlog.protocol.envelope import EncodedEvent
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import Overloaded

Lane = Literal["item", "op", "urgent", "reserved"]

ITEM_CAPACITY: Final = 64
OP_CAPACITY: Final = 64
URGENT_CAPACITY: Final = 16


@attrs.define(eq=False)
class Slot:
    """A reserved place for one message. Using it never waits and never fails."""

    _mailbox: "Mailbox"
    _used: bool = False

    def send(self, message: EncodedEvent) -> None:
        """Put the message in. A second one is a defect of the caller.

        Raises:
            RuntimeError: the slot has been used, or given back.
        """
        if self._used:
            raise RuntimeError("this slot has been used")
        self._used = True
        self._mailbox.put("reserved", message)

    def give_back(self) -> None:
        """Give up the place: there is nothing to say."""
        self._used = True


@attrs.define(eq=False)
class Mailbox:
    """What waits to be handled by one actor, in the order in which it came."""

    item_capacity: int = ITEM_CAPACITY
    op_capacity: int = OP_CAPACITY
    urgent_capacity: int = URGENT_CAPACITY
    _queue: deque[tuple[Lane, EncodedEvent]] = attrs.field(
        factory=deque[tuple[Lane, EncodedEvent]], init=False
    )
    _waiting: Counter[Lane] = attrs.field(factory=Counter[Lane], init=False)
    _filled: trio.Event = attrs.field(factory=trio.Event, init=False)
    _room: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, lane: Lane, message: EncodedEvent) -> None:
        self._waiting[lane] += 1
        self._queue.append((lane, message))
        self._filled.set()

    def tell_op(self, message: EncodedEvent) -> None:
        """Leave a client's op.

        Raises:
            Overloaded: the clients' share is full; nothing was queued.
        """
        self._bounded("op", self.op_capacity, message)

    def tell_urgent(self, message: EncodedEvent) -> None:
        """Leave an interrupt, an answer or a shutdown, which ops cannot crowd out.

        Raises:
            Overloaded: even this lane is full.
        """
        self._bounded("urgent", self.urgent_capacity, message)

    def _bounded(self, lane: Lane, capacity: int, message: EncodedEvent) -> None:
        if self._waiting[lane] >= capacity:
            raise Overloaded(
                ErrorCode.OVERLOADED,
                f"{capacity} ops are waiting for this session already; try again.",
            )
        self.put(lane, message)

    async def send(self, message: EncodedEvent) -> None:
        """Leave an item of a stream, as soon as there is space."""
        while self._waiting["item"] >= self.item_capacity:
            await self._room.park()
        self.put("item", message)

    def reserve(self) -> Slot:
        """Return a place for the message that closes an effect."""
        return Slot(self)

    async def filled(self) -> None:
        """Wait until there is a message. Cancelling is safe: the message stays queued."""
        while not self._queue:
            self._filled = trio.Event()
            await self._filled.wait()

    def take(self) -> EncodedEvent:
        """Return the next message; there must be one."""
        lane, message = self._queue.popleft()
        self._waiting[lane] -= 1
        if lane == "item":
            self._room.unpark()
        return message

    def forget_work(self) -> None:
        """Drop the messages of tasks that have ended, now that the session starts again. Ops stay.

        The new life may give the names of their effects to other effects.
        """
        self._queue = deque(entry for entry in self._queue if entry[0] in ("op", "urgent"))
        self._waiting = Counter(lane for lane, _ in self._queue)
