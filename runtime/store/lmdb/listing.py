"""Finding sessions: the recent ones, and the one whose id has a given beginning."""

from collections.abc import Iterator
from itertools import islice

from turnlog.protocol.errors import StoreError, ambiguous_session, session_not_found
from turnlog.protocol.ids import SessionId
from turnlog.protocol.summary import SessionSummary
from turnlog.runtime.store.contract import SHOWN_MATCHES
from turnlog.runtime.store.lmdb.keys import first_key, session_of
from turnlog.runtime.store.lmdb.rows import row_of, summary_of
from turnlog.runtime.store.lmdb.views import Tables, View

TIME_BYTES = 8


def recent(txn: View, tables: Tables, limit: int) -> list[SessionSummary]:
    """Return the sessions that have begun, the one with the newest turn first."""
    places = txn.cursor(db=tables.recent).iterprev(keys=True, values=False)
    return list(islice(_summaries(txn, tables, places), max(limit, 0)))


def _summaries(txn: View, tables: Tables, places: Iterator[bytes]) -> Iterator[SessionSummary]:
    for place in places:
        key = place[TIME_BYTES:]
        if (value := txn.get(key, db=tables.summaries)) is None:
            continue
        try:
            summary = summary_of(key, value)
        except StoreError:  # damage has taken it
            yield SessionSummary(session_of(key))
            continue
        if summary.created_us or _has_begun(txn, tables, key):
            yield summary


def _has_begun(txn: View, tables: Tables, key: bytes) -> bool:
    """Say whether a session has an event: its engine may have gone away before its first."""
    row = txn.get(key, db=tables.sessions)
    try:
        return row is None or row_of(key, row).sequence > 0
    except StoreError:
        return True


def resolve(txn: View, tables: Tables, prefix: str) -> SessionId:
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
        raise session_not_found(prefix)
    if len(matches) > 1:
        raise ambiguous_session(prefix, [*matches])
    return matches[0]
