"""Index snapshots of each session, and the single events that one refers to.

Near the head there are many, and fewer and fewer further back. So a fork at an old event need not
be folded from the first event.

A snapshot is a cache. Nobody waits until it is stored. One that does not fit the log is not stored,
not returned, or dropped by a repair.
"""

from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import Struct

from turnlog.actors.ports import StoredSnapshot
from turnlog.protocol.envelope import GENESIS, Digest, Recorded
from turnlog.protocol.errors import StoreError, event_not_found
from turnlog.protocol.ids import SessionId
from turnlog.runtime.store.contract import surplus_snapshots
from turnlog.runtime.store.lmdb.ancestry import Ancestries, event_value
from turnlog.runtime.store.lmdb.keys import (
    SESSION_BYTES,
    event_key,
    sequence_of,
    session_key,
)
from turnlog.runtime.store.lmdb.reading import Damage, Reader, Scan, find_row
from turnlog.runtime.store.lmdb.rows import DIGEST_BYTES, SessionRow, encode, row_of
from turnlog.runtime.store.lmdb.transactions import Txn, keys_under
from turnlog.runtime.store.lmdb.views import Tables, View


class SnapshotRow(Struct, frozen=True, array_like=True, gc=False):
    """A session's snapshot. Fields are only appended."""

    sequence: int
    digest: Digest  # of that event
    data: bytes


_decode: Final = msgspec.msgpack.Decoder(SnapshotRow).decode


def save(
    txn: Txn, tables: Tables, engine: bytes, session: SessionId, new: StoredSnapshot, fence: int
) -> None:
    """Store a snapshot, if its writer holds the session and it fits the log; drop surplus ones.

    Raises:
        NotFound: there is no such session. Nothing is written.
    """
    row, key = find_row(txn, tables, session), session_key(session)
    if (row.engine, row.fence) == (engine, fence) and _fits(txn, tables, key, row, new):
        txn.check_range(tables.snapshots, event_key(key, 0), event_key(key, new.sequence))
        stored = SnapshotRow(new.sequence, new.digest, new.data)
        txn.put(event_key(key, new.sequence), encode(stored), db=tables.snapshots)
        kept = (sequence_of(place) for place in keys_under(txn, tables.snapshots, key))
        for sequence in surplus_snapshots(kept):
            txn.delete(event_key(key, sequence), db=tables.snapshots)


def newest(
    txn: View, tables: Tables, session: SessionId, until: int | None = None
) -> StoredSnapshot | None:
    """Return the newest snapshot at or before `until`.

    A fork without one gets its nearest ancestor's newest snapshot at or before the cut.

    Raises:
        NotFound: there is no such session.
        StoreError: its row, or an ancestor's, cannot be decoded.
    """
    row, key = find_row(txn, tables, session), session_key(session)
    last = row.sequence if until is None else min(until, row.sequence)
    while True:
        found = _read(_last_value(txn, tables, key, last))
        if found is not None and found.sequence <= last:
            return StoredSnapshot(found.sequence, found.digest, found.data)
        if not row.base:
            return None
        key, last = row.base, min(last, row.cut)
        value = txn.get(key, db=tables.sessions)
        if value is None:
            return None
        row = row_of(key, value)


def _last_value(txn: View, tables: Tables, key: bytes, last: int) -> bytes:
    """Return the value of a session's last snapshot up to event `last`; nothing without one."""
    cursor = txn.cursor(db=tables.snapshots)
    is_before = cursor.prev() if cursor.set_range(event_key(key, last + 1)) else cursor.last()
    place, value = cursor.item() if is_before else (b"", b"")
    return value if place.startswith(key) else b""


def flaw(txn: View, tables: Tables, key: bytes) -> str | None:
    """Return what is wrong with the snapshot that is stored under `key`, if there is one."""
    stored = txn.get(key, db=tables.snapshots)
    if stored is None:
        return None
    session = key[:SESSION_BYTES]
    found = _read(stored)
    try:
        row = row_of(session, txn.get(session, b"", db=tables.sessions))
        fits = found is not None and _fits(txn, tables, session, row, found)
    except StoreError:
        return "there is a snapshot, and no session that it can be compared with"
    if row.deleted:
        return "there is a snapshot, and no session"
    if found is None:
        return "its snapshot cannot be decoded"
    if found.sequence != sequence_of(key) or not fits:
        return f"its snapshot is not of event {found.sequence}"
    return None


def drop_flawed(txn: Txn, tables: Tables) -> None:
    """Remove the snapshots that do not fit the log."""
    keys = list(txn.cursor(db=tables.snapshots).iternext(keys=True, values=False))
    for key in keys:
        if flaw(txn, tables, key) is not None:
            txn.delete(key, db=tables.snapshots)


def _read(value: bytes) -> SnapshotRow | None:
    try:
        return _decode(value)
    except msgspec.MsgspecError:
        return None


def _fits(
    txn: View, tables: Tables, key: bytes, row: SessionRow, one: StoredSnapshot | SnapshotRow
) -> bool:
    if not 1 <= one.sequence <= row.sequence:
        return False
    event = event_value(txn, tables, key, row, one.sequence)
    return event is not None and event[:DIGEST_BYTES] == one.digest


# --- single events ----------------------------------------------------------------------------


def read_at(
    reader: Reader, session: SessionId, sequences: Iterable[int]
) -> tuple[list[Recorded], Damage | None]:
    """Return these events of a session, each checked against the one before it in the chain.

    Returns:
        The events in the order of `sequences`, and what stopped the reading early.

    Raises:
        NotFound: there is no such session.
        NotFound: it has no such event.
    """
    tables, events = reader.environment.tables, list[Recorded]()

    def look(txn: View) -> Damage | None:
        events.clear()
        row = find_row(txn, tables, session)
        own = session_key(session)
        place = _Places(txn, tables, own, row, reader.ancestries)
        scan = Scan(txn, tables, events, 0, None)
        for sequence in sequences:
            if not 1 <= sequence <= row.sequence:
                raise event_not_found(sequence, row.sequence)
            if scan.after != sequence - 1 or scan.previous is None:
                scan.after, scan.previous = sequence - 1, place.digest(sequence - 1)
            value = place.value(sequence)
            why = "it is missing" if value is None else scan.take_value(value)
            if why:
                return Damage(sequence, why)
        return None

    damage = reader.environment.read(look)
    return events, damage


class _Places:
    """Where the events of one session lie, within one transaction."""

    def __init__(
        self, txn: View, tables: Tables, own: bytes, row: SessionRow, ancestries: Ancestries
    ) -> None:
        ancestry = ancestries.of(txn, tables, row)
        self._txn, self._table = txn, tables.events
        self._ends = [segment.last for segment in ancestry]
        self._holders = [*(segment.holder for segment in ancestry), own]

    def value(self, sequence: int) -> bytes | None:
        holder = self._holders[bisect_left(self._ends, sequence)]
        return self._txn.get(event_key(holder, sequence), db=self._table)

    def digest(self, sequence: int) -> Digest | None:
        """Return an event's digest; None if it is missing, so that the next is not checked."""
        if sequence == 0:
            return GENESIS
        value = self.value(sequence)
        return None if value is None else value[:DIGEST_BYTES]
