"""What an engine keeps from commands: its home, and what it or the user will run later."""

import os
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from turnlog.runtime.config.home import SYSTEM_FILE
from turnlog.runtime.config.schema import Config
from turnlog.runtime.context.agents_md import NAMES
from turnlog.runtime.sandbox.layout import Kept

# Each holds folders, separated by colons, from which programs or their parts are taken.
_SEARCHED = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH")


def kept_by_engine(environ: Mapping[str, str], home: Path, config: Config) -> Kept:
    """Return what an engine with this environment, home and configuration keeps from commands."""
    trusted = tuple(
        path for path, project in config.projects.items() if project.trust_level == "trusted"
    )
    return Kept(
        hidden=(str(home),),
        user_home=environ.get("HOME") or "/",
        programs=tuple(dict.fromkeys(_programs(environ))),
        trusted=trusted,
        markers=tuple(config.project_root_markers),
        documents=(*NAMES, *config.project_doc_fallback_filenames),
    )


def _programs(environ: Mapping[str, str]) -> Iterator[str]:
    for variable in _SEARCHED:
        folders = environ.get(variable, "").split(":")
        yield from (os.path.abspath(folder) for folder in folders if folder)
    yield from (sys.executable, sys.prefix, sys.base_prefix)
    yield from (os.path.abspath(folder) for folder in sys.path if folder)
    turnlog = find_spec("turnlog")
    for package in (turnlog and turnlog.submodule_search_locations) or ():
        yield package
        yield from (os.path.join(package, name) for name in os.listdir(package))
    yield os.path.dirname(SYSTEM_FILE)
