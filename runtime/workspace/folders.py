"""Folders that are reached without following a link anywhere on the way."""

import os


def open_folder(path: str) -> int:
    """Return a descriptor of the folder, to be used as `dir_fd` and closed.

    Args:
        path: absolute and normal.

    Raises:
        OSError: a part of it is missing, or is a link or a file (ENOTDIR).
    """
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
    folder = os.open("/", flags)
    try:
        for part in filter(None, path.split("/")):
            inner = os.open(part, flags, dir_fd=folder)
            os.close(folder)
            folder = inner
    except OSError as error:
        os.close(folder)
        error.filename = path
        raise
    return folder


def first_link(path: str) -> str | None:
    """Return the topmost part of the way to `path` that is a link; `path` itself may be one."""
    folder = ""
    for part in filter(None, os.path.dirname(path).split("/")):
        folder = f"{folder}/{part}"
        if os.path.islink(folder):
            return folder
    return None


def nearest_folder(path: str) -> str:
    """Return the lowest folder above `path` that is reached without a link."""
    folder = os.path.dirname(first_link(path) or path)
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return folder
