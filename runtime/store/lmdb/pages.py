"""Reading the pages of a store without LMDB, so that damage is an error and never a signal.

LMDB maps the file and trusts each number in it: a changed page can end the process. Here pages are
read with pread(2), and each number is compared with its bounds before it is used. A page that was
changed by chance is told by its number, its kind, its bounds, the sum of its entries, and the order
of its keys between those of its parent. What a value says is checked above, by the digest chain.

Format: LMDB 0.9's on a 64-bit machine of this byte order. Source: mdb.c, "Page and node layout".
"""

import os
import sys
from collections.abc import Iterator
from operator import lt
from struct import Struct
from typing import Final

import attrs

from turnlog.protocol.errors import StoreDamaged

HEADER: Final = Struct("=QHHHH")  # page number, pad, flags, lower (or pages, as u32), upper
HEADER_BYTES: Final = 16
_NODE: Final = Struct("=HHHH")  # size (or child), low and high half; flags (or child); key's size
_NODE_BYTES: Final = 8
_PAGE_NUMBER: Final = Struct("=Q")
_EXTENT: Final = Struct("=QHHI")  # page number, pad, flags, pages: the head of a long value
_TREE: Final = Struct("=IHHQQQQQ")  # pad, flags, depth, branch, leaf, long pages, entries, root
_META: Final = Struct("=IIQQ")  # magic, version, map's address, map's size
_META_TAIL: Final = Struct("=QQ")  # last page, transaction
_MAGIC: Final = 0xBEEFC0DE
_VERSION: Final = 1
META_PAGES: Final = 2
META_BYTES: Final = HEADER_BYTES + _META.size + 2 * _TREE.size + _META_TAIL.size
_PAGE_SIZES: Final = frozenset(1 << bits for bits in range(9, 16))

_BRANCH, _LEAF, _LONG, _IS_META = 0x01, 0x02, 0x04, 0x08  # flags of a page
IS_LONG, IS_TREE = 0x01, 0x02  # flags of a leaf's entry: where its value lies, and what it is
_FREE_FLAGS: Final = 0x08  # the free list's keys are integers
_NO_ROOT: Final = (1 << 64) - 1
_DEEPEST: Final = 32
_REMEMBERED: Final = 64  # pages, decoded

Bounds = tuple[bytes, bytes | None]  # a subtree's keys: from the first, up to the second
EVERYTHING: Final[Bounds] = (b"", None)


class PageDamaged(StoreDamaged):
    """A page is not what LMDB writes. The place is its number, from 0."""

    def __init__(self, page: int, why: str) -> None:
        self.page = page
        self.short: str = f"page {page} of the store is damaged: {why}"
        super().__init__(
            f"{self.short}. Other sessions can be used. `turnlog doctor` reports all damage."
        )


@attrs.frozen
class Tree:
    """One table: the page that it begins at, and how many levels of pages it has; 0: empty."""

    root: int
    depth: int
    entries: int


EMPTY: Final = Tree(_NO_ROOT, 0, 0)


@attrs.frozen
class Meta:
    """A state of the store, as a commit has left it."""

    transaction: int
    page_size: int
    last_page: int
    free: Tree
    main: Tree  # of the named tables


@attrs.frozen
class Branch:
    """A page of references: `children[i]` has the keys from `keys[i]` to those of the next."""

    keys: list[bytes]  # the first is empty: from the lowest
    children: list[int]


