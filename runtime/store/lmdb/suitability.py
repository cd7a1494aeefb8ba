"""Which places can hold a store: a private folder on a local file system.

LMDB needs a shared memory map and locks that every process on the same kernel sees. Network
file systems promise neither (source: LMDB's documentation, "Caveats").
"""

import ctypes
import os
from pathlib import Path
from typing import Final

from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import StoreError
from turnlog.runtime.private_files import make_private_folder

DATA_FILE: Final = "data.mdb"
ENGINES: Final = "engines"  # the folder of the engines' lock files

# f_type of statfs(2). Source: linux/magic.h and the statfs(2) manual page.
NETWORK_FILE_SYSTEMS: Final = {
    0x00006969: "NFS",
    0x0000517B: "SMB",
    0xFE534D42: "SMB2",
    0xFF534D42: "CIFS",
    0x0000564C: "NCP",
    0x01021997: "9P",
    0x00C36400: "Ceph",
    0x0BD00BD0: "Lustre",
    0x47504653: "GPFS",
    0x5346414F: "AFS",
    0x6B414653: "AFS",
    0x73757245: "Coda",
    0x786F4256: "VirtualBox shared folder",
}


def network_file_system(magic: int) -> str | None:
    """Return the name of the network file system with this statfs magic; None if it is local."""
    return NETWORK_FILE_SYSTEMS.get(magic & 0xFFFFFFFF)


def file_system_magic(path: Path) -> int:
    """Return statfs's f_type: the first word of its answer.

    Raises:
        OSError: there is no such path.
    """
    answer = ctypes.create_string_buffer(512)  # struct statfs has 120 bytes on Linux
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.statfs(os.fsencode(path), answer) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), str(path))
    return ctypes.c_long.from_buffer(answer).value


def prepare_folder(path: Path, *, read_only: bool) -> None:
    """Make the store's folder, private to its user, and check that it can hold a store.

    Raises:
        StoreError: it cannot; the text says why and what to do.
    """
    try:
        if path.exists() and not path.is_dir():
            raise StoreError(
                ErrorCode.STORE_UNSUITABLE,
                f"{path} is a file. A store is a folder; name another place.",
            )
        if read_only and not (path / DATA_FILE).exists():
            raise StoreError(ErrorCode.STORE_UNSUITABLE, f"there is no store in {path}.")
        if not read_only:
            make_private_folder(path)
        name = network_file_system(file_system_magic(path))
        _require_data(path)
    except OSError as error:
        if read_only:
            raise StoreError(
                ErrorCode.STORE_UNSUITABLE, f"{path} cannot be read: {error.strerror}."
            ) from error
        raise StoreError(
            ErrorCode.STORE_UNSUITABLE,
            f"{path} cannot hold a store: {error.strerror}. Set TURNLOG_HOME to a folder that "
            "you may write to.",
        ) from error
    if name:
        raise StoreError(
            ErrorCode.STORE_UNSUITABLE,
            f"{path} is on a network file system ({name}), which can destroy a store. "
            "Set TURNLOG_HOME to a folder on a local disk.",
        )


def _require_data(path: Path) -> None:
    data = path / DATA_FILE
    if (path / ENGINES).exists() and not (data.exists() and data.stat().st_size):
        raise StoreError(
            ErrorCode.STORE_UNSUITABLE,
            f"{path} was a store, and its {DATA_FILE} is gone or empty. Restore it from a "
            f"backup; to begin again, remove {path / ENGINES}.",
        )
