"""What a reader sees of a store: one committed state, table by table.

`View` is what readers ask; a write transaction has it, too. `PageView` answers it from the pages of
the file (see `pages`).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Literal, Protocol, overload

import attrs

from turnlog.runtime.store.lmdb.pages import (
    EMPTY,
    IS_TREE,
    Branch,
    Leaf,
    Meta,
    PageDamaged,
    PageFile,
    Place,
    Tree,
    tree_of,
)

Table = str


@attrs.frozen
class Tables:
    """The tables of a store, by their names in it."""

    events: Table = "events"  # session, sequence -> digest (16 bytes), envelope
    sessions: Table = "sessions"  # session -> SessionRow
    summaries: Table = "summaries"  # session -> SessionSummary
    recent: Table = "recent"  # time of the newest turn, session -> nothing
    children: Table = "children"  # base, fork -> cut
    blobs: Table = "blobs"  # SHA-256 -> codec byte, content
    inbox: Table = "inbox"  # session, hash of the op id -> InboxRow
    snapshots: Table = "snapshots"  # session, sequence -> SnapshotRow
    meta: Table = "meta"


def all_tables() -> list[Table]:
    """Return the names of the tables."""
    tables = Tables()
    return [getattr(tables, field.name) for field in attrs.fields(Tables)]


class Cursor(Protocol):
    """A place in a table. LMDB's cursor is one."""

    def first(self) -> bool:
        """Go to the first entry; False if there is none."""
        ...

    def last(self) -> bool:
        """Go to the last entry; False if there is none."""
        ...

    def prev(self) -> bool:
        """Go to the entry before this one; False if there is none."""
        ...

    def set_range(self, key: bytes, /) -> bool:
        """Go to the first entry at `key` or after it; False if there is none."""
        ...

    def set_key(self, key: bytes, /) -> bool:
        """Go to the entry of `key`; False if there is none."""
        ...

    def key(self) -> bytes:
        """Return the key of the entry."""
        ...

    def item(self) -> tuple[bytes, bytes]:
        """Return the key and the value of the entry."""
        ...

    @overload
    def iternext(
        self, keys: Literal[True] = ..., values: Literal[True] = ...
    ) -> Iterator[tuple[bytes, bytes]]: ...
    @overload
    def iternext(self, keys: Literal[True], values: Literal[False]) -> Iterator[bytes]: ...
    @overload
    def iternext(self, keys: Literal[False], values: Literal[True]) -> Iterator[bytes]: ...

    def iterprev(self, keys: Literal[True], values: Literal[False]) -> Iterator[bytes]:
        """Yield keys from this entry back."""
        ...


class View(Protocol):
    """One committed state, or that of a running write transaction."""

    @overload
    def get(self, key: bytes, default: bytes, *, db: Table) -> bytes: ...
    @overload
    def get(self, key: bytes, default: None = None, *, db: Table) -> bytes | None: ...

    def cursor(self, *, db: Table) -> Cursor:
        """Return a cursor over a table."""
        ...


# --- from pages -------------------------------------------------------------------------------


@attrs.define(eq=False)
class PageView:
    """The state that a commit has left, read from its pages. Raises PageDamaged at damage.

    Valid while no writer has taken its pages again: see `Environment.read`.
    """

    file: PageFile
    meta: Meta
    _trees: dict[Table, Tree] = attrs.field(factory=dict[Table, Tree])

    def tree(self, table: Table) -> Tree:
        """Return where a table lies; an empty one if there is none."""
        tree = self._trees.get(table)
        if tree is None:
            tree = self._trees[table] = self._find_tree(table.encode())
        return tree

    def _find_tree(self, name: bytes) -> Tree:
        cursor = PageCursor(self, self.meta.main)
        if not cursor.set_key(name):
            return EMPTY
        leaf, number = cursor.entry()
        flags, start, _ = leaf.places[number]
        if flags != IS_TREE:
            raise PageDamaged(cursor.page, f"the entry of table {name.decode()} is of another kind")
        return tree_of(cursor.page, leaf.data, start)

    @overload
    def get(self, key: bytes, default: bytes, *, db: Table) -> bytes: ...
    @overload
    def get(self, key: bytes, default: None = None, *, db: Table) -> bytes | None: ...
    def get(self, key: bytes, default: bytes | None = None, *, db: Table) -> bytes | None:
        """Return the value of `key`; `default` if there is none."""
        cursor = self.cursor(db=db)
        return cursor.item()[1] if cursor.set_key(key) else default

    def cursor(self, *, db: Table) -> "PageCursor":
        return PageCursor(self, self.tree(db))

    def id(self) -> int:
        """Return the number of the transaction that has left this state."""
        return self.meta.transaction


