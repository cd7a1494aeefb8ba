"""Moving what is sound of a damaged file into a new one, in its place. The old one is kept."""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import attrs
import trio

from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import StoreError
from turnlog.runtime.private_files import FILE_MODE, make_private_folder
from turnlog.runtime.store.lmdb.doctor import Report, repair
from turnlog.runtime.store.lmdb.environment import Environment
from turnlog.runtime.store.lmdb.lease import is_in_use
from turnlog.runtime.store.lmdb.log import open_log
from turnlog.runtime.store.lmdb.pages import PageDamaged
from turnlog.runtime.store.lmdb.salvage import Salvage
from turnlog.runtime.store.lmdb.states import States
from turnlog.runtime.store.lmdb.suitability import DATA_FILE
from turnlog.runtime.store.lmdb.transactions import TABLES, Txn
from turnlog.runtime.store.lmdb.views import Table, all_tables
from turnlog.runtime.store.lmdb.write_turn import Turn

_NEW: Final = "repaired"  # the folder of the new file, until it is whole
_ENTRIES_AT_ONCE: Final = 1000  # in one transaction
_MOVED: Final = tuple(table for table in all_tables() if table != TABLES.meta)


@attrs.frozen
class Moved:
    """A repaired store."""

    report: Report  # what is wrong with the new file: what the old one has lost of sessions
    kept: Path  # the old file


async def move_sound(store: Path) -> Moved:
    """Make a new file of what can be read, with damaged sessions in quarantine.

    Raises:
        StoreError: an engine has the store open, or it cannot be written.
    """
    turn = Turn.open(store)
    try:
        with turn.taken():
            if is_in_use(store):
                raise StoreError(
                    ErrorCode.STORE_UNSUITABLE,
                    f"the store in {store} is in use, and its file cannot be replaced meanwhile. "
                    "End what works with it, and repair it then.",
                )
            new = store / _NEW
            shutil.rmtree(new, ignore_errors=True)  # of a repair that was cut off
            make_private_folder(new)
            await trio.to_thread.run_sync(_copy_sound, store, new)
            async with open_log(new) as log:
                report = await repair(log)
            return Moved(report, _replace(store, new))
    except OSError as error:
        raise StoreError(
            ErrorCode.STORE_UNSUITABLE, f"{store} cannot be repaired: {error}."
        ) from error
    finally:
        turn.close()


def _copy_sound(store: Path, new: Path) -> None:
    states = States.open(store)
    try:
        salvage, target = Salvage.of(states), Environment.open(new)
        try:
            for table in _MOVED:
                keys = salvage.keys(table)
                for start in range(0, len(keys), _ENTRIES_AT_ONCE):
                    _copy(salvage, target, table, keys[start : start + _ENTRIES_AT_ONCE])
        finally:
            target.close()
    finally:
        states.close()


def _copy(salvage: Salvage, target: Environment, table: Table, keys: list[bytes]) -> None:
    def put(txn: Txn) -> None:
        for key in keys:
            try:
                value = salvage.get(key, b"", db=table)
            except PageDamaged:
                continue  # the disk does not give it a second time
            txn.put(key, value, db=table)

    target.write(put)


def _replace(store: Path, new: Path) -> Path:
    """Put the new file in the place of the old one; return where the old one is now.

    There is a whole store at every moment: the old file gets a second name before it loses its
    first one.
    """
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    kept = store / f"damaged-{now}.mdb"
    os.link(store / DATA_FILE, kept)
    kept.chmod(FILE_MODE)
    os.replace(new / DATA_FILE, store / DATA_FILE)
    shutil.rmtree(new, ignore_errors=True)
    folder = os.open(store, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return kept
