"""The trio shell of one attempt at the model."""

from collections.abc import Awaitable, Callable

import attrs
import msgspec

from turnlog.actors.ports import (
    Completed,
    ItemDone,
    LimitsReported,
    ModelCallFailed,
    ModelSignal,
    Ports,
    RawReasoningDelta,
    ReasoningBreak,
    ReasoningDelta,
    TextDelta,
)
from turnlog.actors.tasks.jobs import ModelJob
from turnlog.protocol.calls import ModelFailure
from turnlog.protocol.events import (
    ModelCompleted,
    ModelFailed,
    ModelItemReceived,
    RateLimitsReceived,
    SessionFact,
)
from turnlog.protocol.items import CustomToolCall, FunctionCall, JsonText, read_item
from turnlog.protocol.notices import (
    AgentMessageDelta,
    AgentReasoningDelta,
    AgentReasoningRawContentDelta,
    AgentReasoningSectionBreak,
    Notice,
)

_UNREADABLE = "the provider sent an item that cannot be read: {error}"


@attrs.define(eq=False)
class ModelCallActor:
    """Turns a response's signals into facts and notices. What to do about a failure is not its."""

    job: ModelJob
    ports: Ports
    tell: Callable[[SessionFact], Awaitable[None]]
    notify: Callable[[Notice], None]
    begins_stopped: bool = False
    _partial: list[str] = attrs.field(factory=list[str], init=False)
    _completed: Completed | None = attrs.field(default=None, init=False)

    async def run(self) -> SessionFact:
        """Make the attempt; return the fact that closes it."""
        try:
            await self.ports.model.call(self.job.request, self._take)
        except ModelCallFailed as error:
            return self._failed(error.failure)
        if self._completed is None:
            return self._failed(
                ModelFailure("stream_disconnected", "the response never completed", "stream")
            )
        done = self._completed
        return ModelCompleted(self.job.effect, done.response_id, done.usage)

    def cancelled(self) -> SessionFact:
        """Return the closing fact of an attempt that was stopped."""
        return self._failed(ModelFailure("cancelled", "the turn was stopped"))

    def _failed(self, failure: ModelFailure) -> ModelFailed:
        return ModelFailed(self.job.effect, failure, "".join(self._partial))

    async def _take(self, signal: ModelSignal) -> None:
        effect = self.job.effect
        match signal:
            case ItemDone(item_json=item_json):
                self._partial.clear()
                await self._item(item_json)
            case LimitsReported(limits=limits):
                await self.tell(RateLimitsReceived(effect, limits))
            case Completed():
                self._completed = signal
            case TextDelta(delta=delta):
                self._partial.append(delta)
                self._show(AgentMessageDelta(effect, delta))
            case ReasoningDelta(delta=delta):
                self._show(AgentReasoningDelta(effect, delta))
            case ReasoningBreak():
                self._show(AgentReasoningSectionBreak(effect))
            case RawReasoningDelta(delta=delta):
                if self.job.request.settings.session.show_raw_agent_reasoning:
                    self._show(AgentReasoningRawContentDelta(effect, delta))

    def _show(self, notice: Notice) -> None:
        if not self.job.quiet:
            self.notify(notice)

    async def _item(self, item_json: JsonText) -> None:
        try:
            item = read_item(item_json)
        except msgspec.MsgspecError as error:
            message = _UNREADABLE.format(error=error)
            raise ModelCallFailed(ModelFailure("invalid_response", message, "stream")) from error
        plan = None
        if isinstance(item, FunctionCall | CustomToolCall):
            plan = await self.ports.tools.plan(item, self.job.request.settings)
        await self.tell(ModelItemReceived(self.job.effect, item_json, plan))
