"""Which session the user means: by its id, the beginning of its id, its name, or its place."""

import re
from typing import Final

from turnlog.actors.ports import EventLog
from turnlog.frontends.sessions.store import reading
from turnlog.protocol.errors import AmbiguousSession, SessionNotFound
from turnlog.protocol.ids import SessionId
from turnlog.protocol.summary import SessionSummary
from turnlog.replay.views.text import one_line

_MANY: Final = 100_000  # sessions that are looked through
_ID_LENGTH: Final = 36  # characters of a whole id
_TITLE_WIDTH: Final = 60
_PLACE: Final = re.compile("@(?:last|([1-9][0-9]{0,8}))")


async def find_session(log: EventLog, wanted: str) -> SessionId:
    """Return the session that the user means.

    Args:
        wanted: a whole id; the beginning of one that no other id has; a session's name; or a
            place in the list of `turnlog sessions`: `@1` or `@last` is the first, `@2` the next.
            A text that fits two sessions is never decided for the user.

    Raises:
        SessionNotFound: no session fits.
        AmbiguousSession: several do.
    """
    if len(wanted) == _ID_LENGTH and wanted.count("-") == 4:
        return await _whole_id(log, wanted)
    summaries = await log.sessions(limit=_MANY)
    if place := _PLACE.fullmatch(wanted):
        return _at_place(wanted, int(place[1] or 1), summaries)
    found = [one for one in summaries if _fits(one, wanted)]
    if len(found) > 1:
        raise AmbiguousSession(
            wanted, [one.session for one in found], [_described(one) for one in found]
        )
    if found:
        return found[0].session
    if not wanted:
        raise SessionNotFound(wanted)
    return await log.resolve(wanted)  # it may have no event yet


async def find_stored(wanted: str) -> SessionId:
    """Return the session that the user means, out of the store, which is only read.

    Raises:
        SessionNotFound, AmbiguousSession
        StoreUnsuitable, SchemaTooNew: the store cannot be opened.
    """
    async with reading(wanted) as log:
        return await find_session(log, wanted)


def is_listed(summary: SessionSummary) -> bool:
    """Say whether `turnlog sessions` lists a session without `--all`."""
    return not (summary.archived or summary.spawned_by)


async def _whole_id(log: EventLog, wanted: str) -> SessionId:
    try:
        return await log.resolve(wanted)
    except SessionNotFound:
        for summary in await log.sessions(limit=_MANY):
            if summary.name == wanted:
                return summary.session
        raise


def _at_place(wanted: str, place: int, summaries: list[SessionSummary]) -> SessionId:
    listed = [one.session for one in summaries if is_listed(one)]
    if place > len(listed):
        raise SessionNotFound(wanted)
    return listed[place - 1]


def _fits(summary: SessionSummary, wanted: str) -> bool:
    return bool(wanted) and (summary.name == wanted or summary.session.startswith(wanted.lower()))


def _described(summary: SessionSummary) -> str:
    title = one_line(summary.name or summary.title, _TITLE_WIDTH)
    return f"{summary.session}  {title}".rstrip()
