"""Forks by reference: which session holds an event, at any depth of forking.

A row names its base, the session that holds its events up to the cut. A base always holds
events of its own there, so the ancestors of an event form a list of disjoint segments.
"""

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

import attrs

from turnlog.runtime.store.lmdb.keys import event_key
from turnlog.runtime.store.lmdb.rows import SessionRow, row_of
from turnlog.runtime.store.lmdb.views import Tables, View

REMEMBERED: Final = 256  # ancestries; one of a thousand ancestors takes about 100 KB


@attrs.frozen
class Segment:
    """Events of a session that lie under one key."""

    holder: bytes
    last: int  # sequence; the first event follows the last one of the segment before


Ancestry = tuple[Segment, ...]  # ascending; without the session's own events


def segments(ancestry: Ancestry, own: Segment, after: int, last: int) -> Iterator[Segment]:
    """Yield the segments of the events after `after` and up to `last`, cut to fit."""
    for segment in (*ancestry[bisect_left(ancestry, after + 1, key=lambda s: s.last) :], own):
        if after >= last:
            return
        end = min(segment.last, last)
        if end > after:
            yield Segment(segment.holder, end)
            after = end


def holder_of(txn: View, tables: Tables, session: bytes, row: SessionRow, sequence: int) -> bytes:
    """Return the key of the session under which event `sequence` of `session` lies."""
    while sequence <= row.cut:
        session, row = row.base, _base_row(txn, tables, row)
    return session


def event_value(
    txn: View, tables: Tables, session: bytes, row: SessionRow, sequence: int
) -> bytes | None:
    """Return the stored bytes of one event: digest, envelope."""
    holder = holder_of(txn, tables, session, row, sequence)
    return txn.get(event_key(holder, sequence), db=tables.events)


@attrs.define(eq=False)
class Ancestries:
    """Keeps ancestries in memory. They never change: a base outlives whatever refers to it."""

    _known: dict[tuple[bytes, int], Ancestry] = attrs.field(
        factory=dict[tuple[bytes, int], Ancestry]
    )

    def of(self, txn: View, tables: Tables, row: SessionRow) -> Ancestry:
        """Return what comes before the session's own events."""
        if not row.base:
            return ()
        key = (row.base, row.cut)
        ancestry = self._known.get(key)
        if ancestry is None:
            ancestry = _walk(txn, tables, row)
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[key] = ancestry
        return ancestry


def _walk(txn: View, tables: Tables, row: SessionRow) -> Ancestry:
    found: list[Segment] = []
    while row.base:
        found.append(Segment(row.base, row.cut))
        row = _base_row(txn, tables, row)
    return tuple(reversed(found))


def _base_row(txn: View, tables: Tables, row: SessionRow) -> SessionRow:
    """Return the row of `row`'s base; an empty one if damage has broken the line.

    Raises:
        StoreError: the base's row cannot be decoded.
    """
    value = txn.get(row.base, db=tables.sessions)
    base = SessionRow() if value is None else row_of(row.base, value)
    return base if base.cut < row.cut else SessionRow()
