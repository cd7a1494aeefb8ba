"""The LMDB environment: opening it, one transaction at a time, its map, its failures.

Nothing outside of the store's modules sees a transaction, and none is kept after use. Keys and
values are copied out of the map (`buffers=False`), so no buffer can outlive its transaction.
"""

import os
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

import attrs
import lmdb

from turnlog.protocol.errors import LogPaused, SchemaTooNew, StoreError, StoreUnsuitable
from turnlog.runtime.private_files import make_private_folder, new_private_file
from turnlog.runtime.store.gate import Gate
from turnlog.runtime.store.rows import FORMAT
from turnlog.runtime.store.suitability import DATA_FILE, prepare_folder

if TYPE_CHECKING:
    from lmdb import _Database as Table  # pyright: ignore[reportPrivateUsage]

T = TypeVar("T")
Txn: TypeAlias = "lmdb.Transaction[bytes]"

MAP_SIZE: Final = 64 << 30  # address space, not disk; doubled when it is full
SMALLEST_MAP: Final = 16 << 20  # tried last, where address space is limited
ENGINE_0_9: Final = 0  # lmdb's `lib_version`: the file format that every LMDB 0.9 reads
_FORMAT_KEY: Final = b"format"
_PROBE_KEY: Final = b"probe"
_MAKING_LOOKS: Final = 20
_MAKING_PERIOD: Final = 0.05  # seconds between two looks at a store that is being made


class CommitUncertain(LogPaused):
    """A commit failed, perhaps after it was written. Read the head again."""


@attrs.frozen
class Tables:
    """The named databases of one open environment."""

    events: "Table"  # session, sequence -> digest (16 bytes), envelope
    sessions: "Table"  # session -> SessionRow
    summaries: "Table"  # session -> SessionSummary
    recent: "Table"  # time of the newest turn, session -> nothing
    children: "Table"  # base, fork -> cut
    blobs: "Table"  # SHA-256 -> codec byte, content
    inbox: "Table"  # session, hash of the op id -> InboxRow
    snapshots: "Table"  # session, sequence -> SnapshotRow
    meta: "Table"


def keys_under(txn: Txn, table: "Table", prefix: bytes) -> list[bytes]:
    """Return the keys of `table` that begin with `prefix`."""
    cursor, found = txn.cursor(db=table), list[bytes]()
    if cursor.set_range(prefix):
        for key in cursor.iternext(keys=True, values=False):
            if not key.startswith(prefix):
                break
            found.append(key)
    return found


def _existing_tables(env: lmdb.Environment) -> Tables:
    names = [field.name.encode() for field in attrs.fields(Tables)]
    return Tables(*(env.open_db(name, create=False) for name in names))


def _new_tables(env: lmdb.Environment, txn: Txn) -> Tables:
    names = [field.name.encode() for field in attrs.fields(Tables)]
    return Tables(*(env.open_db(name, txn=txn) for name in names))


