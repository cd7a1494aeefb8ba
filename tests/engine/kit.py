"""An engine over real parts, and what is checked of every session that ran in it.

Scripted model over HTTP, real client, tools and processes; the log is in memory, or LMDB's. A test
that needs a port which misbehaves gives one of its own.
"""

import os
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import attrs
import trio

from tests.core.oracle import assert_turns_take_turns, closers
from tests.replayed import replay
from turnlog.actors.core.model_input import model_input
from turnlog.actors.core.rebuild import rebuild
from turnlog.actors.core.state import State
from turnlog.actors.ports import ContextLoader, EventLog, ModelClient, Ports, Tools
from turnlog.actors.session_actor import SessionActor
from turnlog.protocol.envelope import Recorded, UnknownEvent
from turnlog.protocol.events import (
    SessionEvent,
    StepFailed,
    ToolFinished,
)
from turnlog.protocol.ids import SessionId
from turnlog.protocol.notices import Publication
from turnlog.runtime.assembly import SystemClock, model_client
from turnlog.runtime.config.schema import Config, ProviderConfig
from turnlog.runtime.context.loader import TurnContextLoader
from turnlog.runtime.engine.engine import Engine, running_sessions
from turnlog.runtime.engine.open_sessions import OpenSessions
from turnlog.runtime.engine.session import Session
from turnlog.runtime.engine.warn import unheard
from turnlog.runtime.processes.spawner import Spawner
from turnlog.runtime.sandbox.confinement import Preference, Sandbox
from turnlog.runtime.sandbox.layout import Kept
from turnlog.runtime.scripted_model.script import Item, Response, Script, call
from turnlog.runtime.scripted_model.server import ScriptedServer, serve_script
from turnlog.runtime.store.memory.log import MemoryLog
from turnlog.runtime.tools.apply_patch import ApplyPatch
from turnlog.runtime.tools.exec_command import ExecCommand
from turnlog.runtime.tools.registry import ToolRegistry
from turnlog.runtime.tools.tool import Tool
from turnlog.runtime.tools.update_plan import UpdatePlan
from turnlog.runtime.workspace.files import WorkspaceFiles

E = TypeVar("E")
Says = Response | Item | str | Sequence[Item]
PATIENCE = 120.0  # seconds; a test that waits for longer hangs


@attrs.frozen
class House:
    """A running engine, with its log, its model and its folder at hand."""

    engine: Engine
    sessions: OpenSessions
    log: EventLog
    server: ScriptedServer
    folder: Path

    async def start(self, **options: Any) -> Session:  # noqa: ANN401
        return await self.engine.start(cwd=self.folder, **options)

    async def events(self, session: Session | SessionId) -> list[Recorded]:
        name = session if isinstance(session, str) else session.id
        return await self.log.read(name, limit=100_000)


@asynccontextmanager
async def house(
    folder: Path,
    *script: Says,
    log: EventLog | None = None,
    loop: bool = False,
    wrap_model: Callable[[ModelClient], ModelClient] = lambda model: model,
    wrap_context: Callable[[ContextLoader], ContextLoader] = lambda loader: loader,
    wrap_tools: Callable[[Tools], Tools] = lambda tools: tools,
    more_tools: Iterable[Tool] = (),
    warn: Callable[[str], None] = unheard,
    environ: dict[str, str] | None = None,
    sandbox: Preference = "auto",
    checked: bool = True,
    **config: Any,  # noqa: ANN401
) -> AsyncGenerator[House]:
    """Run an engine; check every session of its log once it is closed.

    Args:
        script: what the model says, one response a request.
        config: keys of the configuration; by default nothing is confined, and nobody is asked.
    """
    log = log or MemoryLog()
    environ = {**os.environ, "TURNLOG_HOME": str(folder / "home"), **(environ or {})}
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serve_script(Script.of(*script, loop=loop)))
        settings = configured(server.base_url, **config)
        spawner = await stack.enter_async_context(Spawner())
        confinement = Sandbox(spawner, Kept(hidden=(str(folder / "home"),)), sandbox)
        patch = ApplyPatch(spawner, confinement, environ)
        shell = ExecCommand(spawner, confinement, patch, environ)
        registry = ToolRegistry((shell, patch, UpdatePlan(), *more_tools), warn=warn)
        tools = wrap_tools(registry)
        clock = SystemClock()
        ports = Ports(
            log,
            wrap_model(model_client(settings, environ, "test")),
            tools,
            wrap_context(TurnContextLoader(settings, tools, clock, environ, confinement)),
            clock,
            workspace=WorkspaceFiles(confinement.guard),
            remind=warn,
        )
        async with running_sessions(ports, settings.session_settings) as sessions:
            with trio.fail_after(PATIENCE):
                yield House(Engine(sessions), sessions, log, server, folder)
        for summary in await log.sessions() if checked else ():
            assert_sound(await log.read(summary.session, limit=100_000))


