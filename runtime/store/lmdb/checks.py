"""Checking a store's pages: those that every write needs, or all of them."""

from collections.abc import Iterable
from struct import Struct
from typing import Final

import attrs

from turnlog.runtime.store.lmdb.pages import (
    EVERYTHING,
    META_PAGES,
    Bounds,
    Gap,
    Leaf,
    PageDamaged,
    PageFile,
    Tree,
    walk,
)
from turnlog.runtime.store.lmdb.transactions import LARGE_TABLES
from turnlog.runtime.store.lmdb.views import PageView, Table, all_tables

FREE_LIST: Final = "the free list"
_NUMBER: Final = Struct("=Q")


@attrs.frozen
class Flaw:
    """A part of a table that cannot be read, or a table that is not as it should be."""

    table: Table
    why: str
    bounds: Bounds = EVERYTHING


@attrs.define(eq=False)
class PageCheck:
    """One walk over the pages of a state."""

    view: PageView
    flaws: list[Flaw] = attrs.field(factory=list[Flaw])
    _used: bytearray = attrs.field(init=False)  # of each page: 1 if it was met

    def __attrs_post_init__(self) -> None:
        size = self.view.meta.last_page + 1
        file = self.view.file
        found = file.size() // file.page_size
        if found < size:
            self.flaws.append(Flaw("", f"it is cut off: {found} of its {size} pages are there"))
        self._used = bytearray(min(size, found))

    def tables(self, tables: Iterable[Table]) -> "PageCheck":
        """Check these tables."""
        for table in tables:
            try:
                tree = self.view.tree(table)
            except PageDamaged as damage:
                self.flaws.append(Flaw(table, damage.short))
            else:
                self._tree(table, tree, self.view.file)
        return self

    def core(self) -> "PageCheck":
        """Check what every write needs: the free list, the list of tables, the small tables."""
        self._tree("the list of tables", self.view.meta.main, self.view.file)
        self._free_list()
        return self.tables(SMALL_TABLES)

    def everything(self) -> "PageCheck":
        """Check all tables."""
        return self.core().tables(LARGE_TABLES)

    def _tree(self, table: Table, tree: Tree, file: PageFile) -> list[Leaf]:
        """Check a table; return its leaves if it is the free list."""
        last_page, entries, leaves, gaps = self.view.meta.last_page, 0, list[Leaf](), 0
        for part in walk(file, tree, last_page):
            if isinstance(part, Gap):
                gaps += 1
                self.flaws.append(Flaw(table, part.damage.short, part.bounds))
                continue
            place, node = part
            self._use(table, place.page, 1)
            if isinstance(node, Leaf):
                entries += len(node.keys)
                self._long_values(table, node)
                if file.integer_keys:
                    leaves.append(node)
        if not gaps and entries != tree.entries:
            why = f"it has {entries} entries, and should have {tree.entries}"
            self.flaws.append(Flaw(table, why))

        return leaves

    def _long_values(self, table: Table, leaf: Leaf) -> None:
        for page, size in leaf.long_values():
            try:
                pages = self.view.file.check_long(page, size, self.view.meta.last_page)
            except PageDamaged as damage:
                self.flaws.append(Flaw(table, damage.short, (leaf.keys[0], leaf.keys[-1] + b"\0")))
            else:
                self._use(table, page, pages)

    def _use(self, table: Table, first: int, pages: int) -> None:
        for page in range(first, min(first + pages, len(self._used))):
            if self._used[page]:
                self.flaws.append(Flaw(FREE_LIST, f"page {page} is used twice, by {table}, too"))
            self._used[page] = 1

    def _free_list(self) -> None:
        view = self.view
        file = attrs.evolve(view.file, integer_keys=True)
        for leaf in self._tree(FREE_LIST, view.meta.free, file):
            for number in range(len(leaf.keys)):
                try:
                    self._free_pages(leaf.value(number, file, view.meta.last_page))
                except PageDamaged as damage:
                    self.flaws.append(Flaw(FREE_LIST, damage.short))

    def _free_pages(self, value: bytes) -> None:
        numbers = [number for (number,) in _NUMBER.iter_unpack(value[: len(value) // 8 * 8])]
        listed = numbers[1:]
        if not numbers or numbers[0] != len(listed) or len(value) % 8:
            self.flaws.append(Flaw(FREE_LIST, "an entry is not as long as it says"))
            return
        last = self.view.meta.last_page
        for before, page in zip([last + 1, *listed], listed, strict=False):
            if not META_PAGES <= page < before:
                self.flaws.append(Flaw(FREE_LIST, f"it lists page {page}, out of order"))
                return
            if page < len(self._used):
                self._use(FREE_LIST, page, 1)


SMALL_TABLES: Final = tuple(table for table in all_tables() if table not in LARGE_TABLES)
CHECKED_WHOLE: Final = 512  # pages; a store up to this size is checked as a whole before a write


def writing_flaws(view: PageView) -> list[Flaw]:
    """Return why a state must not be written to; nothing if it can be.

    Looks at what every write needs. In a small store also for pages that are free and in use, which
    only a look at all of them finds. Damage of single sessions does not count: see `Txn`.
    """
    check = PageCheck(view).core()
    if view.meta.last_page <= CHECKED_WHOLE:
        check.tables(LARGE_TABLES)
    return [flaw for flaw in check.flaws if flaw.table not in LARGE_TABLES]
