"""Finding sessions: the recent ones, and the one whose id begins so."""

from itertools import islice

from turnlog.protocol.errors import AmbiguousSession, SessionNotFound
from turnlog.protocol.ids import SessionId
from turnlog.protocol.summary import SessionSummary
from turnlog.runtime.store.environment import Tables, Txn
from turnlog.runtime.store.keys import first_key, session_of
from turnlog.runtime.store.rows import decode_summary
from turnlog.runtime.store.rules import SHOWN_MATCHES

TIME_BYTES = 8


def recent(txn: Txn, tables: Tables, limit: int) -> list[SessionSummary]:
    """Return the sessions, the one with the newest turn first."""
    places = txn.cursor(db=tables.recent).iterprev(keys=True, values=False)
    found = (
        txn.get(place[TIME_BYTES:], db=tables.summaries) for place in islice(places, max(limit, 0))
    )
    return [decode_summary(value) for value in found if value]


def resolve(txn: Txn, tables: Tables, prefix: str) -> SessionId:
    """Return the one session whose id begins with `prefix`, in either case of letters."""
    wanted, matches = prefix.lower(), list[SessionId]()
    lowest = first_key(wanted)
    cursor = txn.cursor(db=tables.summaries)
    if lowest is not None and cursor.set_range(lowest):
        for key in cursor.iternext(keys=True, values=False):
            session = session_of(key)
            if len(matches) == SHOWN_MATCHES or not session.startswith(wanted):
                break
            matches.append(session)
    if not matches:
        raise SessionNotFound(prefix)
    if len(matches) > 1:
        raise AmbiguousSession(prefix, [*matches])
    return matches[0]
