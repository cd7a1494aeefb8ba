"""The tasks for children: one runs a child session to its end, one steers it."""

from typing import ClassVar

import attrs
import trio

from turnlog.actors.ports import ChildOrder, Children, ChildResult
from turnlog.actors.tasks.task import Task
from turnlog.protocol.errors import TurnlogError
from turnlog.protocol.events import ChildEnded, ChildTold, ClosingFact, EffectDone


@attrs.define(eq=False)
class ChildTask(Task):
    """Waits for a child's end. When its turn is stopped, it stops the child first."""

    order: ChildOrder
    children: Children
    begins_stopped: ClassVar[bool] = True  # also a child that is stopped at once has an end
    _end: ClosingFact | None = attrs.field(default=None, init=False)

    async def run(self) -> ClosingFact:
        """Run the child; return the fact that closes the effect."""
        try:
            return self._ended(await self.children.run(self.order))
        except (trio.Cancelled, BaseExceptionGroup):  # a group: of a child that was being opened
            with trio.CancelScope(shield=True):
                await self._stop()
            raise
        except TurnlogError as error:
            return self.failed(error)

    async def _stop(self) -> None:
        try:
            self._end = self._ended(await self.children.stop(self.order))
        except TurnlogError as error:
            self._end = self.failed(error)

    def cancelled(self) -> ClosingFact:
        """Return the end of the child that was stopped."""
        return self._end or Task.cancelled(self)

    def _ended(self, result: ChildResult) -> ChildEnded:
        return ChildEnded(
            self.effect,
            self.order.asked.child,
            result.status,
            result.sequence,
            result.digest,
            result.output,
            result.usage,
            result.error,
        )


async def steer(children: Children, told: ChildTold) -> ClosingFact:
    """Steer a child that works.

    Raises:
        TurnlogError: the child cannot be reached.
    """
    await children.tell(told)
    return EffectDone(told.effect)
