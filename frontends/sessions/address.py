"""Which session the user means: by its id, a part of its id, its name, or its place."""

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Final

from turnlog.actors.ports import EventLog
from turnlog.frontends.sessions.store import reading
from turnlog.protocol.errors import NotFound, ambiguous_session, session_not_found
from turnlog.protocol.ids import SessionId
from turnlog.protocol.summary import SessionSummary
from turnlog.replay.views.text import one_line

_MANY: Final = 100_000  # sessions that are looked through
_ID_LENGTH: Final = 36  # characters of a whole id
_SHORT: Final = 8  # characters of an id that a list shows
_LAST_GROUP: Final = 12  # characters after the last hyphen of an id
_SHORTEST_END: Final = 4  # characters: with fewer, a beginning would seldom be unique
_TITLE_WIDTH: Final = 60
_PLACE: Final = re.compile("@(?:last|([1-9][0-9]{0,8}))")


async def find_session(log: EventLog, wanted: str) -> SessionId:
    """Return the session that the user means.

    Args:
        wanted: a whole id; the beginning or the end of one, if no other id has it; a session's
            name; or a place in the list of `turnlog sessions`: `@1` or `@last` is the first, `@2`
            the next.
            A text that fits two sessions is never decided for the user.

    Raises:
        NotFound: no session fits.
        UsageError: several do.
    """
    if len(wanted) == _ID_LENGTH and wanted.count("-") == 4:
        return await _whole_id(log, wanted)
    summaries = await log.sessions(limit=_MANY)
    if place := _PLACE.fullmatch(wanted):
        return _at_place(wanted, int(place[1] or 1), summaries)
    found = [one for one in summaries if _fits(one, wanted)]
    if len(found) > 1:
        raise ambiguous_session(wanted, [_described(one) for one in found])
    if found:
        return found[0].session
    if not wanted:
        raise session_not_found(wanted)
    return await log.resolve(wanted)  # it may have no event yet


async def find_stored(wanted: str) -> SessionId:
    """Return the session that the user means, out of the store, which is only read.

    Raises:
        NotFound, UsageError
        StoreError, StoreTooNew: the store cannot be opened.
    """
    async with reading(wanted) as log:
        return await find_session(log, wanted)


def short_length(sessions: Iterable[SessionId]) -> int:
    """Return how many characters at the end of an id tell all of these apart.

    Ids begin with the time, so those of one day begin alike. Their ends are random.
    """
    length = _SHORT
    for one, other in pairwise(sorted(session[::-1] for session in set(sessions))):
        while length < len(other) and one[:length] == other[:length]:
            length += 1
    return length + 1 if length == _LAST_GROUP + 1 else length  # not a hyphen first


def is_listed(summary: SessionSummary) -> bool:
    """Say whether `turnlog sessions` lists a session without `--all`."""
    return not (summary.archived or summary.spawned_by)


async def _whole_id(log: EventLog, wanted: str) -> SessionId:
    try:
        return await log.resolve(wanted)
    except NotFound:
        for summary in await log.sessions(limit=_MANY):
            if summary.name == wanted:
                return summary.session
        raise


def _at_place(wanted: str, place: int, summaries: list[SessionSummary]) -> SessionId:
    listed = [one.session for one in summaries if is_listed(one)]
    if place > len(listed):
        raise session_not_found(wanted)
    return listed[place - 1]


def _fits(summary: SessionSummary, wanted: str) -> bool:
    part = wanted.lower()
    return bool(wanted) and (
        summary.name == wanted
        or summary.session.startswith(part)
        or (len(part) >= _SHORTEST_END and summary.session.endswith(part))
    )


def _described(summary: SessionSummary) -> str:
    title = one_line(summary.name or summary.title, _TITLE_WIDTH)
    return f"{summary.session}  {title}".rstrip()
