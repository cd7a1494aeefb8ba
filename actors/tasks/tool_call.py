"""The task of one tool call."""

from collections.abc import Callable, Sequence

import attrs

from turnlog.actors.ports import PlanOrder, Ports, ToolOrder, ToolResult, Tools
from turnlog.actors.tasks.task import Task, Tell
from turnlog.protocol.events import CallPlanned, ClosingFact, FilesSaved, ToolStarted
from turnlog.protocol.files import FileImage
from turnlog.protocol.notices import Notice, ToolOutputDelta


@attrs.define(eq=False)
class ToolCallTask(Task):
    """Runs a call through the registry. It is the monitor through which the tool reports."""

    order: ToolOrder
    ports: Ports
    tell: Tell
    notify: Callable[[Notice], None]
    _left: ToolResult | None = attrs.field(default=None, init=False)

    async def run(self) -> ClosingFact:
        """Run the call to its end; return the fact that closes it.

        A call that somebody has allowed is planned once more first: so what runs is what was shown.
        """
        order = self.order
        if order.dispatched.approved:
            again = PlanOrder(self.effect, order.call, order.settings, order.plan)
            plan = await self.ports.tools.plan_again(again)
            if plan != order.plan:
                return CallPlanned(self.effect, plan)
        return (await self.ports.tools.run(order, self)).fact(self.effect)

    def cancelled(self) -> ClosingFact:
        """Return the closing fact of a call that was stopped, with what it had to say."""
        if self._left is not None:
            return self._left.fact(self.effect)
        return Task.cancelled(self)

    async def started(self) -> None:
        await self.tell(ToolStarted(self.effect))

    async def saved(self, files: Sequence[FileImage]) -> None:
        if files:
            await self.tell(FilesSaved(self.effect, tuple(files)))

    def output(self, text: str) -> None:
        self.notify(ToolOutputDelta(self.effect, text))

    def stopped(self, result: ToolResult) -> None:
        self._left = result


async def plan_again(tools: Tools, order: PlanOrder) -> ClosingFact:
    """Plan a call once more; return the fact that closes the effect."""
    return CallPlanned(order.effect, await tools.plan_again(order))