@attrs.define(eq=False)
class Environment:
    """An open store. Reads from any thread; writes from the one that calls `write`."""

    path: Path
    read_only: bool
    _env: lmdb.Environment
    tables: Tables
    map_size: int  # bytes of address space that it may grow to before its map is enlarged
    _broken: bool = False  # closed, and not opened again: the disk did not let us
    _gate: Gate = attrs.field(factory=Gate)
    _pid: int = attrs.field(factory=os.getpid)

    @classmethod
    def open(
        cls, path: Path, *, read_only: bool = False, map_size: int = MAP_SIZE
    ) -> "Environment":
        """Open the store in the folder `path`; make it if there is none.

        Raises:
            StoreUnsuitable: the place cannot hold a store, or what it holds is none.
            SchemaTooNew: a newer turnlog made it.
        """
        prepare_folder(path, read_only=read_only)
        env = _open_file(path, read_only, map_size)
        try:
            _require_whole(path, env)
            tables = _open_tables(path, env, read_only)
            if not read_only:
                env.reader_check()
        except BaseException:
            env.close()
            raise
        return cls(path, read_only, env, tables, env.info()["map_size"])

    def close(self) -> None:
        """Close the store, once nobody reads."""
        with self._gate.exclusive():
            self._env.close()

    def reopen(self) -> None:
        """Open the file anew: after a failed write of its meta page, LMDB asks for that.

        Where this fails, reading fails, and the next write tries it again.

        Raises:
            StoreError, lmdb.Error: the file cannot be opened now.
        """
        with self._gate.exclusive():
            self._broken = True
            self._env.close()
            prepare_folder(self.path, read_only=True)  # a file that is gone is not begun anew
            self._env = _open_file(self.path, self.read_only, self.map_size)
            self.tables = _open_tables(self.path, self._env, self.read_only)
            self.map_size = self._env.info()["map_size"]
            self._broken = False

    def reader_table(self) -> str:
        """Return LMDB's list of readers: process, thread, transaction or a dash, a line each."""
        return self._env.readers()

    def require_own_process(self) -> None:
        """Check that this is the process that opened the store.

        Raises:
            StoreError: this process was forked from it; LMDB would not notice.
        """
        if os.getpid() != self._pid:
            raise StoreError("a forked process cannot use its parent's log. Open it anew.")

    def read(self, look: Callable[[Txn], T]) -> T:
        """Return what `look` finds in one snapshot. `look` must not read or write again.

        Raises:
            StoreError: the reader table is full, or the pages are damaged.
        """
        self.require_own_process()
        try:
            while True:
                try:
                    with self._gate.shared():
                        return self._look(look)
                except lmdb.MapResizedError:
                    self._adopt_map_size()
        except lmdb.Error as error:
            release_frames(error)
            raise StoreError(
                f"the store in {self.path} cannot be read: {error}. `turnlog doctor` reports why."
            ) from error
        except BaseException as error:
            release_frames(error)
            raise

    def _look(self, look: Callable[[Txn], T]) -> T:
        try:
            txn = self._env.begin()
        except lmdb.ReadersFullError:
            if not self._env.reader_check():
                raise StoreError(
                    "too many readers have the store open. Close some, or wait."
                ) from None
            txn = self._env.begin()
        with txn:
            return look(txn)

    def write(self, change: Callable[[Txn], T]) -> T:
        """Commit what `change` does, and return what it returns, once it is on disk.

        `change` is called again if the map had to grow: it must have no other effect. If it
        raises, nothing is written.

        Raises:
            CommitUncertain: the commit failed.
            LogPaused: the map is full and cannot grow, or the file, which had to be opened anew,
                cannot be opened yet. Nothing was written.
        """
        try:
            if self._broken:
                self._mend()
            while True:
                try:
                    with self._gate.shared():
                        return self._attempt(change)
                except lmdb.MapFullError:
                    self._grow()
                except lmdb.MapResizedError:
                    self._adopt_map_size()
        except BaseException as error:
            release_frames(error)
            raise

    def _mend(self) -> None:
        try:
            self.reopen()
        except (StoreError, lmdb.Error) as error:
            raise LogPaused(f"{self.path} could not be opened anew: {error}") from error

    def _attempt(self, change: Callable[[Txn], T]) -> T:
        txn = self._env.begin(write=True)
        try:
            result = change(txn)
        except BaseException:
            txn.abort()
            raise
        try:
            txn.commit()
        except lmdb.MapFullError:
            raise  # found before the first page is written
        except lmdb.Error as error:
            raise CommitUncertain(f"a commit to {self.path} failed: {error}") from error
        return result

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
            CommitUncertain, LogPaused, lmdb.Error: it does not.
        """
        try:
            self.write(self.touch)
        except lmdb.PanicError:
            self.reopen()
            raise

    def copy(self, destination: Path) -> None:
        """Write a compacted copy of the present state into an empty folder.

        Raises:
            StoreUnsuitable: the folder is not empty, or cannot be written.
        """
        try:
            make_private_folder(destination)
            if any(destination.iterdir()):
                raise StoreUnsuitable(f"{destination} is not empty. Name a new folder.")
            # LMDB would make the file itself with whatever mode the umask leaves.
            with open(new_private_file(destination / DATA_FILE), "wb") as file:
                with self._gate.shared():
                    self._env.copyfd(file.fileno(), compact=True)
                os.fsync(file.fileno())
        except (OSError, lmdb.Error) as error:
            raise StoreUnsuitable(f"cannot write a copy to {destination}: {error}") from error

    def _grow(self) -> None:
        with self._gate.exclusive():
            self._env.reader_check()  # a killed reader keeps freed pages from being used again
            try:
                self._env.set_mapsize(2 * self.map_size)
            except lmdb.Error as error:
                raise LogPaused(f"the map of {self.path} cannot grow: {error}") from error
            self.map_size = self._env.info()["map_size"]

    def _adopt_map_size(self) -> None:
        with self._gate.exclusive():
            self._env.set_mapsize(0)
            self.map_size = self._env.info()["map_size"]


def _open_file(path: Path, read_only: bool, map_size: int) -> lmdb.Environment:
    while True:
        try:
            return lmdb.Environment(
                str(path),
                map_size=map_size,
                readonly=read_only,
                mode=0o600,
                create=not read_only,
                max_readers=512,
                max_dbs=16,
                lib_version=ENGINE_0_9,
            )
        except lmdb.MemoryError as error:
            map_size //= 2
            if map_size < SMALLEST_MAP:
                raise StoreUnsuitable(f"there is no address space for {path}: {error}") from error
        except (lmdb.InvalidError, lmdb.VersionMismatchError, lmdb.CorruptedError) as error:
            raise StoreUnsuitable(
                f"{path / DATA_FILE} is no store, or its first pages are damaged: {error}. "
                "Restore it from a backup, or name another place."
            ) from error
        except (lmdb.Error, OSError) as error:
            raise StoreUnsuitable(f"the store in {path} cannot be opened: {error}") from error


def _require_whole(path: Path, env: lmdb.Environment) -> None:
    """Refuse a file that was cut off: to read behind its end would end the process."""
    with env.begin() as txn:
        page_size = txn.stat()["psize"]
    needed = (env.info()["last_pgno"] + 1) * page_size
    found = (path / DATA_FILE).stat().st_size
    if found < needed:
        raise StoreUnsuitable(
            f"{path / DATA_FILE} is cut off: it has {found} bytes of {needed}. Restore it from "
            "a backup; `turnlog doctor` shows what is damaged."
        )


def _open_tables(path: Path, env: lmdb.Environment, read_only: bool) -> Tables:
    """Open the tables of a store of ours; make them in an empty one."""
    try:
        if not read_only:
            with env.begin(write=True) as txn:
                if txn.stat()["entries"] == 0:
                    meta = _new_tables(env, txn).meta
                    txn.put(_FORMAT_KEY, FORMAT.to_bytes(4), db=meta)
        else:
            _wait_for_tables(env)
        tables = _existing_tables(env)
        with env.begin() as txn:
            found = int.from_bytes(txn.get(_FORMAT_KEY, b"", db=tables.meta))
    except lmdb.NotFoundError as error:
        raise StoreUnsuitable(f"{path / DATA_FILE} was made by something else.") from error
    except lmdb.Error as error:
        raise StoreUnsuitable(f"the store in {path} cannot be opened: {error}") from error
    if found > FORMAT:
        raise SchemaTooNew(found=found, known=FORMAT)
    return tables


def _wait_for_tables(env: lmdb.Environment) -> None:
    """Give the engine that is just making this store the time to do so."""
    for _ in range(_MAKING_LOOKS):
        with env.begin() as txn:
            if txn.stat()["entries"]:
                return
        time.sleep(_MAKING_PERIOD)


def release_frames(error: BaseException | None) -> None:
    """Let go of the transactions that an error's traceback holds: each keeps a reader slot."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
