"""Following a session: what is there, then each new event, whichever process writes it."""

from collections import deque
from collections.abc import Awaitable, Callable

import attrs
import trio

from turnlog.protocol.envelope import Recorded
from turnlog.protocol.errors import LogDamaged
from turnlog.protocol.ids import SessionId
from turnlog.runtime.store.waiting import Notifier

Page = tuple[list[Recorded], LogDamaged | None]


@attrs.define(eq=False)
class Follower:
    """An iterator without an end. It may be dropped at any time, and continues after a cancel."""

    session: SessionId
    after: int
    _notifier: Notifier
    _read: Callable[[SessionId, int], Awaitable[Page]]
    _patience: Callable[[SessionId], float]  # seconds without news, before it looks again
    _events: deque[Recorded] = attrs.field(factory=deque[Recorded])
    _damage: LogDamaged | None = None

    def __aiter__(self) -> "Follower":
        return self

    async def __anext__(self) -> Recorded:
        """Wait for the next event.

        Raises:
            NotFound: the session was deleted.
            LogDamaged: the next event cannot be read.
        """
        while not self._events:
            if self._damage is not None:
                raise self._damage
            news = self._notifier.next(self.session)
            events, self._damage = await self._read(self.session, self.after)
            self._events.extend(events)
            if not events and self._damage is None:
                with trio.move_on_after(self._patience(self.session)):
                    await news.wait()
        event = self._events.popleft()
        self.after = event.sequence
        return event
