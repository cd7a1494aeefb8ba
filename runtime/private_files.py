"""Files and folders with what sessions say in them: only their owner may read them.

The store's files have these modes too. They do not depend on the umask.
"""

import os
import stat
from pathlib import Path
from typing import Final

FILE_MODE: Final = 0o600
FOLDER_MODE: Final = 0o700


def make_private_folder(path: Path) -> None:
    """Make a folder, and the parents that it lacks. What exists keeps its mode.

    Raises:
        OSError: a folder cannot be made, or one of these names is a file.
    """
    missing: list[Path] = []
    for folder in (path, *path.parents):
        if folder.is_dir():
            break
        missing.append(folder)
    for folder in reversed(missing):
        try:
            folder.mkdir(mode=FOLDER_MODE)
        except FileExistsError:  # somebody else has just made it
            if not folder.is_dir():
                raise
        else:
            folder.chmod(FOLDER_MODE)  # the umask may have taken more away


def new_private_file(path: Path) -> int:
    """Make a file that does not exist yet; return its descriptor, for writing.

    Raises:
        OSError: it cannot be made, or exists.
    """
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    os.fchmod(file, FILE_MODE)
    return file


def open_private(path: str, flags: int) -> int:
    """Open a file as `open(…, opener=open_private)` asks; one that this makes is private."""
    return os.open(path, flags, FILE_MODE)


def write_private(path: Path, data: bytes) -> None:
    """Write a file that then is there whole, or as it was before. Missing folders are made.

    A new file is private. A file that exists keeps its mode. A link is followed; a pipe or a
    device is written to, and not replaced.

    Raises:
        OSError: it cannot be written.
    """
    path = Path(os.path.realpath(path))
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        make_private_folder(path.parent)
        mode = stat.S_IFREG | FILE_MODE
    if not stat.S_ISREG(mode):
        path.write_bytes(data)
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)  # of a process that was killed
    file = new_private_file(partial)
    try:
        with open(file, "wb") as stream:
            stream.write(data)
            os.fchmod(file, stat.S_IMODE(mode))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
