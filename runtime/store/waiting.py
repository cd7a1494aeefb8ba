"""What tasks wait for: an append's fate, space in the queue, a session's next event.

Everything here belongs to the trio thread. None of it waits unless it is awaited.
"""

from typing import Final

import attrs
import trio

from turnlog.actors.ports import Batch, Fate
from turnlog.protocol.ids import SessionId

QUEUE_BYTES: Final = 16 << 20  # appends on their way to the disk, before `room` waits


def weight(batch: Batch) -> int:
    """Return what a batch weighs in the queue, in bytes."""
    return 512 + sum(
        64 + len(record.data) + sum(map(len, record.blobs.values())) for record in batch.records
    )


@attrs.define(eq=False)
class PendingTicket:
    """The fate of one append. The store sets it once, in the order of the appends."""

    fate: Fate | None = None
    _known: trio.Event | None = None  # made by the first task that waits

    async def settled(self) -> Fate:
        """Wait for the fate. Any number of tasks may wait, at any time."""
        if self.fate is None:
            if self._known is None:
                self._known = trio.Event()
            await self._known.wait()
        else:
            await trio.lowlevel.checkpoint()
        assert self.fate is not None  # `settle` sets it before it wakes anybody
        return self.fate

    def settle(self, fate: Fate) -> None:
        """Set the fate, and wake every task that waits for it."""
        self.fate = fate
        if self._known is not None:
            self._known.set()


@attrs.define(eq=False)
class Backpressure:
    """How many bytes are queued. An append is always taken; a producer slows down in `wait`."""

    limit: int = QUEUE_BYTES
    queued: int = 0
    _free: trio.Event | None = None

    @property
    def is_full(self) -> bool:
        """Whether a producer has to wait."""
        return self.queued >= self.limit

    async def wait(self) -> None:
        """Wait while it is full. No checkpoint if it is not."""
        while self.is_full:
            if self._free is None:
                self._free = trio.Event()
            await self._free.wait()

    def take(self, size: int) -> None:
        """Count `size` bytes that were queued."""
        self.queued += size

    def give_back(self, size: int) -> None:
        """Count `size` bytes that have left the queue, and wake who waits if it is not full."""
        self.queued -= size
        if self._free is not None and not self.is_full:
            self._free.set()
            self._free = None


@attrs.define(eq=False)
class Notifier:
    """Wakes the followers of a session. Ask for the event first, then read, then wait for it."""

    _events: dict[SessionId, trio.Event] = attrs.field(factory=dict[SessionId, trio.Event])

    def next(self, session: SessionId) -> trio.Event:
        """Return the event that the session's next `notify` sets."""
        if session not in self._events:
            self._events[session] = trio.Event()
        return self._events[session]

    def notify(self, session: SessionId) -> None:
        """Wake the followers of `session`."""
        event = self._events.pop(session, None)
        if event is not None:
            event.set()

    def notify_all(self) -> None:
        """Wake all followers."""
        for session in list(self._events):
            self.notify(session)
