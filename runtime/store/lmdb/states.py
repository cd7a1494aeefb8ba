"""The committed states of a store, as readers see them: no right to write is needed, nor a lock.

A state's pages are used again by the third commit after it at the earliest, since LMDB takes pages
that were freed two commits before the last one. So a reader that finds, at its end, at most one new
commit has read that state. A reader that was overtaken reads again, and in the end makes the
writers wait. Source: mdb.c, mdb_page_alloc and mdb_find_oldest.
"""

import os
from collections.abc import Callable
from pathlib import Path
from stat import S_ISREG
from typing import Final, TypeVar

import attrs

from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import StoreDamaged, StoreError
from turnlog.runtime.store.lmdb.pages import Metas, PageFile, decode_metas, read_heads
from turnlog.runtime.store.lmdb.suitability import DATA_FILE
from turnlog.runtime.store.lmdb.views import PageView
from turnlog.runtime.store.lmdb.write_turn import nobody_writes

T = TypeVar("T")

_FREE_LOOKS: Final = 2  # of a reader that was overtaken, before it makes the writers wait
_LOOKS: Final = 50  # where the writers cannot be made to wait
_META_LOOKS: Final = 3  # while a commit writes there


_Heads = tuple[bytes, Metas]


@attrs.define(eq=False)
class States:
    """A file of a store, open for reading. Usable from any thread."""

    store: Path
    pages: PageFile
    _heads: _Heads = (b"", ([], []))
    _newest: PageView | None = None

    @classmethod
    def open(cls, store: Path) -> "States":
        """Open the file in the folder `store`.

        Raises:
            StoreError: it cannot be read, or turnlog did not make it.
        """
        path = store / DATA_FILE
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise StoreError(
                ErrorCode.STORE_UNSUITABLE, f"{path} cannot be opened: {error.strerror}."
            ) from error
        try:
            if not S_ISREG(os.fstat(file).st_mode):
                raise StoreError(
                    ErrorCode.STORE_UNSUITABLE, f"{path} cannot be opened: it is no file."
                )
            found, problems = decode_metas(read_heads(file))
            if not found:
                raise StoreError(
                    ErrorCode.STORE_UNSUITABLE,
                    f"{path} is no store, or its first pages are damaged: {problems[0]}. "
                    "Restore it from a backup, or name another place.",
                )
        except BaseException:
            os.close(file)
            raise
        return cls(store, PageFile(file, found[0].page_size))

    def close(self) -> None:
        """Close the file."""
        os.close(self.pages.file)

    def metas(self) -> Metas:
        """Return the states that there are, newest first, and what is wrong with their pages."""
        return self._known_heads()[1]

    def _known_heads(self) -> _Heads:
        """Return the first pages, decoded; decode them again only if their bytes have changed."""
        data = read_heads(self.pages.file, self.pages.page_size)
        heads = self._heads
        if heads[0] != data:
            heads = data, decode_metas(data)
            for _ in range(_META_LOOKS):
                if not heads[1][1]:
                    break
                data = read_heads(self.pages.file, self.pages.page_size)
                heads = data, decode_metas(data)
            self._heads = heads
        return heads

    def newest(self) -> PageView:
        """Return the newest state.

        Raises:
            StoreDamaged: there is none any more.
        """
        found, problems = self.metas()
        if not found:
            raise StoreDamaged(f"the store in {self.store} cannot be read any more: {problems[0]}.")
        view = self._newest
        if view is None or view.meta is not found[0]:
            view = self._newest = PageView(self.pages, found[0])
        return view

    def read(self, look: Callable[[PageView], T]) -> T:
        """Return what `look` finds in one state. It may be called again, and must only look.

        Raises:
            StoreDamaged: it needed a page that is damaged.
            StoreError: others write all the time, and cannot be made to wait.
        """
        for _ in range(_FREE_LOOKS):
            outcome = self._look(look)
            if outcome is not None:
                return outcome[0]
        with nobody_writes(self.store) as is_still:
            if is_still:
                return look(self.newest())
        for _ in range(_LOOKS):
            outcome = self._look(look)
            if outcome is not None:
                return outcome[0]
        raise self._never_still()

    def copy_bytes(self, target: int) -> None:
        """Copy the newest state, with its free pages, to the start of a file (a descriptor).

        Raises:
            StoreError: others write all the time, and cannot be made to wait.
            OSError: the file cannot be written.
        """
        with nobody_writes(self.store) as is_still:
            for _ in range(1 if is_still else _LOOKS):
                before = self.newest().meta
                _copy(self.pages.file, target, (before.last_page + 1) * self.pages.page_size)
                if self.newest().meta == before:
                    return
        raise self._never_still()

    def _never_still(self) -> StoreError:
        return StoreError(
            ErrorCode.STORE_UNSUITABLE,
            f"the store in {self.store} is written all the time, and what it holds cannot be read "
            "meanwhile. Read a copy, or try again when less is written.",
        )

    def _look(self, look: Callable[[PageView], T]) -> tuple[T] | None:
        """Return what `look` finds; None if its pages may have been used again meanwhile."""
        view = self.newest()
        try:
            found = look(view)
        except Exception:
            if self._is_overtaken(view):
                return None
            raise
        return None if self._is_overtaken(view) else (found,)

    def _is_overtaken(self, view: PageView) -> bool:
        return self.newest().id() > view.id() + 1


def _copy(source: int, target: int, size: int) -> None:
    os.ftruncate(target, 0)
    os.lseek(target, 0, os.SEEK_SET)
    done = 0
    while done < size and (sent := os.sendfile(target, source, done, size - done)):
        done += sent