@attrs.frozen
class Leaf:
    """A page of entries. A value is in the page, or in pages of its own."""

    data: bytes
    keys: list[bytes]
    places: list[tuple[int, int, int]]  # flags; where the value begins in the page; its size

    def value(self, number: int, file: "PageFile", last_page: int) -> bytes:
        """Return the value of an entry.

        Raises:
            PageDamaged: its pages are damaged.
        """
        flags, start, size = self.places[number]
        if flags & IS_LONG:
            return file.long_value(self.long_page(number), size, last_page)
        return self.data[start : start + size]

    def require_value(self, number: int, file: "PageFile", last_page: int) -> None:
        """Check that the pages of a value are there.

        Raises:
            PageDamaged: they are not.
        """
        flags, _, size = self.places[number]
        if flags & IS_LONG:
            page = self.long_page(number)
            pages = file.check_long(page, size, last_page)
            if (page + pages) * file.page_size > file.size():
                raise PageDamaged(page, "the file is cut off before the end of a value")

    def long_values(self) -> Iterator[tuple[int, int]]:
        """Yield the first page of each long value, and its size in bytes."""
        for flags, start, size in self.places:
            if flags & IS_LONG:
                yield _PAGE_NUMBER.unpack_from(self.data, start)[0], size

    def check_long_values(self, file: "PageFile", last_page: int) -> None:
        """Look at the first page of each long value.

        Raises:
            PageDamaged: one is not there.
        """
        for page, size in self.long_values():
            file.check_long(page, size, last_page)

    def long_page(self, number: int) -> int:
        """Return where the pages of a long value begin."""
        page: int = _PAGE_NUMBER.unpack_from(self.data, self.places[number][1])[0]
        return page


Node = Branch | Leaf


@attrs.define(eq=False)
class PageFile:
    """The pages of one file. Usable from any thread; a file that shrinks is damage."""

    file: int  # descriptor, open for reading
    page_size: int
    integer_keys: bool = False  # those of the free list
    _decoded: dict[int, tuple[bytes, Node]] = attrs.field(factory=dict[int, "tuple[bytes, Node]"])

    def size(self) -> int:
        """Return the size of the file now, in bytes."""
        return os.fstat(self.file).st_size

    def read(self, page: int, pages: int = 1) -> bytes:
        """Return the bytes of some pages.

        Raises:
            PageDamaged: the file ends before them.
        """
        size = pages * self.page_size
        data = _read(self.file, page, size, page * self.page_size)
        if len(data) != size:
            raise PageDamaged(page, "the file is cut off before its end")
        return data

    def node(self, page: int) -> "Node":
        """Return a page of a tree, decoded. Equal bytes are decoded once.

        Raises:
            PageDamaged: it is not a page of a tree.
        """
        data = self.read(page)
        known = self._decoded.get(page)
        if known is not None and known[0] == data:
            return known[1]
        node = decode(page, data, integer_keys=self.integer_keys)
        if len(self._decoded) >= _REMEMBERED:
            self._decoded.clear()
        self._decoded[page] = data, node
        return node

    def long_value(self, page: int, size: int, last_page: int) -> bytes:
        """Return a value that has pages of its own."""
        needed = self._pages_of(page, size, last_page)
        data = self.read(page, needed)
        _require_extent(page, data, needed)
        return data[HEADER_BYTES : HEADER_BYTES + size]

    def check_long(self, page: int, size: int, last_page: int) -> int:
        """Return how many pages a long value has, from its first one alone."""
        needed = self._pages_of(page, size, last_page)
        data = _read(self.file, page, HEADER_BYTES, page * self.page_size)
        _require_extent(page, data, needed)
        return needed

    def _pages_of(self, page: int, size: int, last_page: int) -> int:
        needed = (HEADER_BYTES - 1 + size) // self.page_size + 1
        if not META_PAGES <= page <= last_page or page + needed - 1 > last_page:
            raise PageDamaged(page, "a value lies outside of the store")
        return needed


def _require_extent(page: int, data: bytes, pages: int) -> None:
    if len(data) < HEADER_BYTES or _EXTENT.unpack_from(data) != (page, 0, _LONG, pages):
        raise PageDamaged(page, "it is not the beginning of a long value")


def _read(file: int, page: int, size: int, start: int) -> bytes:
    try:
        return os.pread(file, size, start)
    except (OverflowError, ValueError, MemoryError):
        return b""  # a place or a size that no file has
    except OSError as error:
        raise PageDamaged(page, f"it cannot be read: {error.strerror}") from error


