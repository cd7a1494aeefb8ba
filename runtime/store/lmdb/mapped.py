"""The LMDB environment of a process that writes: its map, one transaction at a time, its failures.

LMDB maps the file. So the pages that a transaction will follow are checked first (see
`transactions`), and before each transaction it is checked that the file is whole.
"""

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import attrs
import lmdb

from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import StoreDamaged, StoreError, StorePaused
from turnlog.runtime.store.lmdb.checks import writing_flaws
from turnlog.runtime.store.lmdb.rows import FORMAT
from turnlog.runtime.store.lmdb.states import States
from turnlog.runtime.store.lmdb.suitability import DATA_FILE
from turnlog.runtime.store.lmdb.transactions import TABLES, Databases, Txn
from turnlog.runtime.store.lmdb.views import PageView, all_tables
from turnlog.runtime.store.lmdb.write_turn import Turn

T = TypeVar("T")

SMALLEST_MAP: Final = 16 << 20  # tried last, where address space is limited
ENGINE_0_9: Final = 0  # lmdb's `lib_version`: the file format that every LMDB 0.9 reads
FORMAT_KEY: Final = b"format"
REPAIR: Final = (
    "What is sound can be read (`turnlog sessions`, `show`, `export`), and `turnlog doctor "
    "--repair` moves it into a new file and keeps this one."
)


class CommitUncertain(StorePaused):
    """A commit failed, perhaps after it was written. Read the head again."""


@attrs.define(eq=False)
class Mapped:
    """The file of a store, open for writing."""

    store: Path
    turn: Turn
    size: int  # bytes of address space that it may grow to before its map is enlarged
    _env: lmdb.Environment
    _databases: Databases
    _inode: int

    @classmethod
    def open(cls, store: Path, map_size: int) -> "Mapped":
        """Open the file in the folder `store` in its turn; make it if there is none.

        Raises:
            StoreError: it cannot be opened, or turnlog did not make it.
            StoreDamaged: what every write needs is damaged.
        """
        turn = Turn.open(store)
        try:
            with turn.taken():
                env = _open_sound(store, map_size)
                try:
                    databases = _open_databases(store, env)
                    inode = (store / DATA_FILE).stat().st_ino
                except BaseException:
                    env.close()
                    raise
        except BaseException:
            turn.close()
            raise
        return cls(store, turn, env.info()["map_size"], env, databases, inode)

    def close(self) -> None:
        """Close the file."""
        self._env.close()
        self.turn.close()

    def attempt(self, states: States, change: Callable[[Txn], T]) -> T:
        """Commit what `change` does, in this process's turn, once.

        Raises:
            lmdb.MapFullError, lmdb.MapResizedError: nothing was written; enlarge the map.
            CommitUncertain: the commit failed.
            StoreDamaged: the file is not what was opened. Nothing was written.
        """
        with self.turn.taken():
            committed = states.newest()
            self._require_whole(committed)
            txn = self._env.begin(write=True)
            try:
                result = change(Txn(txn, self._databases, committed))
            except BaseException:
                txn.abort()
                raise
            try:
                txn.commit()
            except lmdb.MapFullError:
                raise  # found before the first page is written
            except lmdb.Error as error:
                raise CommitUncertain(f"a commit to {self.store} failed: {error}") from error
            return result

    def _require_whole(self, committed: PageView) -> None:
        """Check that the file is still there, as long as it was: the map would end the process."""
        path, file = self.store / DATA_FILE, committed.file
        try:
            found = path.stat()
        except OSError as error:
            raise StoreDamaged(
                f"{path} cannot be found any more: {error.strerror}. Put it back; writing then "
                "resumes."
            ) from error
        if found.st_ino != self._inode:
            raise StoreDamaged(f"{path} was replaced by another file. Restart what works with it.")
        require_length(path, found.st_size, (committed.meta.last_page + 1) * file.page_size)

    def grow(self) -> None:
        """Double the map.

        Raises:
            StorePaused: there is no address space.
        """
        try:
            self._env.set_mapsize(2 * self.size)
        except lmdb.Error as error:
            raise StorePaused(f"the map of {self.store} cannot grow: {error}") from error
        self.size = self._env.info()["map_size"]

    def adopt_size(self) -> None:
        """Enlarge the map to what another process has made of it."""
        self._env.set_mapsize(0)
        self.size = self._env.info()["map_size"]

    def flags(self) -> dict[str, bool]:
        """Return how LMDB has the file open."""
        return dict[str, bool](self._env.flags())  # type: ignore[arg-type]


def require_length(path: Path, found: int, needed: int) -> None:
    """Refuse a file that was cut off.

    Raises:
        StoreDamaged: it was.
    """
    if found < needed:
        raise StoreDamaged(f"{path} is cut off: it has {found} bytes of {needed}. {REPAIR}")


def _open_sound(store: Path, map_size: int) -> lmdb.Environment:
    """Open a file that is new, or that has been checked."""
    path = store / DATA_FILE
    if path.exists() and (not path.is_file() or path.stat().st_size):
        states = States.open(store)
        try:
            _require_sound(path, states)
        finally:
            states.close()
    return _open_file(store, map_size)


def _require_sound(path: Path, states: States) -> None:
    found, problems = states.metas()
    if problems:
        raise StoreDamaged(f"{path} is damaged: {problems[0]}. {REPAIR}")
    view = PageView(states.pages, found[0])
    require_length(path, states.pages.size(), (found[0].last_page + 1) * states.pages.page_size)
    flaws = writing_flaws(view)
    if flaws:
        flaw = flaws[0]
        raise StoreDamaged(f"{path} is damaged, in {flaw.table}: {flaw.why}. {REPAIR}")


def _open_file(store: Path, map_size: int) -> lmdb.Environment:
    while True:
        try:
            return lmdb.Environment(
                str(store),
                map_size=map_size,
                mode=stat.S_IRUSR | stat.S_IWUSR,
                lock=False,
                max_dbs=16,
                lib_version=ENGINE_0_9,
            )
        except lmdb.MemoryError as error:
            map_size //= 2
            if map_size < SMALLEST_MAP:
                raise StoreError(
                    ErrorCode.STORE_UNSUITABLE, f"there is no address space for {store}: {error}"
                ) from error
        except (lmdb.Error, OSError) as error:
            raise StoreError(
                ErrorCode.STORE_UNSUITABLE, f"the store in {store} cannot be opened: {error}"
            ) from error


def _open_databases(store: Path, env: lmdb.Environment) -> Databases:
    """Open the tables of a store of ours; make them in an empty one."""
    names = all_tables()
    try:
        with env.begin(write=True) as txn:
            if txn.stat()["entries"] == 0:
                made = {name: env.open_db(name.encode(), txn=txn) for name in names}
                txn.put(FORMAT_KEY, FORMAT.to_bytes(4), db=made[TABLES.meta])
        return {name: env.open_db(name.encode(), create=False) for name in names}
    except lmdb.NotFoundError as error:
        raise StoreError(
            ErrorCode.STORE_UNSUITABLE, f"{store / DATA_FILE} was made by something else."
        ) from error
    except lmdb.Error as error:
        raise StoreError(
            ErrorCode.STORE_UNSUITABLE, f"the store in {store} cannot be opened: {error}"
        ) from error
