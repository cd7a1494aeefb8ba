"""Ops that any process may leave for a session's writer, now or later."""

import msgspec

from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import StoreError
from turnlog.protocol.ids import SessionId
from turnlog.protocol.ops import Submission
from turnlog.runtime.store.lmdb.keys import inbox_end, inbox_key, session_key, session_of
from turnlog.runtime.store.lmdb.reading import find_row
from turnlog.runtime.store.lmdb.rows import InboxRow, decode_inbox, encode
from turnlog.runtime.store.lmdb.transactions import Txn
from turnlog.runtime.store.lmdb.views import Tables, View


def leave(txn: Txn, tables: Tables, session: SessionId, submission: Submission) -> None:
    """Add `submission` to the end of the inbox, unless its op id is there already."""
    find_row(txn, tables, session)
    last = max((row.arrival for row in _rows(txn, tables, session)), default=0)
    place = inbox_key(session_key(session), submission.op_id)
    txn.put(place, encode(InboxRow(last + 1, submission)), overwrite=False, db=tables.inbox)


def submissions(txn: View, tables: Tables, session: SessionId) -> list[Submission]:
    """Return what is in the inbox, oldest first."""
    find_row(txn, tables, session)
    rows = sorted(_rows(txn, tables, session), key=lambda row: row.arrival)
    return [row.submission for row in rows]


def waiting(txn: View, tables: Tables) -> list[SessionId]:
    """Return the sessions whose inbox is not empty. Costs one look-up for each, and one more."""
    found = list[SessionId]()
    cursor = txn.cursor(db=tables.inbox)
    there = cursor.first()
    while there:
        key = bytes(cursor.key())
        found.append(session_of(key))
        there = cursor.set_range(inbox_end(key))
    return found


def _rows(txn: View, tables: Tables, session: SessionId) -> list[InboxRow]:
    key, rows = session_key(session), list[InboxRow]()
    cursor = txn.cursor(db=tables.inbox)
    if not cursor.set_range(key):
        return rows
    for place, value in cursor.iternext():
        if not place.startswith(key):
            break
        try:
            rows.append(decode_inbox(value))
        except msgspec.MsgspecError as error:
            raise StoreError(
                ErrorCode.STORE_ERROR,
                f"an op in the inbox of session {session} cannot be read: {error}. "
                "`turnlog doctor` explains it.",
            ) from error
    return rows
