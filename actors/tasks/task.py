"""What a task is: it does what one open effect asks of the world, and ends with a closing fact."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import ClassVar

import attrs
import trio

from turnlog.protocol.errors import TurnlogError
from turnlog.protocol.events import ClosingFact, EffectClosed, SessionFact, TimerFired
from turnlog.protocol.ids import EffectId

Tell = Callable[[SessionFact], Awaitable[None]]  # sends a fact to the session; may wait


@attrs.define(eq=False)
class Task(ABC):
    """The work of one effect. Either `run` or `cancelled` gives the fact that closes it."""

    effect: EffectId
    # Whether `run` begins even if the task is stopped first: it has something to leave in order.
    begins_stopped: ClassVar[bool] = False

    @abstractmethod
    async def run(self) -> ClosingFact:
        """Do the work; return the closing fact."""

    def cancelled(self) -> ClosingFact:
        """Return the closing fact of work that was stopped."""
        return EffectClosed(self.effect, "cancelled")

    def failed(self, error: TurnlogError) -> EffectClosed:
        """Return the closing fact of work that a port refused with `error`."""
        return EffectClosed(self.effect, "failed", str(error), error.code)


@attrs.define(eq=False)
class AnswerTask(Task):
    """Asks a port once. The answer is the closing fact; a `TurnlogError` is a failure."""

    ask: Callable[[], Awaitable[ClosingFact]]

    async def run(self) -> ClosingFact:
        try:
            return await self.ask()
        except TurnlogError as error:
            return self.failed(error)


@attrs.define(eq=False)
class TimerTask(Task):
    """Lets time pass."""

    delay_ms: int

    async def run(self) -> ClosingFact:
        await trio.sleep(self.delay_ms / 1000)
        return TimerFired(self.effect)


@attrs.define(eq=False)
class AbsentTask(Task):
    """Takes the place of work for which this engine has no port."""

    async def run(self) -> ClosingFact:
        await trio.lowlevel.checkpoint()
        return EffectClosed(
            self.effect, "failed", "this engine is not made for that", "not_supported"
        )