# --- what a page holds ------------------------------------------------------------------------


def decode(page: int, data: bytes, *, integer_keys: bool = False) -> Node:
    """Return what a tree's page holds.

    Raises:
        PageDamaged: it is not such a page.
    """
    number, _, flags, lower, upper = HEADER.unpack_from(data)
    if number != page:
        raise PageDamaged(page, f"it says that it is page {number}")
    if flags not in (_BRANCH, _LEAF):
        raise PageDamaged(page, "it is no page of a table")
    if not HEADER_BYTES <= lower <= upper <= len(data) or lower % 2:
        raise PageDamaged(page, "its bounds are wrong")
    places = Struct(f"={(lower - HEADER_BYTES) // 2}H").unpack_from(data, HEADER_BYTES)
    if places and not upper <= min(places) <= max(places) <= len(data) - _NODE_BYTES:
        raise PageDamaged(page, "an entry lies outside of it")
    node, used = (_leaf if flags == _LEAF else _branch)(page, data, places)
    if used != len(data) - upper:
        raise PageDamaged(page, "its entries do not fill it")
    keys = node.keys
    if integer_keys and sys.byteorder == "little":
        keys[:] = [key[::-1] for key in keys]
    if not all(map(lt, keys, keys[1:])):
        raise PageDamaged(page, "its keys are not in order")
    return node


def _leaf(page: int, data: bytes, places: tuple[int, ...]) -> tuple[Leaf, int]:
    keys, values, used, end = list[bytes](), list[tuple[int, int, int]](), 0, len(data)
    read = _NODE.unpack_from
    for place in places:
        low, high, flags, key_size = read(data, place)
        start = place + _NODE_BYTES
        value = start + key_size
        size = low | high << 16
        after = value + (_PAGE_NUMBER.size if flags & IS_LONG else size)
        if after > end or flags > IS_TREE:
            raise PageDamaged(page, "an entry is larger than the page, or of no known kind")
        keys.append(data[start:value])
        values.append((flags, value, size))
        used += (after - place + 1) & ~1
    return Leaf(data, keys, values), used


def _branch(page: int, data: bytes, places: tuple[int, ...]) -> tuple[Branch, int]:
    keys, children, used, end = list[bytes](), list[int](), 0, len(data)
    read = _NODE.unpack_from
    for place in places:
        low, middle, high, key_size = read(data, place)
        start = place + _NODE_BYTES
        after = start + key_size
        if after > end:
            raise PageDamaged(page, "a reference is larger than the page")
        keys.append(data[start:after])
        children.append(low | middle << 16 | high << 32)
        used += (after - place + 1) & ~1
    if not children:
        raise PageDamaged(page, "it refers to nothing")
    keys[0] = b""
    return Branch(keys, children), used


def tree_of(page: int, data: bytes, start: int) -> Tree:
    """Return the table whose record is in a page.

    Raises:
        PageDamaged: there is none.
    """
    _, flags, depth, _, _, _, entries, root = _TREE.unpack_from(data, start)
    if flags not in (0, _FREE_FLAGS) or depth > _DEEPEST or (depth == 0) != (root == _NO_ROOT):
        raise PageDamaged(page, "a table's record is wrong")
    return Tree(root, depth, entries)


# --- trees ------------------------------------------------------------------------------------


@attrs.frozen
class Gap:
    """A part of a table that cannot be read."""

    bounds: Bounds
    damage: PageDamaged


