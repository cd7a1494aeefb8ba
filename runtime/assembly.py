"""Assembly: the engine over the real world, as the configuration asks for it."""

import os
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import attrs
import trio

from turnlog.actors.ports import EventLog, ModelClient, Ports
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import UsageError
from turnlog.runtime.config.credentials import Credential
from turnlog.runtime.config.home import STORE_FOLDER, turnlog_home
from turnlog.runtime.config.load import load_config
from turnlog.runtime.config.project import standing_folder
from turnlog.runtime.config.schema import Config, ProviderConfig
from turnlog.runtime.context.loader import TurnContextLoader
from turnlog.runtime.engine import arguments as doors
from turnlog.runtime.engine.engine import Engine, running_sessions
from turnlog.runtime.engine.foresight import ForeseeingLoader, Foresight
from turnlog.runtime.engine.open_sessions import OpenSessions
from turnlog.runtime.engine.warn import Warn, log_warning, safely, unheard
from turnlog.runtime.model.provider import CredentialSource, Provider
from turnlog.runtime.model.responses import ResponsesClient
from turnlog.runtime.processes.orphans import end_orphans
from turnlog.runtime.processes.spawner import Spawner
from turnlog.runtime.sandbox.confinement import Sandbox, preference
from turnlog.runtime.sandbox.engine_paths import kept_by_engine
from turnlog.runtime.tools.apply_patch import ApplyPatch
from turnlog.runtime.tools.exec_command import ExecCommand
from turnlog.runtime.tools.registry import ToolRegistry
from turnlog.runtime.tools.shape import checked_tools
from turnlog.runtime.tools.tool import Tool
from turnlog.runtime.tools.update_plan import UpdatePlan
from turnlog.runtime.workspace.files import WorkspaceFiles

_NOT_ON_TRIO = (
    "turnlog runs on trio, and this was not called from a trio program. Start one with "
    "`trio.run(main)`. In an asyncio program, run it in a thread: `await "
    "asyncio.to_thread(trio.run, main)`; or side by side in one thread, in trio's guest mode: "
    "`trio.lowlevel.start_guest_run`."
)


@attrs.frozen
class SystemClock:
    """The `Clock` port over the machine's own."""

    def now_us(self) -> int:
        return time.time_ns() // 1000


@attrs.frozen
class SystemProcesses:
    """The `Processes` port over those of this machine."""

    warn: Callable[[str], None] | None = None

    async def end_left(self) -> None:
        left = (await end_orphans()).left
        if left and self.warn is not None:
            self.warn(
                "commands of an engine that was killed still run, as processes "
                f"{', '.join(map(str, left))}: another user's, or waiting for a device. End them "
                "by hand."
            )


@attrs.frozen
class Assembly:
    """An engine, and the parts of it that turnlog's own front-ends use besides."""

    engine: Engine
    sessions: OpenSessions
    foresight: Foresight

    @property
    def log(self) -> EventLog:
        """The event log of its sessions."""
        return self.sessions.log


