"""The task of one attempt at the model."""

from collections.abc import Callable

import attrs
import msgspec

from turnlog.actors.ports import (
    Completed,
    ItemDone,
    LimitsReported,
    ModelCallFailed,
    ModelRequest,
    ModelSignal,
    Ports,
    RawReasoningDelta,
    ReasoningBreak,
    ReasoningDelta,
    TextDelta,
)
from turnlog.actors.tasks.task import Task, Tell
from turnlog.protocol.calls import ModelFailure
from turnlog.protocol.events import (
    ClosingFact,
    ModelCompleted,
    ModelFailed,
    ModelItemReceived,
    RateLimitsReceived,
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
class ModelCallTask(Task):
    """Turns the signals of a response into facts and notices. The core decides about a failure."""

    request: ModelRequest
    ports: Ports
    tell: Tell
    notify: Callable[[Notice], None]
    is_quiet: bool = False  # what the model says is not shown to watchers: it is a summary
    _partial: list[str] = attrs.field(factory=list[str], init=False)
    _completed: Completed | None = attrs.field(default=None, init=False)

    async def run(self) -> ClosingFact:
        """Make the attempt; return the fact that closes it."""
        try:
            await self.ports.model.call(self.request, self._take)
        except ModelCallFailed as error:
            return self._failed(error.failure)
        if self._completed is None:
            return self._failed(
                ModelFailure("stream_disconnected", "the response never completed", "stream")
            )
        done = self._completed
        return ModelCompleted(self.effect, done.response_id, done.usage)

    def cancelled(self) -> ClosingFact:
        """Return the closing fact of an attempt that was stopped."""
        return self._failed(ModelFailure("cancelled", "the turn was stopped"))

    def _failed(self, failure: ModelFailure) -> ModelFailed:
        return ModelFailed(self.effect, failure, "".join(self._partial))

    async def _take(self, signal: ModelSignal) -> None:
        effect = self.effect
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
                if self.request.settings.session.show_raw_agent_reasoning:
                    self._show(AgentReasoningRawContentDelta(effect, delta))

    def _show(self, notice: Notice) -> None:
        if not self.is_quiet:
            self.notify(notice)

    async def _item(self, item_json: JsonText) -> None:
        try:
            item = read_item(item_json)
        except msgspec.MsgspecError as error:
            message = _UNREADABLE.format(error=error)
            raise ModelCallFailed(ModelFailure("invalid_response", message, "stream")) from error
        plan = None
        if isinstance(item, FunctionCall | CustomToolCall):
            plan = await self.ports.tools.plan(item, self.request.settings)
        await self.tell(ModelItemReceived(self.effect, item_json, plan))
