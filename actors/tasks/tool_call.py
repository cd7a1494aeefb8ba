"""The trio shell of one tool call."""

from collections.abc import Awaitable, Callable, Sequence

import attrs

from turnlog.actors.ports import PlanOrder, Ports, ToolResult
from turnlog.actors.tasks.jobs import ToolJob
from turnlog.protocol.events import (
    CallPlanned,
    EffectClosed,
    FilesSaved,
    SessionFact,
    ToolStarted,
)
from turnlog.protocol.files import FileImage
from turnlog.protocol.ids import EffectId
from turnlog.protocol.notices import Notice, ToolOutputDelta


@attrs.define(eq=False)
class ToolCallActor:
    """Runs a call through the registry, and is the monitor that its handler speaks to."""

    job: ToolJob
    ports: Ports
    tell: Callable[[SessionFact], Awaitable[None]]
    notify: Callable[[Notice], None]
    begins_stopped: bool = False
    _left: ToolResult | None = attrs.field(default=None, init=False)

    @property
    def effect(self) -> EffectId:
        return self.job.effect

    async def run(self) -> SessionFact:
        """Run the call to its end; return the fact that closes it.

        One that somebody has allowed is planned once more first: what runs is what they were shown.
        """
        order = self.job.order
        if order.dispatched.approved:
            again = PlanOrder(self.effect, order.call, order.settings, order.plan)
            plan = await self.ports.tools.plan_again(again)
            if plan != order.plan:
                return CallPlanned(self.effect, plan)
        return (await self.ports.tools.run(order, self)).fact(self.effect)

    def cancelled(self) -> SessionFact:
        """Return the closing fact of a call that was stopped, with what it had to say."""
        if self._left is not None:
            return self._left.fact(self.effect)
        return EffectClosed(self.effect, "cancelled")

    async def started(self) -> None:
        await self.tell(ToolStarted(self.effect))

    async def saved(self, files: Sequence[FileImage]) -> None:
        if files:
            await self.tell(FilesSaved(self.effect, tuple(files)))

    def output(self, text: str) -> None:
        self.notify(ToolOutputDelta(self.effect, text))

    def stopped(self, result: ToolResult) -> None:
        self._left = result
