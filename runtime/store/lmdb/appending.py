"""One append inside a transaction: events, blobs, the row, its indexes, the inbox. All or none."""

import time

import msgspec

from turnlog.actors.ports import Batch, Fate, Refused, Stored
from turnlog.protocol.errors import NotFound, StoreError
from turnlog.protocol.ids import SessionId
from turnlog.protocol.summary import SessionSummary
from turnlog.runtime.store.blobs import pack
from turnlog.runtime.store.contract import follow_on, placed
from turnlog.runtime.store.lmdb.keys import (
    SESSION_BYTES,
    event_key,
    inbox_key,
    recent_key,
    session_key,
)
from turnlog.runtime.store.lmdb.reading import find_row
from turnlog.runtime.store.lmdb.rows import decode_summary, encode, recent_place
from turnlog.runtime.store.lmdb.transactions import Txn
from turnlog.runtime.store.lmdb.views import Tables

Packed = dict[bytes, bytes]  # digest -> stored form: kept while a transaction is repeated


def append_batch(
    txn: Txn,
    tables: Tables,
    engine: bytes,
    session: SessionId,
    batch: Batch,
    *,
    fence: int,
    packed: Packed,
) -> Fate:
    """Write `batch`, or return why it is refused, with nothing written."""
    try:
        row = find_row(txn, tables, session)
    except (NotFound, StoreError) as error:
        return Refused(str(error))
    key = session_key(session)
    if row.engine != engine or row.fence != fence:
        return Refused(f"fence {fence} has been overtaken: the newest is {row.fence}")
    if row.damaged_at:
        return Refused(f"the session is in quarantine: {row.damage}")
    head = follow_on(row.head, session, batch)
    if isinstance(head, str):
        return Refused(head)
    if not _put_events(txn, tables, key, batch):
        return Refused(f"there are events after the head, {row.sequence}. Run `turnlog doctor`")
    for record in batch.records:
        for digest, content in record.blobs.items():
            _put_blob(txn, tables, digest, content, packed)
    row = msgspec.structs.replace(
        row, sequence=head.sequence, digest=head.digest, time_us=head.time_us
    )
    txn.put(key, encode(row), db=tables.sessions)
    if batch.summary:
        put_summary(txn, tables, key, _placed(txn, tables, key, batch.summary))
    for op_id in batch.done_ops:
        txn.delete(inbox_key(key, op_id), db=tables.inbox)
    return Stored()


def _placed(txn: Txn, tables: Tables, key: bytes, summary: SessionSummary) -> SessionSummary:
    """Return a summary with its place among the recent ones."""
    try:
        before = decode_summary(txn.get(key, b"", db=tables.summaries))
    except msgspec.MsgspecError:
        before = SessionSummary(summary.session)
    places = txn.cursor(db=tables.recent).iterprev(keys=True, values=False)
    others = (place for place in places if not place.endswith(key))
    newest = next(others, b"")[:-SESSION_BYTES]
    return placed(summary, before, int.from_bytes(newest), time.time_ns() // 1000)


def put_summary(txn: Txn, tables: Tables, key: bytes, summary: SessionSummary) -> None:
    """Write a session's summary, and its place among the recent ones where that changed."""
    value = txn.get(key, db=tables.summaries)
    old = _recent_places(txn, tables, key, value) if value else []
    new = recent_key(summary.place, key)
    txn.put(key, encode(summary), db=tables.summaries)
    if old != [new]:
        for place in old:
            txn.delete(place, db=tables.recent)
        txn.put(new, b"", db=tables.recent)


def drop_summary(txn: Txn, tables: Tables, key: bytes) -> None:
    """Take a session out of the lists."""
    value = txn.pop(key, db=tables.summaries)
    if value:
        for place in _recent_places(txn, tables, key, value):
            txn.delete(place, db=tables.recent)


def _recent_places(txn: Txn, tables: Tables, key: bytes, summary: bytes) -> list[bytes]:
    """Return where a session is among the recent ones: looked for if its summary cannot tell."""
    place = recent_place(key, summary)
    if place is not None:
        return [place]
    places = txn.cursor(db=tables.recent).iternext(keys=True, values=False)
    return [place for place in places if place.endswith(key)]


def _put_events(txn: Txn, tables: Tables, key: bytes, batch: Batch) -> bool:
    """Write the events, never over another. Return False, with none written, if one exists."""
    for number, record in enumerate(batch.records):
        stored = record.digest + record.data
        if not txn.put(event_key(key, record.sequence), stored, overwrite=False, db=tables.events):
            for undone in batch.records[:number]:
                txn.delete(event_key(key, undone.sequence), db=tables.events)
            return False
    return True


def _put_blob(txn: Txn, tables: Tables, digest: bytes, content: bytes, packed: Packed) -> None:
    txn.check(tables.blobs, digest)
    if txn.cursor(db=tables.blobs).set_key(digest):
        return
    stored = packed.get(digest)
    if stored is None:
        stored = packed[digest] = pack(content)
    txn.put(digest, stored, overwrite=False, db=tables.blobs)
