"""turnlog: agent sessions that are logged first, and can be resumed, forked and replayed.

What this module offers is the public interface. A name is imported when it is first used, so
that `import turnlog` costs next to nothing.
"""

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from importlib import import_module
from os import PathLike
from typing import TYPE_CHECKING, Final

from turnlog.protocol.version import VERSION

if TYPE_CHECKING:
    from turnlog.actors.ports.model import ModelClient
    from turnlog.actors.ports.tools import ToolMonitor, ToolOrder, ToolResult
    from turnlog.protocol.calls import ToolPlan
    from turnlog.protocol.envelope import Recorded
    from turnlog.protocol.errors import Busy, NotFound, Rejected, TurnlogError, UsageError
    from turnlog.protocol.images import Image
    from turnlog.protocol.items import ToolCallItem
    from turnlog.protocol.settings import SandboxPolicy, SettingsUpdate, TurnSettings
    from turnlog.replay.verify.stored import ReplayReport
    from turnlog.runtime.config.load import load_config
    from turnlog.runtime.config.schema import Config
    from turnlog.runtime.engine.engine import Engine
    from turnlog.runtime.engine.session import Session
    from turnlog.runtime.tools.from_function import tool
    from turnlog.runtime.tools.tool import Tool, parse_arguments

__version__ = VERSION
__all__ = [
    "Busy",
    "Config",
    "Engine",
    "Image",
    "NotFound",
    "Recorded",
    "Rejected",
    "SandboxPolicy",
    "Session",
    "SettingsUpdate",
    "Tool",
    "ToolCallItem",
    "ToolMonitor",
    "ToolOrder",
    "ToolPlan",
    "ToolResult",
    "TurnSettings",
    "TurnlogError",
    "UsageError",
    "load_config",
    "open_engine",
    "parse_arguments",
    "replay_session",
    "replay_session_async",
    "tool",
]
_HOME_OF: Final = {
    "Busy": "protocol.errors",
    "Config": "runtime.config.schema",
    "Engine": "runtime.engine.engine",
    "Image": "protocol.images",
    "NotFound": "protocol.errors",
    "Recorded": "protocol.envelope",
    "Rejected": "protocol.errors",
    "SandboxPolicy": "protocol.settings",
    "Session": "runtime.engine.session",
    "SettingsUpdate": "protocol.settings",
    "Tool": "runtime.tools.tool",
    "ToolCallItem": "protocol.items",
    "ToolMonitor": "actors.ports.tools",
    "ToolOrder": "actors.ports.tools",
    "ToolPlan": "protocol.calls",
    "ToolResult": "actors.ports.tools",
    "TurnSettings": "protocol.settings",
    "TurnlogError": "protocol.errors",
    "UsageError": "protocol.errors",
    "load_config": "runtime.config.load",
    "parse_arguments": "runtime.tools.tool",
    "tool": "runtime.tools.from_function",
}


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'turnlog' has no attribute {name!r}")
    found: object = getattr(import_module(f"turnlog.{_HOME_OF[name]}"), name)
    globals()[name] = found  # so that this is asked once
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


@asynccontextmanager
async def open_engine(
    *,
    home: str | PathLike[str] | None = None,
    config: "Config | None" = None,
    ephemeral: bool = False,
    originator: str = "turnlog",
    tools: "Iterable[Tool]" = (),
    model: "str | ModelClient | None" = None,
    warn: Callable[[str], None] | None = None,
) -> AsyncGenerator["Engine"]:
    """Open the store and run an engine over it: `async with turnlog.open_engine() as engine`.

    On leaving, every turn is stopped and every session is closed.

    Args:
        home: where the store and the configuration are. Default: `$TURNLOG_HOME`, `~/.turnlog`.
        config: from `load_config`. Default: that of the current folder. Nothing is asked of a
            person unless its `approval_policy`, or a session's, says so.
        ephemeral: keep nothing: the log is in memory, and gone in the end.
        originator: which front-end this is, as providers are told; printable ASCII.
        tools: tools of your own, which the model is given after the engine's. See `tool`.
        model: the name of the model that new sessions ask, or what answers instead of a provider,
            such as `turnlog.testing.scripted(...)`. Default: the model of the configuration.
        warn: is told what the user should know: that commands cannot be confined here, what a
            tool did wrong, with its traceback, or that a question waits. Default: the logger
            `turnlog`, so stderr.

    Raises:
        UsageError: a value is not allowed. Nothing was opened.
        TurnlogError: of a tool that is none (`tool_invalid`), outside of a trio program
            (`not_on_trio`), of a configuration or a store that cannot be used.
    """
    from turnlog.runtime.assembly import open_assembly

    async with open_assembly(
        home=home,
        config=config,
        ephemeral=ephemeral,
        originator=originator,
        tools=tools,
        model=model,
        warn=warn,
    ) as assembly:
        yield assembly.engine


def replay_session(prefix: str, *, home: str | PathLike[str] | None = None) -> "ReplayReport":
    """Replay a stored session offline: `replay_session(id).divergences` is empty if all is well.

    Nobody may have the store open in this process. A trio program awaits `replay_session_async`.

    Args:
        prefix: the session's id, or as much of it as is unique.
        home: where the store is. Default: `$TURNLOG_HOME`, `~/.turnlog`.

    Raises:
        UsageError: a value is not allowed.
        NotFound: there is no such session.
        TurnlogError: the store cannot be read.
    """
    from turnlog.replay.verify import stored

    return stored.replay_session(prefix, home=home)


async def replay_session_async(
    prefix: str, *, home: str | PathLike[str] | None = None
) -> "ReplayReport":
    """Replay a stored session as `replay_session` does, while other tasks run."""
    from turnlog.replay.verify import stored

    return await stored.replay_session_async(prefix, home=home)
