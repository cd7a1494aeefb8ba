"""Reading events: a page in one snapshot, each event checked against the chain.

Damage is a value here, and raised outside of the transaction.
"""

from itertools import islice

import attrs
import msgspec

from turnlog.actors.ports import Head
from turnlog.protocol.envelope import GENESIS, Digest, Recorded, chain, read_envelope, unseal
from turnlog.protocol.errors import LogDamaged, session_not_found
from turnlog.protocol.ids import SessionId
from turnlog.runtime.store.blobs import unpack
from turnlog.runtime.store.contract import last_of_page
from turnlog.runtime.store.lmdb.ancestry import Ancestries, Segment, event_value, segments
from turnlog.runtime.store.lmdb.environment import Environment
from turnlog.runtime.store.lmdb.keys import event_key, session_key
from turnlog.runtime.store.lmdb.pages import PageDamaged
from turnlog.runtime.store.lmdb.rows import DIGEST_BYTES, SessionRow, row_of
from turnlog.runtime.store.lmdb.views import Tables, View

_REMEMBERED_TEXTS = 64  # of one walk: what every turn refers to comes early in it


@attrs.frozen
class Damage:
    """Why an event cannot be read."""

    sequence: int
    why: str


def find_row(txn: View, tables: Tables, session: SessionId) -> SessionRow:
    """Return the row of a session that is there.

    Raises:
        NotFound: it is not, or was deleted.
        StoreError: its row cannot be decoded.
    """
    key = session_key(session)
    value = txn.get(key, db=tables.sessions)
    if value is None:
        raise session_not_found(session)
    row = row_of(key, value)
    if row.deleted:
        raise session_not_found(session)
    return row


def load_blob(txn: View, tables: Tables, digest: Digest) -> bytes:
    """Return what a blob holds.

    Raises:
        KeyError: there is none.
        BlobDamaged: it is not what it was.
    """
    stored = txn.get(digest, db=tables.blobs)
    if stored is None:
        raise KeyError(digest)
    return unpack(stored, digest)


def head_at(txn: View, tables: Tables, session: SessionId, row: SessionRow, sequence: int) -> Head:
    """Return a session's head as it was at one of its events.

    Raises:
        LogDamaged: that event cannot be read.
    """
    value = event_value(txn, tables, session_key(session), row, sequence)
    if value is None:
        raise LogDamaged(session, sequence, "it is missing")
    try:
        envelope = read_envelope(value[DIGEST_BYTES:])
    except msgspec.MsgspecError as error:
        raise LogDamaged(session, sequence, f"it has no readable envelope: {error}") from error
    return Head(sequence, value[:DIGEST_BYTES], envelope.time_us)


def digest_at(
    txn: View, tables: Tables, key: bytes, row: SessionRow, sequence: int
) -> Digest | None:
    """Return the digest of an event, which the next is chained to; None if it cannot be read."""
    if sequence == 0:
        return GENESIS
    try:
        value = event_value(txn, tables, key, row, sequence)
    except PageDamaged:
        return None
    return None if value is None else value[:DIGEST_BYTES]


@attrs.define(eq=False)
class Scan:
    """One walk over events in order, within one transaction."""

    txn: View
    tables: Tables
    events: list[Recorded]
    after: int
    previous: Digest | None  # of the event before; None: lost, so the next is not checked
    _texts: dict[Digest, bytes] = attrs.field(factory=dict[Digest, bytes], init=False)

    def take(self, segment: Segment) -> Damage | None:
        """Read on to the end of `segment`; return what stops it."""
        try:
            cursor = self.txn.cursor(db=self.tables.events)
            if cursor.set_range(event_key(segment.holder, self.after + 1)):
                values = cursor.iternext(keys=False, values=True)
                for value in islice(values, segment.last - self.after):
                    why = self.take_value(value)
                    if why:
                        return Damage(self.after + 1, why)
        except PageDamaged as damage:
            return Damage(self.after + 1, damage.short)
        return None if self.after == segment.last else Damage(self.after + 1, "it is missing")

    def take_value(self, value: bytes) -> str | None:
        """Take the next event from its stored bytes; return what is wrong with it."""
        digest, data = value[:DIGEST_BYTES], value[DIGEST_BYTES:]
        try:
            event = unseal(data, digest, self._load)
        except KeyError as error:
            return f"a text that it refers to is missing: {error}"
        except ValueError as error:  # msgspec's errors, a blob's damage, bytes that are no text
            return f"it cannot be decoded: {error}"
        if event.sequence != self.after + 1:
            return "it is missing"
        if self.previous is not None and chain(self.previous, data) != digest:
            return "its bytes are not those that were written"
        self.events.append(event)
        self.after, self.previous = event.sequence, digest
        return None

    def _load(self, digest: Digest) -> bytes:
        """Return what a blob holds. It is unpacked and checked once in a walk, not at each use."""
        text = self._texts.get(digest)
        if text is None:
            text = load_blob(self.txn, self.tables, digest)
            if len(self._texts) < _REMEMBERED_TEXTS:
                self._texts[digest] = text
        return text


@attrs.define(eq=False)
class Reader:
    """Reads events of an environment, from any thread."""

    environment: Environment
    ancestries: Ancestries = attrs.field(factory=Ancestries)

    def head(self, session: SessionId) -> Head:
        tables = self.environment.tables
        return self.environment.read(lambda txn: find_row(txn, tables, session)).head

    def page(
        self, session: SessionId, after: int, until: int | None, limit: int
    ) -> tuple[list[Recorded], Damage | None]:
        """Return the events after `after`, and what stopped the reading early."""
        events: list[Recorded] = []

        def look(txn: View) -> Damage | None:
            events.clear()
            return self._look(txn, session, (max(after, 0), until, limit), events)

        damage = self.environment.read(look)
        return events, damage

    def _look(
        self,
        txn: View,
        session: SessionId,
        bounds: tuple[int, int | None, int],
        events: list[Recorded],
    ) -> Damage | None:
        tables, key = self.environment.tables, session_key(session)
        row = find_row(txn, tables, session)
        after, until, limit = bounds
        last = last_of_page(after, until, limit, row.sequence)
        if last <= after:
            return None
        before = digest_at(txn, tables, key, row, after)
        scan = Scan(txn, tables, events, after, before)
        ancestry = self.ancestries.of(txn, tables, row)
        for segment in segments(ancestry, Segment(key, row.sequence), after, last):
            damage = scan.take(segment)
            if damage:
                return damage
        return None
