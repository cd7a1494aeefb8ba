"""One write transaction of LMDB's, which never follows a page that has not been checked.

The tables that every write needs are checked as a whole when the store is opened for writing. In
the tables that grow with the sessions, the pages that lead to a key are checked before LMDB reads
them: by `get` itself, and by `check` before a write. What this or another engine has written since
then is trusted.
"""

from typing import TYPE_CHECKING, Final, TypeAlias, cast, overload

import attrs
import lmdb

from turnlog.runtime.store.lmdb.views import Cursor, PageView, Table, Tables, View

if TYPE_CHECKING:
    from lmdb import _Database as Database  # pyright: ignore[reportPrivateUsage]

Databases: TypeAlias = "dict[Table, Database]"
TABLES: Final = Tables()
LARGE_TABLES: Final = (TABLES.events, TABLES.blobs, TABLES.snapshots)


@attrs.define(eq=False)
class Txn:
    """A `View` that can be changed. Ends with its function: nothing of it may be kept."""

    _txn: "lmdb.Transaction[bytes]"
    _databases: Databases
    _committed: PageView

    @overload
    def get(self, key: bytes, default: bytes, *, db: Table) -> bytes: ...
    @overload
    def get(self, key: bytes, default: None = None, *, db: Table) -> bytes | None: ...
    def get(self, key: bytes, default: bytes | None = None, *, db: Table) -> bytes | None:
        """Return the value of `key`, once the pages that lead to it were checked."""
        if db in LARGE_TABLES:
            self.check(db, key)
        return self._txn.get(key, default, db=self._databases[db])

    def cursor(self, *, db: Table) -> Cursor:
        """Return a cursor. Of a large table: `check_range` goes before."""
        return cast(Cursor, self._txn.cursor(db=self._databases[db]))

    def put(self, key: bytes, value: bytes, *, overwrite: bool = True, db: Table) -> bool:
        """Write an entry; return whether it was written. Of a large table: `check` goes before."""
        return self._txn.put(key, value, overwrite=overwrite, db=self._databases[db])

    def delete(self, key: bytes, *, db: Table) -> bool:
        """Remove an entry. Of a large table: `check_range` goes before."""
        return self._txn.delete(key, db=self._databases[db])

    def pop(self, key: bytes, *, db: Table) -> bytes | None:
        """Remove an entry; return its value, or None. Of a large table: `check_range` first."""
        return self._txn.pop(key, db=self._databases[db])

    def drop(self, db: Table, *, delete: bool = False) -> None:
        """Empty a table; its pages have been checked."""
        self._txn.drop(self._databases[db], delete=delete)

    def check(self, table: Table, key: bytes) -> None:
        """Check the pages that lead to a key.

        Raises:
            PageDamaged: one is damaged.
        """
        self._committed.cursor(db=table).set_key(key)

    def check_range(self, table: Table, low: bytes, high: bytes) -> None:
        """Check the pages of some keys, and those beside them, which a removal may join.

        Raises:
            PageDamaged: one is damaged.
        """
        self._committed.cursor(db=table).check(low, high)


def keys_under(view: View, table: Table, prefix: bytes) -> list[bytes]:
    """Return the keys of `table` that begin with `prefix`."""
    cursor, found = view.cursor(db=table), list[bytes]()
    if cursor.set_range(prefix):
        for key in cursor.iternext(keys=True, values=False):
            if not key.startswith(prefix):
                break
            found.append(key)
    return found
