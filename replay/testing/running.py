"""Runs one tool call by itself: the tool's real code, on trio, with a clock that jumps.

Tasks are scheduled in the same order each time, so a run that is stopped at its n-th checkpoint
is stopped there again when hypothesis shrinks.
"""

from collections.abc import Sequence
from functools import partial

import attrs
import trio

from turnlog.actors.ports import ToolOrder, ToolResult
from turnlog.protocol.calls import ToolPlan
from turnlog.protocol.envelope import encode_event
from turnlog.protocol.events import EffectClosed, SessionFact
from turnlog.protocol.files import FileImage
from turnlog.protocol.ids import EffectId
from turnlog.protocol.items import ToolCallItem
from turnlog.protocol.settings import TurnSettings
from turnlog.replay.acting.scheduler import run_seeded
from turnlog.runtime.tools.registry import ToolRegistry
from turnlog.runtime.tools.tool import Tool


@attrs.frozen
class Ran:
    """How a call went."""

    started: bool  # the tool said that it begins to touch the world
    closing: SessionFact  # what its actor would report


@attrs.define
class _Monitor:
    """What the tool speaks to."""

    effect: EffectId
    has_started: bool = False
    left: ToolResult | None = None

    async def started(self) -> None:
        self.has_started = True
        await trio.lowlevel.checkpoint()

    async def saved(self, files: Sequence[FileImage]) -> None:
        await trio.lowlevel.checkpoint()

    def output(self, text: str) -> None:
        pass

    def stopped(self, result: ToolResult) -> None:
        self.left = result


@attrs.define(eq=False)
class _StopAfter(trio.abc.Instrument):
    """Cancels a scope once a task has run up to its n-th checkpoint."""

    steps: int
    scope: trio.CancelScope
    task: trio.lowlevel.Task

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self.task:
            self.steps -= 1
            if self.steps == 0:
                self.scope.cancel()


def plan_call(tools: Sequence[Tool], call: ToolCallItem, settings: TurnSettings) -> ToolPlan:
    """Return what the registry of `tools` says of a call. Not for use inside of a trio program."""
    return run_seeded(partial(ToolRegistry(tools).plan, call, settings), seed=0)


def run_call(
    tools: Sequence[Tool], order: ToolOrder, effect: EffectId, *, stop_after: int | None = None
) -> Ran:
    """Run a call to its end. Not for use inside of a trio program.

    Args:
        stop_after: cancel it at this checkpoint of its task (1 is the first). None: never.
    """
    return run_seeded(partial(_run, ToolRegistry(tools), order, effect, stop_after), seed=0)


async def _run(
    registry: ToolRegistry, order: ToolOrder, effect: EffectId, stop_after: int | None
) -> Ran:
    monitor = _Monitor(effect)
    closing: SessionFact = EffectClosed(effect, "cancelled")
    with trio.CancelScope() as scope:
        if stop_after is not None:
            await trio.lowlevel.checkpoint()  # so that the steps are counted from here
            stop = _StopAfter(max(stop_after, 1), scope, trio.lowlevel.current_task())
            trio.lowlevel.add_instrument(stop)
        try:
            closing = (await registry.run(order, monitor)).fact(effect)
            encode_event(closing)  # what cannot be stored is a crash of its tool
        except Exception as error:
            text = str(error).encode(errors="replace").decode()
            closing = EffectClosed(effect, "crashed", f"{type(error).__name__}: {text}", "crashed")
    if scope.cancelled_caught and monitor.left is not None:
        closing = monitor.left.fact(effect)
    return Ran(monitor.has_started, closing)