def configured(base_url: str, **config: Any) -> Config:  # noqa: ANN401
    keys: dict[str, Any] = {
        "sandbox_mode": "danger-full-access",
        "approval_policy": "never",
        "request_max_retries": 1,
        "stream_max_retries": 2,
    } | config
    retries = {name: keys.pop(name) for name in ("request_max_retries", "stream_max_retries")}
    provider = ProviderConfig(base_url, **retries)
    return Config(model_provider="local", model_providers={"local": provider}, **keys)


def shell(cmd: str, **arguments: Any) -> Item:  # noqa: ANN401
    """Return a call of exec_command, without the login shell's profile, which is slow."""
    return call("exec_command", {"cmd": cmd, "login": False, **arguments})


# --- reading what happened ------------------------------------------------------------------------


async def play(session: Session, prompt: str = "go") -> list[Recorded]:
    """Run a turn; return its events, from the prompt on."""
    return [recorded async for recorded in session.run(prompt)]


async def until(session: Session, kind: type[E], *, after: int | None = None, number: int = 1) -> E:
    """Wait for the `number`-th event or notice of `kind`, from now or from `after` on."""
    async with aclosing(session.watch(after=after)) as publications:
        async for publication in publications:
            found = publication.event if isinstance(publication, Recorded) else publication
            if isinstance(found, kind):
                number -= 1
                if not number:
                    return found
    raise AssertionError(f"the session ended without {kind.__name__}")


def kinds(records: Iterable[Recorded]) -> list[str]:
    return [recorded.kind for recorded in records]


def of(kind: type[E], records: Iterable[Recorded]) -> list[E]:
    return [recorded.event for recorded in records if isinstance(recorded.event, kind)]


def the(kind: type[E], records: Iterable[Recorded]) -> E:
    found = of(kind, records)
    assert len(found) == 1, found
    return found[0]


def unchecked(value: object) -> Any:  # noqa: ANN401
    """Return a value as one of any type, so that a wrong one passes the type checker."""
    return value


def told(result: ToolFinished) -> str:
    """Return what the model is told of a call that ran."""
    return result.preamble + result.output


def outputs(server: ScriptedServer, request: int = -1) -> list[str]:
    """Return the outputs of calls in a request's input, in order."""
    items = server.requests[request].body["input"]
    return [item["output"] for item in items if item["type"].endswith("_output")]


def is_there(path: str | Path) -> bool:
    return os.path.exists(path)


def actor_of(session: Session) -> SessionActor:
    return session._actor  # pyright: ignore[reportPrivateUsage]


# --- what holds of every session ------------------------------------------------------------------


def known(records: Iterable[Recorded]) -> list[SessionEvent]:
    events: list[SessionEvent] = []
    for recorded in records:
        assert not isinstance(recorded.event, UnknownEvent)
        events.append(recorded.event)
    return events


def assert_sound(records: Sequence[Recorded]) -> None:
    """Check a whole log: it replays without a difference, and every effect closes at most once."""
    events = known(records)
    assert [recorded.sequence for recorded in records] == list(range(1, len(records) + 1))
    replay(records)
    assert not of(StepFailed, records)
    assert_turns_take_turns(events)
    closed = closers(events)
    assert all(len(by) <= 1 for by in closed.values())
    ended = records and records[-1].kind == "session_closed"
    if ended:
        assert [effect for effect, by in closed.items() if not by] == []


@attrs.define
class Shadow:
    """Rebuilds a session from what it publishes, and compares it with the live one all along."""

    session: Session
    state: State = attrs.field(factory=State)
    compared: int = 0
    seen: list[Publication] = attrs.field(factory=list[Publication])

    async def follow(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        task_status.started()
        live = actor_of(self.session)
        async for publication in self.session.watch(after=0):
            self.seen.append(publication)
            if not isinstance(publication, Recorded):
                continue
            assert publication.sequence == self.state.head + 1
            rebuild([publication], self.state)
            if live.state.head == self.state.head:
                assert self.state == live.state
                assert model_input(self.state) == model_input(live.state)
                self.compared += 1
