"""The hub: publishes a session's events and notices to those who watch.

A subscriber never makes the session wait and never makes it grow. One that is too slow loses
notices, is told how many, and reads the events that it missed from the log.
"""

from collections import deque
from typing import Final

import attrs
import trio

from turnlog.actors.ports import EventLog
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.ids import SessionId
from turnlog.protocol.notices import Publication, SubscriberLagged

SUBSCRIBER_CAPACITY: Final = 256  # publications


@attrs.define(eq=False)
class Subscription:
    """A subscriber's view: every event once, in order, and the notices it kept up with."""

    _hub: "Hub"
    last: int  # sequence of the last event that was handed out
    _capacity: int = SUBSCRIBER_CAPACITY
    _buffer: deque[Publication] = attrs.field(factory=deque[Publication], init=False)
    _lags: bool = attrs.field(init=False)  # the log knows more than the buffer
    _missed: int = attrs.field(default=0, init=False)
    _news: trio.Event = attrs.field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self._lags = self.last < self._hub.published

    def offer(self, publication: Publication) -> None:
        """Take a publication; once the buffer is full, drop it and count notices."""
        if self._lags or len(self._buffer) >= self._capacity:
            self._lags = True
            self._missed += not isinstance(publication, Recorded)
        else:
            self._buffer.append(publication)
        self._news.set()

    def wake(self) -> None:
        """Let a reader look again."""
        self._news.set()

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> Publication:
        """Return the next publication, until the session is closed and all are handed out."""
        while not self._buffer:
            if self._lags:
                await self._catch_up()
            elif self._hub.closed:
                raise StopAsyncIteration
            else:
                self._news = trio.Event()
                await self._news.wait()
        publication = self._buffer.popleft()
        if isinstance(publication, Recorded):
            self.last = publication.sequence
        return publication

    async def _catch_up(self) -> None:
        """Read a page of the log, after all that was handed out. At its end, offers count again."""
        if self.last < self._hub.published:
            self._buffer += await self._hub.log.read(
                self._hub.session,
                after=self.last,
                until=self._hub.published,
                limit=self._capacity,
            )
            return
        self._lags = False
        if self._missed:
            self._buffer.append(SubscriberLagged(self._missed))
            self._missed = 0


@attrs.define(eq=False)
class Hub:
    """Where a session publishes. It is kept when the session's actor starts again."""

    log: EventLog
    session: SessionId
    published: int = 0  # sequence of the last event that was published
    _ended: trio.Event = attrs.field(factory=trio.Event, init=False)
    _subscriptions: set[Subscription] = attrs.field(factory=set[Subscription], init=False)

    def subscribe(self, *, after: int, capacity: int = SUBSCRIBER_CAPACITY) -> Subscription:
        """Return a subscription to the events after `after`, stored ones first."""
        subscription = Subscription(self, after, capacity)
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Forget a subscription."""
        self._subscriptions.discard(subscription)

    def publish(self, publication: Publication) -> None:
        """Show an event that is on disk, or a notice whose turn it is."""
        if isinstance(publication, Recorded):
            self.published = publication.sequence
        for subscription in self._subscriptions:
            subscription.offer(publication)

    @property
    def closed(self) -> bool:
        return self._ended.is_set()

    async def ended(self) -> None:
        """Wait until the session is closed, and everything of it is written."""
        await self._ended.wait()

    def close(self) -> None:
        """End every subscription, once it has handed out what there is."""
        self._ended.set()
        for subscription in self._subscriptions:
            subscription.wake()
