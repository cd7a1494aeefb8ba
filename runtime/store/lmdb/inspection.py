"""Checks of a store's contents: every event, row, blob, index entry, op and snapshot. Reads only.

Walks in pages, a transaction each, so that a store in use can be inspected.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Final, Literal, Protocol, TypeVar

import attrs
import msgspec

from turnlog.protocol.envelope import GENESIS, chain, read_envelope, unseal
from turnlog.protocol.errors import StoreError
from turnlog.protocol.ids import SessionId
from turnlog.runtime.store.blobs import BlobDamaged, unpack
from turnlog.runtime.store.contract import MAX_PAGE
from turnlog.runtime.store.lmdb.ancestry import event_value
from turnlog.runtime.store.lmdb.keys import (
    SESSION_BYTES,
    child_key,
    event_key,
    session_of,
)
from turnlog.runtime.store.lmdb.reading import load_blob
from turnlog.runtime.store.lmdb.rows import (
    DIGEST_BYTES,
    SessionRow,
    decode_inbox,
    decode_row,
    recent_place,
)
from turnlog.runtime.store.lmdb.snapshots import flaw
from turnlog.runtime.store.lmdb.views import Table, Tables, View

T = TypeVar("T")

LAST_SUFFIX: Final = b"\xff" * 8  # after every event of a session

Kind = Literal[
    "access", "gone", "file", "event", "row", "index", "leftover", "blob", "op", "snapshot"
]


@attrs.frozen
class Finding:
    """One thing that is not as it should be."""

    kind: Kind
    what: str
    session: SessionId | None = None
    sequence: int = 0  # of the event; 0: not about one
    last: int = 0  # of several events in a row with the same finding; 0: it is one event


class Source(Protocol):
    """What is inspected: an open store, or what was salvaged of one."""

    @property
    def tables(self) -> Tables:
        """The tables of the store."""
        ...

    def read(self, look: Callable[[View], T]) -> T: ...


@attrs.define(eq=False)
class Inspection:
    """What one walk through the store has found so far."""

    environment: Source
    sessions: int = 0
    events: int = 0
    findings: list[Finding] = attrs.field(factory=list[Finding])
    quarantined: set[SessionId] = attrs.field(factory=set[SessionId])
    used_blobs: set[bytes] = attrs.field(factory=set[bytes])
    unused_blobs: dict[bytes, int] = attrs.field(factory=dict[bytes, int])  # digest -> bytes

    def run(self) -> "Inspection":
        for key in self._keys(self.environment.tables.sessions):
            self._inspect_session(key)
        self._inspect_strays()
        self._inspect_indexes()
        for digest in self._keys(self.environment.tables.blobs):
            self._inspect_blob(digest)
        for key in self._keys(self.environment.tables.snapshots):
            why = self.environment.read(partial(flaw, tables=self.environment.tables, key=key))
            if why is not None:
                self._add("snapshot", key, why)
        return self

    def _keys(self, table: Table) -> Iterator[bytes]:
        after = b""
        while page := self.environment.read(partial(_keys_after, table=table, after=after)):
            yield from page
            after = page[-1]

    def _add(self, kind: Kind, key: bytes | None, what: str, sequence: int = 0) -> None:
        found = Finding(kind, what, session_of(key) if key else None, sequence)
        if self.findings and (longer := _continued(self.findings[-1], found)) is not None:
            self.findings[-1] = longer
        else:
            self.findings.append(found)

    # --- one session ----------------------------------------------------------------------

    def _inspect_session(self, key: bytes) -> None:
        row = self.environment.read(partial(self._inspect_row, key=key))
        if row is None:
            return
        self.sessions += not row.deleted
        previous = self._digest_before(key, row)
        time_us, after = 0, row.cut
        while after < row.sequence:
            last = min(row.sequence, after + MAX_PAGE)
            look = partial(self._inspect_events, key, after, last, previous, time_us)
            previous, time_us = self.environment.read(look)
            after = last
        if not row.deleted and previous is not None and previous != row.digest:
            self._add("row", key, f"its head's digest is not that of event {row.sequence}")
        if row.damaged_at:
            self.quarantined.add(session_of(key))
            self._add("row", key, f"it is in quarantine: {row.damage}", row.damaged_at)

    def _inspect_row(self, txn: View, key: bytes) -> SessionRow | None:
        tables = self.environment.tables
        value = txn.get(key, db=tables.sessions)
        if value is None:
            return None  # deleted since its key was read
        try:
            row = decode_row(value)
        except msgspec.MsgspecError as error:
            self._add("row", key, f"its row cannot be decoded: {error}")
            return None
        if row.base and txn.get(child_key(row.base, key), db=tables.children) is None:
            self._add("index", key, "it is missing among its base's forks")
        if row.deleted:
            if not _has_children(txn, tables, key):
                self._add("leftover", key, "it was deleted, and some of its events remain")
            return row
        place = self._recent_place(txn, key)
        if place is None:
            self._add("index", key, "its summary is missing, or cannot be decoded")
        elif txn.get(place, db=tables.recent) is None:
            self._add("index", key, "it is missing in the list of recent sessions")
        return row

    def _recent_place(self, txn: View, key: bytes) -> bytes | None:
        """Return where a session belongs in the list of recent ones, by its summary."""
        return recent_place(key, txn.get(key, b"", db=self.environment.tables.summaries))

    def _digest_before(self, key: bytes, row: SessionRow) -> bytes | None:
        """Return the digest that the session's own events are chained to."""
        if not row.cut:
            return GENESIS
        tables = self.environment.tables
        try:
            value = self.environment.read(lambda txn: event_value(txn, tables, key, row, row.cut))
        except StoreError as error:
            self._add("event", key, f"its ancestry cannot be read: {error}", row.cut)
            return None
        if value is None:
            self._add("event", key, "an event of its ancestry is missing", row.cut)
            return None
        return value[:DIGEST_BYTES]

    def _inspect_events(
        self,
        key: bytes,
        after: int,
        last: int,
        previous: bytes | None,
        time_us: int,
        txn: View,
    ) -> tuple[bytes | None, int]:
        for sequence in range(after + 1, last + 1):
            value = txn.get(event_key(key, sequence), db=self.environment.tables.events)
            if value is None:
                self._add("event", key, "it is missing", sequence)
                previous = None
                continue
            self.events += 1
            digest, data = value[:DIGEST_BYTES], value[DIGEST_BYTES:]
            why, time_us = self._flaw(txn, sequence, data, digest, time_us)
            if previous is not None and chain(previous, data) != digest:
                why = "its bytes are not those that were written"
            if why:
                self._add("event", key, why, sequence)
            previous = digest
        return previous, time_us

    def _flaw(
        self, txn: View, sequence: int, data: bytes, digest: bytes, time_us: int
    ) -> tuple[str | None, int]:
        tables = self.environment.tables
        try:
            envelope = read_envelope(data)
            self.used_blobs.update(envelope.blobs)
            unseal(data, digest, lambda blob: load_blob(txn, tables, blob))
        except KeyError as error:
            return f"a text that it refers to is missing: {error}", time_us
        except ValueError as error:
            return f"it cannot be decoded: {error}", time_us
        if envelope.sequence != sequence:
            return f"its envelope says that it is event {envelope.sequence}", time_us
        if envelope.time_us < time_us:
            return "it is older than the event before it", time_us
        return None, envelope.time_us

    # --- the rest -------------------------------------------------------------------------

    def _inspect_strays(self) -> None:
        """Look for events that no row knows, without reading all of them."""
        place = b""
        while (key := self.environment.read(partial(self._first_event, place=place))) is not None:
            session = key[:SESSION_BYTES]
            end = session + LAST_SUFFIX
            row = self.environment.read(partial(self._row, key=session))
            if row is None:
                self._add("event", session, "there are events, and no row knows the session")
            else:
                stray = self.environment.read(
                    partial(self._first_event, place=event_key(session, row.sequence + 1))
                )
                if stray is not None and stray.startswith(session):
                    self._add("event", session, "it lies after the head", row.sequence + 1)
            place = end

    def _first_event(self, txn: View, place: bytes) -> bytes | None:
        cursor = txn.cursor(db=self.environment.tables.events)
        return cursor.key() if cursor.set_range(place) else None

    def _row(self, txn: View, key: bytes) -> SessionRow | None:
        value = txn.get(key, db=self.environment.tables.sessions)
        try:
            return None if value is None else decode_row(value)
        except msgspec.MsgspecError:
            return None  # reported with its session

    def _inspect_indexes(self) -> None:
        self.environment.read(self._inspect_entries)

    def _inspect_entries(self, txn: View) -> None:
        tables = self.environment.tables
        for place in txn.cursor(db=tables.recent).iternext(keys=True, values=False):
            key = place[8:]
            if self._recent_place(txn, key) != place:
                self._add("index", key, "it is in the list of recent sessions by a wrong time")
        for place, cut in txn.cursor(db=tables.children).iternext():
            base, child = place[:SESSION_BYTES], place[SESSION_BYTES:]
            stored = txn.get(child, db=tables.sessions)
            row = self._row(txn, child)
            if stored is not None and row is None:
                continue  # reported with its session
            if row is None or (row.base, row.cut) != (base, int.from_bytes(cut)):
                self._add("index", base, f"its fork {session_of(child)} is not its fork")
        for place, value in txn.cursor(db=tables.inbox).iternext():
            try:
                decode_inbox(value)
            except msgspec.MsgspecError as error:
                self._add("op", place[:SESSION_BYTES], f"an op cannot be decoded: {error}")
            if txn.get(place[:SESSION_BYTES], db=tables.sessions) is None:
                self._add("op", place[:SESSION_BYTES], "an op waits for a session that is gone")

    def _inspect_blob(self, digest: bytes) -> None:
        value = self.environment.read(lambda txn: txn.get(digest, db=self.environment.tables.blobs))
        if value is None:
            return
        if digest not in self.used_blobs:
            self.unused_blobs[digest] = len(value)
        try:
            unpack(value, digest)
        except BlobDamaged as error:
            self._add("blob", None, str(error))


def _continued(before: Finding, found: Finding) -> Finding | None:
    """Return both findings as one, if they say the same of two events in a row."""
    last = before.last or before.sequence
    if not before.sequence or found != attrs.evolve(before, sequence=last + 1, last=0):
        return None
    return attrs.evolve(before, last=found.sequence)


def _keys_after(txn: View, table: Table, after: bytes) -> list[bytes]:
    cursor = txn.cursor(db=table)
    if not cursor.set_range(after + b"\0"):
        return []
    return list(islice(cursor.iternext(keys=True, values=False), MAX_PAGE))


def _has_children(txn: View, tables: Tables, key: bytes) -> bool:
    cursor = txn.cursor(db=tables.children)
    return cursor.set_range(key) and cursor.key().startswith(key)
