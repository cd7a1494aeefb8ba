"""The port of the model."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from msgspec import Struct

from turnlog.protocol.calls import ModelFailure
from turnlog.protocol.ids import SessionId
from turnlog.protocol.items import JsonText
from turnlog.protocol.settings import TurnSettings
from turnlog.protocol.usage import RateLimits, TokenUsage


class ModelRequest(Struct, frozen=True):
    """Everything that one attempt at the model sends."""

    session: SessionId
    turn_id: str
    settings: TurnSettings
    tools_json: JsonText
    input: Sequence[JsonText]  # the conversation's parts, in order, sent as they are
    output_schema: dict[str, object] | None = None
    cache_key: SessionId | None = None  # of the provider's prompt cache; None: the session


class ItemDone(Struct, frozen=True):
    """The model has finished an item."""

    item_json: JsonText


class TextDelta(Struct, frozen=True):
    """A piece of a message."""

    delta: str


class ReasoningDelta(Struct, frozen=True):
    """A piece of a reasoning summary."""

    delta: str


class ReasoningBreak(Struct, frozen=True):
    """A new part of the reasoning summary begins."""


class RawReasoningDelta(Struct, frozen=True):
    """A piece of raw reasoning."""

    delta: str


class LimitsReported(Struct, frozen=True):
    """The provider has reported its allowances."""

    limits: RateLimits


class Completed(Struct, frozen=True):
    """The last signal of a whole response."""

    response_id: str
    usage: TokenUsage | None


ModelSignal = (
    ItemDone
    | TextDelta
    | ReasoningDelta
    | ReasoningBreak
    | RawReasoningDelta
    | LimitsReported
    | Completed
)


class ModelCallFailed(Exception):
    """The attempt failed; the core decides what to do about it."""

    def __init__(self, failure: ModelFailure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class ModelClient(Protocol):
    """The way to the providers of models."""

    async def call(
        self, request: ModelRequest, emit: Callable[[ModelSignal], Awaitable[None]]
    ) -> None:
        """Make one attempt. Emit each signal as it comes, `Completed` last; then return.

        `emit` may wait: it is the back-pressure of the session. Nothing is retried here.

        Raises:
            ModelCallFailed: there is no whole response.
        """
        ...
