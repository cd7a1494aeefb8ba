"""turnlog: agent sessions that are logged first, and can be resumed, forked and replayed."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from os import PathLike
from typing import TYPE_CHECKING

from turnlog.protocol.version import VERSION

if TYPE_CHECKING:
    from turnlog.replay.offline import ReplayReport
    from turnlog.runtime.config.schema import Config
    from turnlog.runtime.engine import Engine

__version__ = VERSION
__all__ = ["__version__", "open_engine", "replay_session"]


def open_engine(
    *,
    home: str | PathLike[str] | None = None,
    config: "Config | None" = None,
    ephemeral: bool = False,
    originator: str = "turnlog",
    warn: Callable[[str], None] | None = None,
) -> "AbstractAsyncContextManager[Engine]":
    """Open the store and run an engine over it: `async with turnlog.open_engine() as engine`.

    See `turnlog.runtime.assembly.open_engine`, which this imports when it is called.
    """
    from turnlog.runtime import assembly

    return assembly.open_engine(
        home=home, config=config, ephemeral=ephemeral, originator=originator, warn=warn
    )


def replay_session(prefix: str, *, home: str | PathLike[str] | None = None) -> "ReplayReport":
    """Replay a stored session offline: `replay_session(id).divergences` is empty if all is well.

    See `turnlog.replay.offline.replay_session`, which this imports when it is called.
    """
    from turnlog.replay import offline

    return offline.replay_session(prefix, home=home)