@asynccontextmanager
async def open_assembly(
    *,
    home: str | os.PathLike[str] | None = None,
    config: Config | None = None,
    ephemeral: bool = False,
    originator: str = "turnlog",
    tools: Iterable[Tool] = (),
    model: str | ModelClient | None = None,
    warn: Callable[[str], None] | None = None,
    shows_questions: bool = False,
) -> AsyncGenerator[Assembly]:
    """Open the store and run an engine over it; on leaving, stop and close every session.

    Args:
        home, config, ephemeral, originator, tools, model, warn: see `turnlog.open_engine`.
        shows_questions: whether this front-end shows questions to a person. Otherwise `warn` is
            told of a question that waits.

    Raises:
        UsageError: a value, a tool or the configuration cannot be used, or trio does not run.
        StoreError: the home folder cannot hold a store, or holds something else.
        StoreTooNew: a newer turnlog has written there.
    """
    if not trio.lowlevel.in_trio_task():
        raise UsageError(ErrorCode.NOT_ON_TRIO, _NOT_ON_TRIO)
    tell = safely(doors.callback("warn", warn) or log_warning)
    ephemeral = doors.FLAG.take("ephemeral", ephemeral)
    checked = checked_tools(tools)
    name, client = doors.model("model", model)
    originator = doors.header("originator", originator)
    environ = dict(os.environ)
    if home is not None:
        environ["TURNLOG_HOME"] = doors.path("home", home)
    if config is None:
        config = load_config(standing_folder(), environ=environ)
    else:
        config = doors.configuration("config", config)
    if name is not None:
        config = attrs.evolve(config, model=name)
    store = turnlog_home(environ) / STORE_FOLDER
    async with AsyncExitStack() as stack:
        log = await stack.enter_async_context(_log(store, ephemeral=ephemeral))
        sandbox = await stack.enter_async_context(open_sandbox(environ, config))
        registry = built_in_tools(environ, sandbox, more=checked, warn=tell)
        foresight = Foresight(sandbox, environ, tell)
        clock = SystemClock()
        ports = Ports(
            log,
            client or model_client(config, environ, originator),
            registry,
            ForeseeingLoader(
                TurnContextLoader(config, registry, clock, environ, sandbox, tell), foresight
            ),
            clock,
            workspace=WorkspaceFiles(sandbox.guard),
            processes=SystemProcesses(tell),
            remind=None if shows_questions else tell,
        )
        sessions = await stack.enter_async_context(running_sessions(ports, config.session_settings))
        yield Assembly(Engine(sessions), sessions, foresight)


@asynccontextmanager
async def _log(store: Path, *, ephemeral: bool) -> AsyncGenerator[EventLog]:
    if ephemeral:
        from turnlog.runtime.store.memory.log import MemoryLog

        yield MemoryLog()
    else:
        from turnlog.runtime.store.lmdb.log import open_log

        async with open_log(store) as log:
            yield log


@asynccontextmanager
async def open_sandbox(
    environ: Mapping[str, str], config: Config | None = None
) -> AsyncGenerator[Sandbox]:
    """Make the sandbox that keeps the engine's home, and what runs later, from commands.

    On leaving, no process that was started for it is left.

    Raises:
        UsageError: $TURNLOG_SANDBOX names no mechanism.
    """
    kept = kept_by_engine(environ, turnlog_home(environ), config or Config())
    async with Spawner() as spawner:
        yield Sandbox(spawner, kept, preference(environ))


def built_in_tools(
    environ: dict[str, str],
    sandbox: Sandbox,
    *,
    more: Iterable[Tool] = (),
    warn: Warn = unheard,
) -> ToolRegistry:
    """Make the engine's own tools.

    Args:
        more: further tools, which the model is given after these.
        warn: is told of what a tool did wrong.
    """
    patch = ApplyPatch(sandbox.spawner, sandbox, environ)
    shell = ExecCommand(sandbox.spawner, sandbox, patch, environ)
    return ToolRegistry((shell, patch, UpdatePlan(), *more), warn=warn)


def model_client(config: Config, environ: Mapping[str, str], originator: str) -> ModelClient:
    """Return a client for the providers of `config`."""
    providers = {
        name: _provider(name, provider, environ) for name, provider in config.providers.items()
    }
    return ResponsesClient(providers, originator, environ)


def _provider(name: str, configured: ProviderConfig, environ: Mapping[str, str]) -> Provider:
    return Provider(
        name,
        configured.base_url,
        credential=_credential(name, configured, environ),
        http_headers=configured.http_headers,
        env_http_headers=configured.env_http_headers,
        query_params=configured.query_params,
        request_max_retries=configured.request_max_retries,
        stream_max_retries=configured.stream_max_retries,
        stream_idle_timeout_ms=configured.stream_idle_timeout_ms,
    )


def _credential(
    name: str, configured: ProviderConfig, environ: Mapping[str, str]
) -> CredentialSource | None:
    if not (configured.env_key or configured.key_command or configured.keyring):
        return None  # a server on this machine needs no key
    return Credential(name, configured, environ).key
