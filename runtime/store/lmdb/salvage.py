"""What can still be read of a store whose pages are damaged.

First the tables are walked, and what cannot be read is skipped. For the keys that are lost in this
way, the pages that no table leads to any more are searched: an event or a text is proved by its
digest, and of a row or a summary the newest is taken. Indexes are derived from the rows.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import Final, Literal, TypeVar, overload

import attrs
import msgspec

from turnlog.protocol.envelope import GENESIS, Digest, chain, read_envelope
from turnlog.protocol.summary import SessionSummary
from turnlog.runtime.store.blobs import BlobDamaged, unpack
from turnlog.runtime.store.lmdb.keys import (
    SEQUENCE_BYTES,
    SESSION_BYTES,
    child_key,
    event_key,
    sequence_of,
    session_of,
)
from turnlog.runtime.store.lmdb.pages import (
    EVERYTHING,
    META_PAGES,
    Bounds,
    Gap,
    Leaf,
    PageDamaged,
    PageFile,
    decode,
    walk,
)
from turnlog.runtime.store.lmdb.rows import (
    DIGEST_BYTES,
    SessionRow,
    decode_row,
    decode_summary,
    encode,
    recent_place,
)
from turnlog.runtime.store.lmdb.states import States
from turnlog.runtime.store.lmdb.transactions import TABLES
from turnlog.runtime.store.lmdb.views import PageView, Table, Tables, all_tables

T = TypeVar("T")

_EVENT_KEY: Final = SESSION_BYTES + SEQUENCE_BYTES
_BLOB_KEY: Final = 32
_FOUND_ANYWHERE: Final = (TABLES.events, TABLES.sessions, TABLES.summaries, TABLES.blobs)


@attrs.frozen
class _Stored:
    """Where an entry lies."""

    page: int
    number: int  # within it


@attrs.define(eq=False)
class Salvage:
    """A `View` of what can be read. Holds the keys in memory, and the values that it derived.

    It is of one moment: an entry of a page that was written since is damaged.
    """

    file: PageFile
    last_page: int
    tables: Tables = TABLES
    gaps: dict[Table, list[Bounds]] = attrs.field(factory=dict[Table, list[Bounds]])
    _entries: dict[Table, dict[bytes, _Stored | bytes]] = attrs.field(
        factory=lambda: {table: dict[bytes, _Stored | bytes]() for table in all_tables()}
    )
    _sorted: dict[Table, list[bytes]] = attrs.field(factory=dict[Table, list[bytes]])

    @classmethod
    def of(cls, states: States) -> "Salvage":
        """Read what can be read of the newest state."""
        view = states.newest()
        pages = states.pages.size() // states.pages.page_size
        salvage = cls(states.pages, max(view.meta.last_page, pages - 1))
        reached = set[int]()
        for table in all_tables():
            salvage._take_table(view, table, reached)
        if any(salvage._misses(table) for table in _FOUND_ANYWHERE):
            for page in range(META_PAGES, pages):
                if page not in reached:
                    salvage._take_page(page)
        salvage._derive()
        return salvage

    def read(self, look: Callable[["Salvage"], T]) -> T:
        """Return what `look` finds, as an environment does."""
        return look(self)

    # --- as a view ------------------------------------------------------------------------

    @overload
    def get(self, key: bytes, default: bytes, *, db: Table) -> bytes: ...
    @overload
    def get(self, key: bytes, default: None = None, *, db: Table) -> bytes | None: ...
    def get(self, key: bytes, default: bytes | None = None, *, db: Table) -> bytes | None:
        """Return the value of `key`; `default` if it cannot be read."""
        found = self._entries[db].get(key)
        return default if found is None else self._value(key, found)

    def cursor(self, *, db: Table) -> "SalvageCursor":
        """Return a cursor over the keys that can be read."""
        return SalvageCursor(self, db, self.keys(db))

    def keys(self, table: Table) -> list[bytes]:
        """Return the keys of a table, in order."""
        keys = self._sorted.get(table)
        if keys is None:
            keys = self._sorted[table] = sorted(self._entries[table])
        return keys

    def _value(self, key: bytes, found: _Stored | bytes) -> bytes:
        if isinstance(found, bytes):
            return found
        leaf = self.file.node(found.page)
        if not isinstance(leaf, Leaf) or leaf.keys[found.number : found.number + 1] != [key]:
            raise PageDamaged(found.page, "it was written since")
        return leaf.value(found.number, self.file, self.last_page)

    # --- reading --------------------------------------------------------------------------

    def _misses(self, table: Table) -> bool:
        return bool(self.gaps.get(table))

    def _lose(self, table: Table, bounds: Bounds) -> None:
        self.gaps.setdefault(table, []).append(bounds)

    def _lost(self, table: Table, key: bytes) -> bool:
        """Say whether an entry of this key may have been lost."""
        return any(
            low <= key and (high is None or key < high) for low, high in self.gaps.get(table, ())
        )

    def _take_table(self, view: PageView, table: Table, reached: set[int]) -> None:
        try:
            tree = view.tree(table)
        except PageDamaged:
            self._lose(table, EVERYTHING)
            return
        for part in walk(self.file, tree, self.last_page):
            if isinstance(part, Gap):
                self._lose(table, part.bounds)
                continue
            place, node = part
            reached.add(place.page)
            if isinstance(node, Leaf):
                self._take_leaf(table, place.page, node)

    def _take_leaf(self, table: Table, page: int, leaf: Leaf) -> None:
        entries = self._entries[table]
        for number, key in enumerate(leaf.keys):
            try:
                leaf.require_value(number, self.file, self.last_page)
            except PageDamaged:
                self._lose(table, (key, key + b"\0"))
            else:
                entries[key] = _Stored(page, number)

    def _take_page(self, page: int) -> None:
        """Take the lost entries of a page that no table leads to."""
        try:
            leaf = decode(page, self.file.read(page))
        except PageDamaged:
            return
        if not isinstance(leaf, Leaf):
            return
        for number, key in enumerate(leaf.keys):
            try:
                value = leaf.value(number, self.file, self.last_page)
            except PageDamaged:
                continue
            table = _table_of(key, value)
            if table is not None and self._lost(table, key):
                self._take_entry(table, key, value, _Stored(page, number))

    def _take_entry(self, table: Table, key: bytes, value: bytes, stored: _Stored) -> None:
        entries = self._entries[table]
        known = entries.get(key)
        if known is None or _age(table, value) > _age(table, self._value(key, known)):
            entries[key] = stored

    # --- deriving -------------------------------------------------------------------------

    def _derive(self) -> None:
        """Make up for what was lost of rows, summaries and indexes, from the rest."""
        if self._misses(TABLES.sessions):
            bases = {
                key[SESSION_BYTES:]: (key[:SESSION_BYTES], int.from_bytes(value))
                for key, value in self.cursor(db=TABLES.children).iternext()
            }
            for session in {key[:SESSION_BYTES] for key in self._entries[TABLES.events]}:
                if self._lost(TABLES.sessions, session):
                    self._derive_row(session, bases.get(session, (b"", 0)))
        if self._misses(TABLES.summaries):
            for session in self._entries[TABLES.sessions]:
                if self._lost(TABLES.summaries, session):
                    self._derive_summary(session)
        self._sorted.clear()
        if self._misses(TABLES.recent) or self._misses(TABLES.summaries):
            places = (
                recent_place(session, summary)
                for session, summary in self.cursor(db=TABLES.summaries).iternext()
                if session in self._entries[TABLES.sessions]
            )
            self._entries[TABLES.recent] = {place: b"" for place in places if place is not None}
        if self._misses(TABLES.children):
            for session, row in self._rows():
                if row.base:
                    cut = row.cut.to_bytes(SEQUENCE_BYTES)
                    self._entries[TABLES.children].setdefault(child_key(row.base, session), cut)
        self._sorted.clear()

    def _rows(self) -> Iterator[tuple[bytes, SessionRow]]:
        for session in list(self._entries[TABLES.sessions]):
            row = self._row(session)
            if row is not None:
                yield session, row

    def _row(self, session: bytes) -> SessionRow | None:
        """Return a session's row, if there is one that can be decoded."""
        try:
            return decode_row(self.get(session, b"", db=TABLES.sessions))
        except msgspec.MsgspecError:
            return None

    def _derive_row(self, session: bytes, base: tuple[bytes, int]) -> None:
        """Replace a lost or old row by what the events after it say."""
        row = self._row(session) or SessionRow(
            base=base[0], cut=base[1], sequence=base[1], digest=self._digest(*base)
        )
        while event := self.get(event_key(session, row.sequence + 1), db=TABLES.events):
            digest, data = event[:DIGEST_BYTES], event[DIGEST_BYTES:]
            if chain(row.digest, data) != digest:
                break
            time_us = read_envelope(data).time_us
            row = msgspec.structs.replace(
                row, sequence=row.sequence + 1, digest=digest, time_us=time_us
            )
        if not row.sequence:
            return
        if self._lost(TABLES.events, event_key(session, row.sequence + 1)):
            row = msgspec.structs.replace(
                row,
                damaged_at=row.sequence + 1,
                damage="its row was lost, and perhaps the events from here on",
            )
        self._entries[TABLES.sessions][session] = encode(row)

    def _digest(self, base: bytes, cut: int) -> Digest:
        """Return the digest that a fork's first own event is chained to."""
        event = self.get(event_key(base, cut), b"", db=TABLES.events) if base else b""
        return event[:DIGEST_BYTES] or GENESIS

    def _derive_summary(self, session: bytes) -> None:
        summaries, row = self._entries[TABLES.summaries], self._row(session)
        if session not in summaries and row is not None and not row.deleted:
            summary = SessionSummary(session_of(session), row.time_us, row.time_us)
            summaries[session] = encode(summary)


