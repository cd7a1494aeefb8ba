"""The outbox: what a step leads to, held back until the step is on disk.

The session continues at once. Here its publications, effects and replies wait for the tickets,
and leave in order. "Log before publish" and "log before effect" are ensured in this one place.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import attrs
import trio

from turnlog.actors.ports import Refused, Stored, Ticket, Unknown
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.notices import Notice, Publication, SubscriberLagged

NOTICE_CAPACITY: Final = 1024  # notices that wait for a slow disk; more are dropped


@attrs.frozen
class Release:
    """One step's consequences."""

    ticket: Ticket
    events: Sequence[Recorded]
    then: Sequence[Callable[[], None]]  # effects to start, replies to give


@attrs.define(eq=False)
class Outbox:
    """Lets steps out, in order, as the disk confirms them."""

    publish: Callable[[Publication], None]
    _queue: deque[Release | Notice] = attrs.field(factory=deque[Release | Notice], init=False)
    _notices: int = attrs.field(default=0, init=False)
    _dropped: int = attrs.field(default=0, init=False)
    _filled: trio.Event = attrs.field(factory=trio.Event, init=False)
    _emptied: trio.Event = attrs.field(factory=trio.Event, init=False)

    def release(self, release: Release) -> None:
        """Queue a step. Never waits."""
        self._queue.append(release)
        self._filled.set()

    def notice(self, notice: Notice) -> None:
        """Show a notice, after the events that came before it.

        Never waits. On a slow disk it may be dropped, and all subscribers are told so.
        """
        if not self._queue:
            self.publish(notice)
        elif self._notices < NOTICE_CAPACITY:
            self._notices += 1
            self._queue.append(notice)
        else:
            self._dropped += 1

    async def run(self) -> Refused | Unknown:
        """Let out what is queued, for ever, or until a step is known not to be stored.

        Returns:
            The fate that ended it. Nothing after that step was let out.
        """
        while True:
            while self._queue:
                head = self._queue[0]
                if isinstance(head, Release):
                    fate = head.ticket.fate or await head.ticket.settled()
                    if not isinstance(fate, Stored):
                        return fate
                    for recorded in head.events:
                        self.publish(recorded)
                    for action in head.then:
                        action()
                else:
                    self._notices -= 1
                    self.publish(head)
                self._queue.popleft()
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                self.publish(SubscriberLagged(dropped))
            self._emptied.set()
            self._filled = trio.Event()
            await self._filled.wait()

    async def drained(self) -> None:
        """Wait until everything that was queued has left."""
        while self._queue:
            self._emptied = trio.Event()
            await self._emptied.wait()