@attrs.frozen
class Place:
    """A part of a tree: the page that it begins at, and the keys that it may hold."""

    page: int
    depth: int  # levels of pages; 1: a leaf
    bounds: Bounds = EVERYTHING

    def node(self, file: PageFile, last_page: int) -> Node:
        """Return its first page.

        Raises:
            PageDamaged: it is not what the page above it promises.
        """
        if not META_PAGES <= self.page <= last_page:
            raise PageDamaged(self.page, "it lies outside of the store")
        node = file.node(self.page)
        if isinstance(node, Leaf) != (self.depth == 1):
            raise PageDamaged(self.page, "it is of another level of its table")
        low, high = self.bounds
        keys = node.keys if isinstance(node, Leaf) else node.keys[1:]
        if keys and (keys[0] < low or (high is not None and keys[-1] >= high)):
            raise PageDamaged(self.page, "it has keys of another part of its table")
        if isinstance(node, Leaf) and not keys:
            raise PageDamaged(self.page, "it is empty")
        return node

    def child(self, node: Branch, number: int) -> "Place":
        """Return a part of this part."""
        low, high = self.bounds
        keys, after = node.keys, number + 1
        bounds = keys[number] if number else low, keys[after] if after < len(keys) else high
        return Place(node.children[number], self.depth - 1, bounds)


def walk(file: PageFile, tree: Tree, last_page: int) -> Iterator[tuple[Place, Node] | Gap]:
    """Yield each page of a table, in the order of keys, or what cannot be read of it."""
    places = [Place(tree.root, tree.depth)] if tree.depth else []
    while places:
        place = places.pop()
        try:
            node = place.node(file, last_page)
        except PageDamaged as damage:
            yield Gap(place.bounds, damage)
            continue
        yield place, node
        if isinstance(node, Branch):
            places += (place.child(node, n) for n in reversed(range(len(node.children))))


# --- the states -------------------------------------------------------------------------------


Metas = tuple[list[Meta], list[str]]  # newest first; what is wrong with their pages


def read_heads(file: int, page_size: int | None = None) -> bytes:
    """Return the bytes of the file's first two pages that `decode_metas` needs.

    Args:
        page_size: None: not known yet.
    """
    return _read(file, 0, (page_size or max(_PAGE_SIZES)) + META_BYTES, 0)


def decode_metas(data: bytes) -> Metas:
    """Return the states that the first two pages describe."""
    first, problem = _meta(data[:META_BYTES], 0)
    problems = [problem] if problem else []
    sizes = [first.page_size] if first else sorted(_PAGE_SIZES)
    found = [first] if first else []
    problem = ""
    for size in sizes:
        second, problem = _meta(data[size : size + META_BYTES], 1)
        if second is not None and second.page_size == size:
            found.append(second)
            break
    else:
        problems.append(problem or PageDamaged(1, "its page size is another").short)
    if len(found) == META_PAGES and abs(found[0].transaction - found[1].transaction) > 1:
        problems.append("pages 0 and 1 of the store are damaged: their commits do not follow")
    return sorted(found, key=lambda meta: -meta.transaction), problems


def _meta(data: bytes, page: int) -> tuple[Meta | None, str]:
    try:
        return _decode_meta(data, page), ""
    except PageDamaged as error:
        return None, error.short


def _decode_meta(data: bytes, page: int) -> Meta:
    if len(data) < META_BYTES:
        raise PageDamaged(page, "the file ends within it")
    number, _, flags, _, _ = HEADER.unpack_from(data)
    magic, version, _, _ = _META.unpack_from(data, HEADER_BYTES)
    if (number, flags, magic, version) != (page, _IS_META, _MAGIC, _VERSION):
        raise PageDamaged(page, "it is not the head of a store")
    free_at = HEADER_BYTES + _META.size
    size, free_flags, *_ = _TREE.unpack_from(data, free_at)
    last_page, transaction = _META_TAIL.unpack_from(data, free_at + 2 * _TREE.size)
    free, main = tree_of(page, data, free_at), tree_of(page, data, free_at + _TREE.size)
    if size not in _PAGE_SIZES or free_flags != _FREE_FLAGS or last_page < META_PAGES - 1:
        raise PageDamaged(page, "its numbers are wrong")
    if transaction % META_PAGES != page and transaction:
        raise PageDamaged(page, "it tells of a commit that it cannot be of")
    return Meta(transaction, size, last_page, free, main)
