"""Where things are, as options and the environment say, and the store's two ways to be opened."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import StoreError, UsageError, session_not_found
from turnlog.protocol.faults import FOLDER_GONE
from turnlog.runtime.config.home import STORE_FOLDER, turnlog_home

if TYPE_CHECKING:
    from turnlog.runtime.store.lmdb.log import LmdbLog


def working_folder(chosen: str | None) -> str:
    """Return the folder to work in, absolute: `-C`, or the current folder.

    Raises:
        UsageError: it is no folder.
    """
    try:
        folder = os.path.abspath(chosen or os.getcwd())
    except FileNotFoundError:
        raise UsageError(ErrorCode.INPUT_UNREADABLE, FOLDER_GONE) from None
    if not os.path.isdir(folder):
        raise UsageError(
            ErrorCode.INPUT_UNREADABLE, f"{folder} is not a folder that a session can work in."
        )
    return folder


def store_path() -> Path:
    """Return the folder of the store."""
    return turnlog_home(os.environ) / STORE_FOLDER


def has_store() -> bool:
    """Say whether there is a store; an empty folder is none yet.

    Raises:
        StoreError: nobody can tell, or it is no folder.
    """
    path = store_path()
    try:
        return any(path.iterdir())
    except FileNotFoundError:
        return False
    except NotADirectoryError:
        raise StoreError(
            ErrorCode.STORE_UNSUITABLE,
            f"{path} is a file. A store is a folder; set TURNLOG_HOME to another place.",
        ) from None
    except OSError as error:
        raise StoreError(
            ErrorCode.STORE_UNSUITABLE, f"{path} cannot be read: {error.strerror}."
        ) from None


def require_store(session: str) -> None:
    """Check that there is a store to find a session in.

    Raises:
        NotFound: there is none.
        StoreUnsuitable: nobody can tell, or it is not a folder.
    """
    if not has_store():
        raise session_not_found(session)


@asynccontextmanager
async def reading(session: str | None = None) -> AsyncGenerator["LmdbLog"]:
    """Open the store for reading: nothing is claimed or changed.

    Args:
        session: which one is wanted, for the error that says that there is none.

    Raises:
        NotFound: there is no store yet.
        StoreError, StoreTooNew: it cannot be opened.
    """
    from turnlog.runtime.store.lmdb.log import open_log

    if session is not None:
        require_store(session)
    async with open_log(store_path(), read_only=True) as log:
        yield log
