"""Find the project that a folder belongs to; and the folder that this process stands in."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path


def standing_folder() -> str:
    """Return the folder that this process stands in; `/`, which is in no project, if it is gone."""
    try:
        return os.getcwd()
    except OSError:
        return "/"


def project_root(
    cwd: Path, markers: Sequence[str], exists: Callable[[Path], bool] = os.path.exists
) -> Path:
    """Return the nearest folder, from the absolute `cwd` upwards, that holds a marker.

    `cwd` itself if there is none, or if there are no markers to look for.
    """
    for folder in (cwd, *cwd.parents):
        if any(exists(folder / marker) for marker in markers):
            return folder
    return cwd
