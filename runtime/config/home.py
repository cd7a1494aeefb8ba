"""Where turnlog keeps its store and the user's configuration."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

SYSTEM_FILE: Final = Path("/etc/turnlog/config.toml")
CONFIG_NAME: Final = "config.toml"
PROJECT_FOLDER: Final = ".turnlog"
STORE_FOLDER: Final = "store"  # below the home folder


def turnlog_home(environ: Mapping[str, str]) -> Path:
    """Return the home folder, absolute: `$TURNLOG_HOME`, or `~/.turnlog`.

    An empty variable counts as not set. The folder need not exist.
    """
    user_home = environ.get("HOME") or os.path.expanduser("~")
    chosen = environ.get("TURNLOG_HOME")
    if not chosen:
        return Path(user_home, ".turnlog")
    if chosen == "~" or chosen.startswith("~/"):
        chosen = user_home + chosen[1:]
    return Path(os.path.abspath(chosen))