@attrs.define(eq=False)
class PageCursor:
    """A place in a table of a `PageView`: `Cursor` says what it can do."""

    _view: PageView
    _tree: Tree
    _above: list[tuple[Place, Branch, int]] = attrs.field(
        factory=list[tuple[Place, Branch, int]], init=False
    )
    _leaf: Leaf | None = attrs.field(default=None, init=False)
    _number: int = attrs.field(default=0, init=False)
    page: int = attrs.field(default=0, init=False)  # of the entry

    def first(self) -> bool:
        return self._start() and self._descend(self._top(), None, 0)

    def last(self) -> bool:
        return self._start() and self._descend(self._top(), None, -1)

    def set_range(self, key: bytes) -> bool:
        """Go to the first entry that is not before `key`."""
        if not (self._start() and self._descend(self._top(), key, 0)):
            return False
        leaf, _ = self.entry()
        return self._number < len(leaf.keys) or self._next_leaf()

    def set_key(self, key: bytes) -> bool:
        """Go to the entry of `key`, if there is one."""
        if not (self._start() and self._descend(self._top(), key, 0)):
            return False
        leaf, number = self.entry()
        return number < len(leaf.keys) and leaf.keys[number] == key

    def prev(self) -> bool:
        self.entry()
        if self._number > 0:
            self._number -= 1
            return True
        return self._beside(-1)

    def key(self) -> bytes:
        leaf, number = self.entry()
        return leaf.keys[number]

    def item(self) -> tuple[bytes, bytes]:
        leaf, number = self.entry()
        return leaf.keys[number], leaf.value(number, self._view.file, self._view.meta.last_page)

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
        there = self._leaf is not None or self.first()
        if keys and values:
            return self._items(there)
        return self._keys(there) if keys else self._values(there)

    def iterprev(self, keys: Literal[True], values: Literal[False]) -> Iterator[bytes]:
        """Yield keys from this entry back; from the last one if it has not been placed yet."""
        there = self._leaf is not None or self.last()
        while there:
            yield self.key()
            there = self.prev()

    def _items(self, there: bool) -> Iterator[tuple[bytes, bytes]]:
        file, last_page = self._view.file, self._view.meta.last_page
        while there:
            leaf, first = self.entry()
            for number in range(first, len(leaf.keys)):
                yield leaf.keys[number], leaf.value(number, file, last_page)
            there = self._next_leaf()

    def _keys(self, there: bool) -> Iterator[bytes]:
        while there:
            leaf, number = self.entry()
            yield from leaf.keys[number:]
            there = self._next_leaf()

    def _values(self, there: bool) -> Iterator[bytes]:
        file, last_page = self._view.file, self._view.meta.last_page
        while there:
            leaf, first = self.entry()
            for number in range(first, len(leaf.keys)):
                yield leaf.value(number, file, last_page)
            there = self._next_leaf()

    def check(self, low: bytes, high: bytes) -> None:
        """Read the leaves of the keys from `low` to `high`, and one on each side of them.

        Raises:
            PageDamaged: one of them cannot be read, or a long value does not begin where it says.
        """
        if not self._start():
            return
        self._descend(self._top(), low, 0)
        if not self._beside(-1):
            self._start()
            self._descend(self._top(), low, 0)
        while True:
            leaf, _ = self.entry()
            leaf.check_long_values(self._view.file, self._view.meta.last_page)
            if leaf.keys[0] > high or not self._next_leaf():
                return

    def entry(self) -> tuple[Leaf, int]:
        """Return the leaf that it is in, and the number of its entry there."""
        assert self._leaf is not None  # it has been placed
        return self._leaf, self._number

    def _top(self) -> Place:
        return Place(self._tree.root, self._tree.depth)

    def _start(self) -> bool:
        self._above.clear()
        self._leaf = None
        return self._tree.depth > 0

    def _descend(self, place: Place, key: bytes | None, end: int) -> bool:
        """Go down to a leaf: to the place of `key`, or else to one end (0 or -1)."""
        file, last_page = self._view.file, self._view.meta.last_page
        while isinstance(node := place.node(file, last_page), Branch):
            number = end % len(node.keys) if key is None else bisect_right(node.keys, key) - 1
            self._above.append((place, node, number))
            place = place.child(node, number)
        self.page, self._leaf = place.page, node
        self._number = end % len(node.keys) if key is None else bisect_left(node.keys, key)
        return True

    def _next_leaf(self) -> bool:
        return self._beside(1)

    def _beside(self, step: int) -> bool:
        """Go to the leaf after this one (step 1), or before it (-1), if there is one."""
        while self._above:
            place, node, number = self._above.pop()
            if 0 <= number + step < len(node.children):
                self._above.append((place, node, number + step))
                return self._descend(place.child(node, number + step), None, min(step, 0))
        return False
