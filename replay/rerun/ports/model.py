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
from turnlog.replay.rerun.child_ids import Aliases
from turnlog.replay.rerun.recorded_order import Cues, until_stopped
from turnlog.replay.rerun.recording import Exchange
from turnlog.replay.rerun.request_matching import Miss, Missed, Request, RequestBook, schema_json

_LOST = ModelFailure("stream_disconnected", "the recording ends here: its engine died", "stream")
_NOT_STOPPED = ModelFailure(
    "crashed", "the recorded answer was cut off by something that did not come again"
)

Emit = Callable[[ModelSignal], Awaitable[None]]


@attrs.define(eq=False)
class RecordedModel:
    """The `ModelClient` of a recording. A request that it does not hold fails, and is noted.

    Args:
        cues: keeps the recorded order; None: answer at once.
        patient: whether a retry waits for as long as the provider wished.
        aliases: the ids of children, which the model knows agents by.
    """

    book: RequestBook
    cues: Cues | None = None
    patient: bool = True
    misses: list[Miss] = attrs.field(factory=list[Miss])
    aliases: Aliases = attrs.field(factory=lambda: Aliases(frozenset()))

    async def call(self, request: ModelRequest, emit: Emit) -> None:
        """Answer as the recorded attempt was answered, failures too.

        Raises:
            ModelCallFailed: it failed then; or it is not in the recording, which no retry mends.
        """
        await self.aliases.know(request.input)
        try:
            exchange = self.book.take(self._key_of(request))
        except Missed as error:
            self.misses.append(error.miss)
            if self.cues is not None:
                self.cues.give_up()
            raise ModelCallFailed(ModelFailure("bad_request", str(error))) from error
        if self.cues is not None:
            self.cues.begun(exchange.asked_at)
        was_cut = _was_cut(exchange)
        # What came then comes again, even if the turn is being stopped: it was, then, too.
        with trio.CancelScope(shield=True):
            for at, fact in exchange.signals:
                await self._before(at)
                if isinstance(fact, ModelItemReceived):
                    item = self.aliases.in_branch(fact.item_json)
                    if text := _said(item):
                        await emit(TextDelta(text))
                    await emit(ItemDone(item))
                else:
                    await emit(LimitsReported(fact.limits))
            if not was_cut:
                await self._end(exchange, emit)
        if was_cut:
            await until_stopped(self.cues, exchange.ended_at)
            raise ModelCallFailed(_NOT_STOPPED)

    def _key_of(self, request: ModelRequest) -> Request:
        return Request(
            [self.aliases.in_recording(part) for part in request.input],
            request.settings.session.model,
            request.tools_json,
            schema_json(request.output_schema),
        )

    async def _end(self, exchange: Exchange, emit: Emit) -> None:
        await self._before(exchange.ended_at)
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

    async def _before(self, at: int | None) -> None:
        if self.cues is not None and at is not None:
            await self.cues.before(at)


def _was_cut(exchange: Exchange) -> bool:
    match exchange.ending:
        case ModelFailed(failure=ModelFailure(code="cancelled")) | None:
            return True
        case _:
            return False


def _said(item_json: JsonText) -> str:
    try:
        item = read_item(item_json)
    except msgspec.MsgspecError:
        return ""
    return message_text(item) if isinstance(item, Message) else ""
