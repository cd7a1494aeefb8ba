"""An open store: reading one state of it, writing the next.

LMDB writes (see `mapped`). Readers read the pages themselves (see `states`), so damage cannot end
their process. LMDB's locks are off: writers wait for their turn (see `write_turn`).
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import attrs
import lmdb

from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import StoreError, StorePaused, StoreTooNew
from turnlog.runtime.store.lmdb.backup import copy_store
from turnlog.runtime.store.lmdb.checks import Flaw, PageCheck
from turnlog.runtime.store.lmdb.mapped import FORMAT_KEY, Mapped
from turnlog.runtime.store.lmdb.pages import PageDamaged
from turnlog.runtime.store.lmdb.read_write_lock import ReadWriteLock
from turnlog.runtime.store.lmdb.rows import FORMAT
from turnlog.runtime.store.lmdb.states import States
from turnlog.runtime.store.lmdb.suitability import DATA_FILE, prepare_folder
from turnlog.runtime.store.lmdb.transactions import TABLES, Txn
from turnlog.runtime.store.lmdb.views import PageView, Tables, View

if TYPE_CHECKING:
    from turnlog.runtime.store.lmdb.salvage import Salvage

T = TypeVar("T")

MAP_SIZE: Final = 64 << 30  # address space, not disk; doubled when it is full
_PROBE_KEY: Final = b"probe"
_MAKING_LOOKS: Final = 20
_MAKING_PERIOD: Final = 0.05  # seconds between two looks at a store that is being made


@attrs.define(eq=False)
class Environment:
    """An open store. Reads from any thread; writes from the one that calls `write`."""

    path: Path
    states: States
    _mapped: Mapped | None  # None: read-only
    tables: Tables = TABLES
    _salvage: "tuple[int, Salvage] | None" = None  # of the state with this number
    _broken: bool = False  # closed, and not opened again: the disk did not let us
    _lock: ReadWriteLock = attrs.field(factory=ReadWriteLock)
    _pid: int = attrs.field(factory=os.getpid)

    @classmethod
    def open(
        cls, path: Path, *, read_only: bool = False, map_size: int = MAP_SIZE
    ) -> "Environment":
        """Open the store in the folder `path`; make it if there is none.

        Raises:
            StoreError: the place cannot hold a store, or what it holds is not a store.
            StoreDamaged: it is to be written, and what every write needs is damaged.
            StoreTooNew: a newer turnlog made it.
        """
        prepare_folder(path, read_only=read_only)
        mapped = None if read_only else Mapped.open(path, map_size)
        try:
            return cls(path, _open_states(path), mapped)
        except BaseException:
            if mapped is not None:
                mapped.close()
            raise

    @property
    def read_only(self) -> bool:
        """Whether the store was opened for reading only."""
        return self._mapped is None

    @property
    def mapped(self) -> Mapped:
        """The file as it is open for writing.

        Raises:
            StoreError: it is not.
        """
        if self._mapped is None:
            raise StoreError(
                ErrorCode.STORE_ERROR,
                "this store was opened read-only. Open it for writing to change it.",
            )
        return self._mapped

    @property
    def map_size(self) -> int:
        """Bytes of address space that the file may grow to before its map is enlarged."""
        return self.mapped.size

    def close(self) -> None:
        """Close the store, after the last reader has finished."""
        with self._lock.exclusive():
            self._close()

    def _close(self) -> None:
        if self._mapped is not None:
            self._mapped.close()
        self.states.close()

    def reopen(self) -> None:
        """Open the file again: LMDB asks for that after a failed write of its meta page.

        If this fails, reading fails, and the next write tries it again.

        Raises:
            StoreError, lmdb.Error: the file cannot be opened now.
        """
        with self._lock.exclusive():
            if not self._broken:
                self._broken = True
                self._close()
            prepare_folder(self.path, read_only=True)  # a file that is gone is not made again
            self._mapped = Mapped.open(self.path, self.mapped.size)
            self.states = _open_states(self.path)
            self._broken = False

    def require_own_process(self) -> None:
        """Check that this is the process that opened the store.

        Raises:
            StoreError: this process was forked from it; LMDB would not notice.
        """
        if os.getpid() != self._pid:
            raise StoreError(
                ErrorCode.STORE_ERROR,
                "a forked process cannot use its parent's log. Open it again.",
            )

    def read(self, look: Callable[[View], T]) -> T:
        """Return what `look` finds in one state. It may be called again, and must only look.

        A store that was opened read-only gives what can be salvaged where pages are damaged.

        Raises:
            StoreDamaged: it needed a page that is damaged.
            StoreError: the file cannot be read.
        """
        self.require_own_process()
        with self._lock.shared():
            if self._broken:
                raise StoreError(
                    ErrorCode.STORE_ERROR, f"the store in {self.path} could not be opened again."
                )
            try:
                return self.states.read(look)
            except PageDamaged:
                if not self.read_only:
                    raise
                return look(self._salvaged())

    def _salvaged(self) -> "Salvage":
        from turnlog.runtime.store.lmdb.salvage import Salvage  # seldom needed

        state = self.states.newest().id()
        if self._salvage is None or self._salvage[0] != state:
            self._salvage = state, Salvage.of(self.states)
        return self._salvage[1]

    def salvaged(self) -> "Salvage":
        """Return what can be read of the newest state, whatever is damaged."""
        with self._lock.shared():
            return self._salvaged()

    def check_pages(self) -> list[Flaw]:
        """Check all pages of the newest state; nobody writes meanwhile, 3 ms a megabyte."""
        with self._lock.shared():
            heads = [Flaw("the file's head", problem) for problem in self.states.metas()[1]]
            return heads + self.states.read(lambda view: PageCheck(view).everything().flaws)

    def write(self, change: Callable[[Txn], T]) -> T:
        """Commit what `change` does, and return what it returns, once it is on disk.

        `change` is called again if the map had to grow: it must have no other effect. If it
        raises, nothing is written.

        Raises:
            CommitUncertain: the commit failed.
            StorePaused: the map is full and cannot grow, or the file had to be opened again and
                cannot be opened yet. Nothing was written.
            StoreDamaged: the file is not what was opened. Nothing was written.
        """
        if self._broken:
            self._open_again()
        while True:
            try:
                with self._lock.shared():
                    return self.mapped.attempt(self.states, change)
            except lmdb.MapFullError:
                self.mapped.grow()
            except lmdb.MapResizedError:
                self.mapped.adopt_size()

    def _open_again(self) -> None:
        try:
            self.reopen()
        except (StoreError, lmdb.Error) as error:
            raise StorePaused(f"{self.path} could not be opened again: {error}") from error

    def copy(self, destination: Path) -> None:
        """Write a copy of the newest state into an empty folder. See `copy_store`.

        Raises:
            StoreError: the folder is not empty, or cannot be written.
        """
        with self._lock.shared():
            copy_store(self.states, destination)

    def free_bytes(self) -> int:
        """Return how much of the disk this user may still fill."""
        disk = os.statvfs(self.path)
        return disk.f_bavail * disk.f_frsize

    def touch(self, txn: Txn) -> None:
        """Change something that nobody reads, so that the commit needs the disk."""
        txn.put(_PROBE_KEY, os.urandom(8), db=self.tables.meta)

    def probe(self) -> None:
        """Commit something, to see whether the disk takes it.

        Raises:
            CommitUncertain, StorePaused, lmdb.Error: it does not.
        """
        try:
            self.write(self.touch)
        except lmdb.PanicError:
            self.reopen()
            raise


def _open_states(path: Path) -> States:
    """Open a store of ours for reading.

    Raises:
        StoreError, StoreTooNew: it is not a store, or a newer one.
    """
    states = States.open(path)
    try:
        _wait_for_tables(states)
        found = states.read(_format)
        if found is None:
            raise StoreError(
                ErrorCode.STORE_UNSUITABLE, f"{path / DATA_FILE} was made by something else."
            )
        if found > FORMAT:
            raise StoreTooNew(found=found, known=FORMAT)
    except BaseException:
        states.close()
        raise
    return states


def _format(view: PageView) -> int | None:
    """Return the version of the tables: ours if damage hides it, None if there are none."""
    try:
        stored = view.get(FORMAT_KEY, db=TABLES.meta)
    except PageDamaged:
        return FORMAT
    return None if stored is None else int.from_bytes(stored)


def _wait_for_tables(states: States) -> None:
    """Give the engine that is just making this store the time to do so."""
    for _ in range(_MAKING_LOOKS):
        if states.newest().meta.main.depth:
            return
        time.sleep(_MAKING_PERIOD)
