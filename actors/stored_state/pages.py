"""A session's events out of a log, page by page."""

from typing import Final

import attrs

from turnlog.actors.ports import EventLog
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.errors import LogDamaged
from turnlog.protocol.ids import SessionId

READ_AT_ONCE: Final = 1000  # events


@attrs.define(eq=False)
class Pages:
    """An iterator over pages of at least one event, in order. It may be dropped at any time.

    Args:
        after: sequence of the event after which it begins.
        until: sequence of the last event. None: it ends once a read finds no further event.
        at_once: events on one page, at most 10,000.
    """

    log: EventLog
    session: SessionId
    after: int = attrs.field(default=0, kw_only=True)
    until: int | None = attrs.field(default=None, kw_only=True)
    at_once: int = attrs.field(default=READ_AT_ONCE, kw_only=True)
    _damage: LogDamaged | None = attrs.field(default=None, init=False)

    def __aiter__(self) -> "Pages":
        return self

    async def __anext__(self) -> list[Recorded]:
        """Return the next page.

        Raises:
            NotFound: there is no such session.
            LogDamaged: the next event cannot be read. All events before it came first.
        """
        if self.until is not None and self.after >= self.until:
            raise self._damage or StopAsyncIteration
        try:
            page = await self._read()
        except LogDamaged as damage:
            self._damage, self.until = damage, damage.sequence - 1
            return await self.__anext__()
        if not page:
            raise self._damage or StopAsyncIteration
        self.after = page[-1].sequence
        return page

    async def _read(self) -> list[Recorded]:
        return await self.log.read(
            self.session, after=self.after, until=self.until, limit=self.at_once
        )


async def read_whole(log: EventLog, session: SessionId) -> list[Recorded]:
    """Return all events of a session, from the first one.

    Raises:
        NotFound: there is no such session.
        LogDamaged: one of them cannot be read.
    """
    return [recorded async for page in Pages(log, session) for recorded in page]
