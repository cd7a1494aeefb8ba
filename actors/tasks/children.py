"""The trio shells of what a session asks of its children."""

import attrs
import trio

from turnlog.actors.ports import Children, ChildResult
from turnlog.actors.tasks.jobs import ChildJob, TellJob
from turnlog.protocol.errors import TurnlogError
from turnlog.protocol.events import ChildEnded, EffectClosed, EffectDone, SessionFact


@attrs.define(eq=False)
class ChildActor:
    """Waits for a child's end. When its turn is stopped, it sees the child to its end first."""

    job: ChildJob
    children: Children
    begins_stopped: bool = True  # also a child that is stopped at once comes to an end
    _end: SessionFact | None = attrs.field(default=None, init=False)

    async def run(self) -> SessionFact:
        """Run the child; return the fact that closes the effect."""
        try:
            return self._ended(await self.children.run(self.job.order))
        except (trio.Cancelled, BaseExceptionGroup):  # a group: of a child that was being opened
            with trio.CancelScope(shield=True):
                await self._stop()
            raise
        except TurnlogError as error:
            return EffectClosed(self.job.effect, "failed", str(error), error.code)

    async def _stop(self) -> None:
        try:
            self._end = self._ended(await self.children.stop(self.job.order))
        except TurnlogError as error:
            self._end = EffectClosed(self.job.effect, "failed", str(error), error.code)

    def cancelled(self) -> SessionFact:
        return self._end or EffectClosed(self.job.effect, "cancelled")

    def _ended(self, result: ChildResult) -> ChildEnded:
        return ChildEnded(
            self.job.effect,
            self.job.order.asked.child,
            result.status,
            result.sequence,
            result.digest,
            result.output,
            result.usage,
            result.error,
        )


@attrs.define(eq=False)
class TellActor:
    """Steers a child."""

    job: TellJob
    children: Children
    begins_stopped: bool = False

    async def run(self) -> SessionFact:
        try:
            await self.children.tell(self.job.told)
        except TurnlogError as error:
            return EffectClosed(self.job.effect, "failed", str(error), error.code)
        return EffectDone(self.job.effect)

    def cancelled(self) -> SessionFact:
        return EffectClosed(self.job.effect, "cancelled")
