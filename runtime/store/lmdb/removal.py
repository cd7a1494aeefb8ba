"""Deleting sessions. Events that a fork refers to stay until the last such fork is gone.

A deleted session leaves the lists at once. Its row stays, marked, while forks refer to it or
while its events are removed, some at a time; every state on the way is a whole store.
"""

from typing import Final

import msgspec

from turnlog.protocol.errors import StoreError
from turnlog.protocol.ids import SessionId
from turnlog.runtime.store.lmdb.appending import drop_summary
from turnlog.runtime.store.lmdb.claims import require_free
from turnlog.runtime.store.lmdb.keys import child_key, event_key, session_key
from turnlog.runtime.store.lmdb.lease import Lease
from turnlog.runtime.store.lmdb.rows import encode, row_of
from turnlog.runtime.store.lmdb.transactions import Txn, keys_under
from turnlog.runtime.store.lmdb.views import Tables

EVENTS_AT_ONCE: Final = 4096  # removed in one transaction


def delete(txn: Txn, tables: Tables, lease: Lease, session: SessionId) -> bytes:
    """Remove a session from all lists; return the key with which `trim` continues."""
    row = require_free(txn, tables, lease, session)
    key = session_key(session)
    txn.check_range(tables.snapshots, event_key(key, 0), event_key(key, row.sequence))
    txn.put(key, encode(msgspec.structs.replace(row, deleted=True, engine=b"")), db=tables.sessions)
    drop_summary(txn, tables, key)
    for table in (tables.snapshots, tables.inbox):
        for place in keys_under(txn, table, key):
            txn.delete(place, db=table)
    return key


def trim(txn: Txn, tables: Tables, key: bytes) -> bytes | None:
    """Remove some of what nothing refers to any more; return the key to continue with.

    Continues from a deleted session to its base if that was deleted, too. None: all is done.
    """
    value = txn.get(key, db=tables.sessions)
    if value is None:
        return None
    try:
        row = row_of(key, value)
    except StoreError:
        return None  # a base that may be in use: the doctor reports it
    if not row.deleted:
        return None
    keep = max(_largest_cut(txn, tables, key), row.cut)
    low = max(keep, row.sequence - EVENTS_AT_ONCE)
    txn.check_range(tables.events, event_key(key, low + 1), event_key(key, row.sequence))
    for sequence in range(row.sequence, low, -1):
        txn.delete(event_key(key, sequence), db=tables.events)
    if low > row.cut:
        if low < row.sequence:
            txn.put(key, encode(msgspec.structs.replace(row, sequence=low)), db=tables.sessions)
        return key if low > keep else None
    txn.delete(key, db=tables.sessions)
    if not row.base:
        return None
    txn.delete(child_key(row.base, key), db=tables.children)
    return row.base


def _largest_cut(txn: Txn, tables: Tables, key: bytes) -> int:
    cursor, largest = txn.cursor(db=tables.children), 0
    if cursor.set_range(key):
        for place, cut in cursor.iternext():
            if not place.startswith(key):
                break
            largest = max(largest, int.from_bytes(cut))
    return largest
