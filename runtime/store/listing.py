"""Finding sessions: the recent ones, and the one whose id begins so."""

from itertools import islice

from turnlog.protocol.errors import AmbiguousSession, SessionNotFound, StoreError
from turnlog.protocol.ids import SessionId
from turnlog.protocol.summary import SessionSummary
from turnlog.runtime.store.environment import Tables, Txn
from turnlog.runtime.store.keys import first_key, session_of
from turnlog.runtime.store.rows import summary_of
from turnlog.runtime.store.rules import SHOWN_MATCHES

TIME_BYTES = 8


def recent(txn: Txn, tables: Tables, limit: int) -> list[SessionSummary]:
    """Return the sessions, the one with the newest turn first."""
    places = txn.cursor(db=tables.recent).iterprev(keys=True, values=False)
    keys = (place[TIME_BYTES:] for place in islice(places, max(limit, 0)))
    found = ((key, txn.get(key, db=tables.summaries)) for key in keys)
    return [_readable(key, value) for key, value in found if value]


def _readable(key: bytes, value: bytes) -> SessionSummary:
    """Return a session's summary; an empty one if damage has taken it."""
    try:
        return summary_of(key, value)
    except StoreError:
        return SessionSummary(session_of(key))


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
