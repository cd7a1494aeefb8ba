"""Copying a store while it is used: a copy for its user alone, without free pages.

Writers wait while the file's bytes are copied, at the speed of the page cache. Then the pages of
that copy are checked, and LMDB makes the compact copy from it.
"""

import os
import shutil
from pathlib import Path
from typing import Final

import lmdb

from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import StoreError
from turnlog.runtime.private_files import make_private_folder, new_private_file
from turnlog.runtime.store.lmdb.checks import PageCheck
from turnlog.runtime.store.lmdb.mapped import ENGINE_0_9
from turnlog.runtime.store.lmdb.states import States
from turnlog.runtime.store.lmdb.suitability import DATA_FILE

_RAW: Final = "raw"  # the folder of the copy with free pages, until the compact one is there


def copy_store(states: States, destination: Path) -> None:
    """Write a copy of the newest state into an empty folder. A damaged store is copied as it is.

    Raises:
        StoreError: the folder is not empty, or cannot be written.
    """
    try:
        make_private_folder(destination)
        if any(destination.iterdir()):
            raise StoreError(
                ErrorCode.STORE_UNSUITABLE, f"{destination} is not empty. Name a new folder."
            )
        raw = destination / _RAW
        raw.mkdir(mode=0o700)
        try:
            with open(new_private_file(raw / DATA_FILE), "wb") as file:
                states.copy_bytes(file.fileno())
                os.fsync(file.fileno())
            if _is_sound(raw):
                _compact(raw, destination)
            else:
                (raw / DATA_FILE).rename(destination / DATA_FILE)
        finally:
            shutil.rmtree(raw, ignore_errors=True)
    except (OSError, lmdb.Error) as error:
        raise StoreError(
            ErrorCode.STORE_UNSUITABLE, f"cannot write a copy to {destination}: {error}"
        ) from error


def _is_sound(folder: Path) -> bool:
    try:
        states = States.open(folder)
    except StoreError:
        return False
    try:
        _, problems = states.metas()
        return not problems and not PageCheck(states.newest()).everything().flaws
    finally:
        states.close()


def _compact(raw: Path, destination: Path) -> None:
    with (
        lmdb.Environment(str(raw), readonly=True, lock=False, lib_version=ENGINE_0_9) as env,
        open(new_private_file(destination / DATA_FILE), "wb") as file,
    ):
        env.copyfd(file.fileno(), compact=True)
        os.fsync(file.fileno())