def _table_of(key: bytes, value: bytes) -> Table | None:
    """Return which table an entry is of that was found anywhere; None if that cannot be told."""
    try:
        if len(key) == _EVENT_KEY and len(value) > DIGEST_BYTES:
            envelope = read_envelope(value[DIGEST_BYTES:])
            return TABLES.events if envelope.sequence == sequence_of(key) else None
        if len(key) == SESSION_BYTES:
            return _table_of_row(key, value)
        if len(key) == _BLOB_KEY:
            unpack(value, key)
            return TABLES.blobs
    except (msgspec.MsgspecError, BlobDamaged):
        pass
    return None


def _table_of_row(key: bytes, value: bytes) -> Table | None:
    try:
        decode_row(value)
    except msgspec.MsgspecError:
        summary = decode_summary(value)
        return TABLES.summaries if summary.session == session_of(key) else None
    return TABLES.sessions


def _age(table: Table, value: bytes) -> int:
    """Return a number that is larger for the newer of two values that one key had."""
    if table == TABLES.sessions:
        row = decode_row(value)
        return row.sequence + row.fence
    if table == TABLES.summaries:
        return decode_summary(value).updated_us
    return 0


@attrs.define(eq=False)
class SalvageCursor:
    """A place in a table of a `Salvage`: `Cursor` says what it can do."""

    _salvage: Salvage
    _table: Table
    _keys: list[bytes]
    _number: int | None = None  # None: it has not been placed

    def first(self) -> bool:
        return self._place(0)

    def last(self) -> bool:
        return self._place(len(self._keys) - 1)

    def prev(self) -> bool:
        return self._place(self._at() - 1)

    def set_range(self, key: bytes, /) -> bool:
        return self._place(bisect_left(self._keys, key))

    def set_key(self, key: bytes, /) -> bool:
        return self.set_range(key) and self.key() == key

    def key(self) -> bytes:
        return self._keys[self._at()]

    def item(self) -> tuple[bytes, bytes]:
        key = self.key()
        return key, self._salvage.get(key, b"", db=self._table)

    @overload
    def iternext(
        self, keys: Literal[True] = ..., values: Literal[True] = ...
    ) -> Iterator[tuple[bytes, bytes]]: ...
    @overload
    def iternext(self, keys: Literal[True], values: Literal[False]) -> Iterator[bytes]: ...
    @overload
    def iternext(self, keys: Literal[False], values: Literal[True]) -> Iterator[bytes]: ...
    def iternext(
        self, keys: bool = True, values: bool = True
    ) -> Iterator[tuple[bytes, bytes]] | Iterator[bytes]:
        """Yield from this entry on; from the first one if it has not been placed yet."""
        rest = self._keys[self._number or 0 :]
        if keys and not values:
            return iter(rest)
        found = ((key, self._salvage.get(key, b"", db=self._table)) for key in rest)
        return found if keys else (value for _, value in found)

    def iterprev(self, keys: Literal[True], values: Literal[False]) -> Iterator[bytes]:
        """Yield keys from this entry back; from the last one if it has not been placed yet."""
        number = len(self._keys) - 1 if self._number is None else self._number
        return iter(self._keys[number::-1] if number >= 0 else [])

    def _at(self) -> int:
        assert self._number is not None  # it has been placed
        return self._number

    def _place(self, number: int) -> bool:
        self._number = number
        return 0 <= number < len(self._keys)
