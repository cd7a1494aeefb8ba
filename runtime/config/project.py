"""Find the project that a folder belongs to, and the current folder of this process."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from turnlog.runtime.sandbox.mountpoints import is_mount_point


def standing_folder() -> str:
    """Return the current folder of this process; if it is gone, `/`, which is in no project."""
    try:
        return os.getcwd()
    except OSError:
        return "/"


def is_there(path: Path) -> bool:
    """Say whether a path exists and is not the empty folder that a sandbox keeps in its place."""
    try:
        return not is_mount_point(str(path), os.stat(path))
    except OSError:
        return False


def project_root(
    cwd: Path, markers: Sequence[str], exists: Callable[[Path], bool] = is_there
) -> Path:
    """Return the nearest folder, from the absolute `cwd` upwards, that holds a marker.

    `cwd` itself if there is none, or if there are no markers to look for.
    """
    for folder in (cwd, *cwd.parents):
        if any(exists(folder / marker) for marker in markers):
            return folder
    return cwd
