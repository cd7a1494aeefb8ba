"""The ports of a branch, each from the recording or live.

| port | recorded if |
|---|---|
| model | the model is |
| tools, workspace | the tools are |
| context, children | the model or the tools are |

Live children are sessions of the branch's own engine. A recorded port cannot reach the world.
"""

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import attrs

from turnlog.actors.ports import (
    Children,
    ContextLoader,
    EventLog,
    ModelClient,
    Ports,
    Tools,
    Workspace,
)
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.settings import SessionSettings
from turnlog.replay.rerun.plan import Plan
from turnlog.replay.rerun.ports.children import RecordedChildren
from turnlog.replay.rerun.ports.context import ChangedContext, RecordedContext
from turnlog.replay.rerun.ports.model import RecordedModel
from turnlog.replay.rerun.ports.playback import Playback
from turnlog.replay.rerun.ports.tools import RecordedTools
from turnlog.replay.rerun.ports.workspace import RecordedWorkspace
from turnlog.replay.rerun.recorded_user import waits_for_user
from turnlog.replay.rerun.recording import Recording
from turnlog.replay.rerun.request_matching import RequestBook
from turnlog.runtime.assembly import SystemClock, built_in_tools, model_client, open_sandbox
from turnlog.runtime.config.load import load_config
from turnlog.runtime.config.project import standing_folder
from turnlog.runtime.config.schema import Config
from turnlog.runtime.context.loader import TurnContextLoader
from turnlog.runtime.engine.foresight import ForeseeingLoader, Foresight
from turnlog.runtime.sandbox.confinement import Sandbox
from turnlog.runtime.sandbox.guard import OPEN
from turnlog.runtime.workspace.files import WorkspaceFiles


@attrs.frozen
class Branching:
    """A session, and the place where a branch leaves it.

    Args:
        records: the session from its first event.
        cut: sequence of the last event that both have.
        recording: of what comes after the cut.
    """

    log: EventLog
    records: Sequence[Recorded]
    cut: int
    settings: SessionSettings
    recording: Recording
    playback: Playback
    environ: dict[str, str]


@asynccontextmanager
async def branch_ports(
    plan: Plan, branching: Branching, config: Config | None
) -> AsyncGenerator[Ports]:
    """Make the ports that a plan asks for.

    Args:
        config: of live ports. None: it is loaded if it is needed.

    Raises:
        UsageError: the configuration cannot be used.
    """
    environ = branching.environ
    if config is None and (not plan.is_recorded or plan.changes):
        config = _config(branching.settings.cwd, environ)
    async with AsyncExitStack() as stack:
        world: _World | None = None
        if config is not None:
            sandbox = await stack.enter_async_context(open_sandbox(environ, config))
            world = _World(config, sandbox, environ)
        tools, loader = _tools(plan, branching, world)
        yield Ports(
            branching.log,
            _model(plan, branching, world),
            tools,
            _context(plan, branching, loader),
            SystemClock(),
            _children(plan, branching),
            _workspace(plan, branching, world),
        )


@attrs.frozen
class _World:
    """What live ports are made of."""

    config: Config
    sandbox: Sandbox
    environ: dict[str, str]


def _config(cwd: str, environ: dict[str, str]) -> Config:
    """Load the configuration of the session's folder, or of this one if that is gone."""
    return load_config(cwd if os.path.isdir(cwd) else standing_folder(), environ=environ)


def _model(plan: Plan, branching: Branching, world: _World | None) -> ModelClient:
    if plan.model == "recorded":
        book = RequestBook(branching.recording.exchanges, plan.tolerances)
        return RecordedModel(book, branching.playback, _is_patient(plan, branching))
    assert world is not None  # a live port has a configuration
    return model_client(world.config, world.environ, "turnlog_rerun")


def _tools(
    plan: Plan, branching: Branching, world: _World | None
) -> tuple[Tools, ContextLoader | None]:
    """Return the tools, and what loads a context for them; None: nothing is live or changed."""
    tools: Tools
    if plan.tools == "recorded":
        tools = RecordedTools(branching.recording, plan.tolerances, _beside_model(plan, branching))
        return tools, None if world is None else _loader(world, tools)
    assert world is not None  # a live port has a configuration
    tools = built_in_tools(world.environ, world.sandbox)
    foresight = Foresight(world.sandbox, world.environ, plan.warn)
    return tools, ForeseeingLoader(_loader(world, tools), foresight)


def _loader(world: _World, tools: Tools) -> TurnContextLoader:
    return TurnContextLoader(world.config, tools, SystemClock(), world.environ, world.sandbox)


def _context(plan: Plan, branching: Branching, live: ContextLoader | None) -> ContextLoader:
    if not plan.is_live:
        return RecordedContext(
            branching.recording,
            plan.changes,
            live,
            _is_patient(plan, branching),
            branching.playback,
        )
    assert live is not None  # a live port has a configuration
    return ChangedContext(live, plan.changes)


def _children(plan: Plan, branching: Branching) -> Children | None:
    if plan.is_live:
        return None
    return RecordedChildren(branching.recording, _beside_model(plan, branching))


def _workspace(plan: Plan, branching: Branching, world: _World | None) -> Workspace:
    if plan.tools == "recorded":
        return RecordedWorkspace(branching.recording, _beside_model(plan, branching))
    return WorkspaceFiles(OPEN if world is None else world.sandbox.guard)


def _beside_model(plan: Plan, branching: Branching) -> Playback:
    """Return the playback of ports that a live model may use in another order."""
    playback = branching.playback
    return playback if plan.model == "recorded" else playback.without_order()


def _is_patient(plan: Plan, branching: Branching) -> bool:
    """Say whether retries wait as long as they did: a recorded model need not be waited for."""
    return plan.model == "live" or waits_for_user(branching.records, after=branching.cut)
