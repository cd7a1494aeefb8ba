"""A model that says what was recorded, and nothing else."""

from collections.abc import Awaitable, Callable

import attrs
import msgspec
import trio
from msgspec import structs

from turnlog.actors.ports import (
    Completed,
    ItemDone,
    LimitsReported,
    ModelCallFailed,
    ModelRequest,
    ModelSignal,
    TextDelta,
)
from turnlog.protocol.calls import ModelFailure
from turnlog.protocol.events import ModelCompleted, ModelFailed, ModelItemReceived
from turnlog.protocol.items import JsonText, Message, message_text, read_item
from turnlog.replay.rerun.ports.playback import Playback
from turnlog.replay.rerun.recording import Exchange
from turnlog.replay.rerun.request_matching import (
    Request,
    RequestBook,
    UnrecordedRequest,
    schema_json,
)

_LOST = ModelFailure("stream_disconnected", "the recording ends here: its engine died", "stream")
_NOT_STOPPED = ModelFailure(
    "crashed", "the recorded answer was cut off by something that did not come again"
)

Emit = Callable[[ModelSignal], Awaitable[None]]


@attrs.define(eq=False)
class RecordedModel:
    """The `ModelClient` of a recording. A request that it does not hold fails, and is noted.

    Args:
        patient: whether a retry waits for as long as the provider wished.
    """

    book: RequestBook
    playback: Playback = attrs.field(factory=Playback)
    patient: bool = True

    async def call(self, request: ModelRequest, emit: Emit) -> None:
        """Answer as the recorded attempt was answered, failures too.

        Raises:
            ModelCallFailed: it failed then; or it is not in the recording, which no retry repairs.
        """
        await self.playback.child_ids.know(request.input)
        try:
            exchange = self.book.take(self._key_of(request))
        except UnrecordedRequest as error:
            self.playback.unrecorded(error.mismatch)
            raise ModelCallFailed(ModelFailure("bad_request", str(error))) from error
        order = self.playback.order
        order.begun(exchange.asked_at)
        # Recorded signals come again also if the turn is stopped meanwhile, as it was then.
        with trio.CancelScope(shield=True):
            for at, fact in exchange.signals:
                await order.before(at)
                if isinstance(fact, ModelItemReceived):
                    item = self.playback.child_ids.in_branch(fact.item_json)
                    if text := _said(item):
                        await emit(TextDelta(text))
                    await emit(ItemDone(item))
                else:
                    await emit(LimitsReported(fact.limits))
            if not exchange.was_stopped:
                await self._end(exchange, emit)
        if exchange.was_stopped:
            await order.until_stopped(exchange.ended_at)
            raise ModelCallFailed(_NOT_STOPPED)

    def _key_of(self, request: ModelRequest) -> Request:
        return Request(
            [self.playback.child_ids.in_recording(part) for part in request.input],
            request.settings.session.model,
            request.tools_json,
            schema_json(request.output_schema),
        )

    async def _end(self, exchange: Exchange, emit: Emit) -> None:
        await self.playback.order.before(exchange.ended_at)
        match exchange.ending:
            case ModelCompleted(response_id=response_id, usage=usage):
                await emit(Completed(response_id, usage))
            case ModelFailed(failure=failure, partial_text=partial):
                if partial:
                    await emit(TextDelta(partial))
                wish = failure.retry_after_ms if self.patient else None
                raise ModelCallFailed(structs.replace(failure, retry_after_ms=wish))
            case _:
                raise ModelCallFailed(_LOST)


def _said(item_json: JsonText) -> str:
    try:
        item = read_item(item_json)
    except msgspec.MsgspecError:
        return ""
    return message_text(item) if isinstance(item, Message) else ""
