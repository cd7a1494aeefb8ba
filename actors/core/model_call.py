"""The core of model calls: what is asked, and what a failed attempt leads to."""

from collections.abc import Iterator
from typing import Literal

import msgspec

from turnlog.actors.core import compaction
from turnlog.actors.core.retries import delay_ms
from turnlog.actors.core.state import Received, State, Turn
from turnlog.protocol.calls import ErrorInfo, ModelFailure
from turnlog.protocol.events import (
    ModelAsked,
    ModelFailed,
    ResponseAbandoned,
    RetryScheduled,
    SessionDecision,
    TurnStopping,
)
from turnlog.protocol.ids import EffectId, effect_id
from turnlog.protocol.items import (
    CustomToolCallOutput,
    FunctionCallOutput,
    JsonText,
    Message,
    OtherItem,
    Reasoning,
    ResponseItem,
    message_text,
    read_item,
)


def ask(state: State, turn: Turn) -> ModelAsked:
    """Return the decision to ask the model with the whole conversation."""
    history = state.history
    return ModelAsked(
        effect_id(state.facts, "model"),
        turn.request if turn.attempt else turn.request + 1,
        turn.attempt + 1,
        len(history.parts),
        history.digest.hex(),
    )


def prefix_changes(state: State, turn: Turn) -> tuple[Literal["model", "tools"], ...]:
    """Say what makes a provider's cache of the last request useless, beside the conversation."""
    last = state.asked_with
    if last is None:
        return ()
    causes: list[Literal["model", "tools"]] = []
    if last.session.model != turn.settings.session.model:
        causes.append("model")
    if state.asked_tools != turn.tools_digest:
        causes.append("tools")
    return tuple(causes)


def sendable(item_json: JsonText) -> ResponseItem | OtherItem | None:
    """Return an item of the model's, or None if the conversation cannot hold it.

    What cannot be read, and an output that the model made up, would make every later input
    invalid. They stay in the log.
    """
    try:
        item = read_item(item_json)
    except (msgspec.MsgspecError, RecursionError):
        return None
    return None if isinstance(item, FunctionCallOutput | CustomToolCallOutput) else item


def received(item_json: JsonText, item: ResponseItem | OtherItem, at: int) -> Received:
    """Return what the state keeps of a finished item, whose event has the sequence `at`."""
    text = message_text(item) if isinstance(item, Message) and item.role == "assistant" else None
    return Received(item_json, at, isinstance(item, Reasoning), text or None)


def keeps_items(turn: Turn) -> bool:
    """Say whether a cut response's items stay: a call among them has been acted on.

    A call counts as acted on once it was dispatched or put to the user, even if that question is
    parked.
    """
    return any(call.status != "waiting" or call.question is not None for call in turn.calls)


def failed(state: State, turn: Turn, fact: ModelFailed) -> Iterator[SessionDecision]:
    """Decide about an attempt that gave no whole response: again, or the end of the turn."""
    if keeps_items(turn) and turn.items:  # progress: what follows is a new request
        yield ResponseAbandoned(fact.effect, keep=True)
    if _can_be_shorter(state, turn, fact.failure):
        if turn.items:
            yield ResponseAbandoned(fact.effect, keep=False)
        yield from compaction.begin(state, turn, "overflow")
        return
    retry = None if turn.stopping else _retry(state, turn, fact.failure)
    if turn.items:
        yield ResponseAbandoned(fact.effect, keep=retry is None)
    if retry is not None:
        yield retry
    elif turn.stopping is None:
        yield TurnStopping("failed", ErrorInfo(fact.failure.code, fact.failure.message))


def _can_be_shorter(state: State, turn: Turn, failure: ModelFailure) -> bool:
    """Say whether a request that was too long may be sent again after a compaction."""
    too_long = failure.code == "context_window_exceeded"
    if not too_long or turn.rescued or turn.stopping is not None:
        return False
    return compaction.possible(state, turn)


def _retry(state: State, turn: Turn, failure: ModelFailure) -> RetryScheduled | None:
    limits = turn.settings.retry
    effect = effect_id(state.facts, "timer")
    if failure.retry == "request" and turn.request_retries < limits.request_max_retries:
        retry, most = turn.request_retries + 1, limits.request_max_retries
        delay = delay_ms(state, failure, retry, limits)
        return RetryScheduled(effect, "request", retry, most, delay, failure.message)
    if failure.retry != "never" and turn.stream_retries < limits.stream_max_retries:
        retry, most = turn.stream_retries + 1, limits.stream_max_retries
        delay = delay_ms(state, failure, retry, limits)
        message = f"Reconnecting... {retry}/{most} ({failure.message})"
        return RetryScheduled(effect, "stream", retry, most, delay, message)
    return None


def abandon_lost(turn: Turn, effect: EffectId, *, keep: bool) -> Iterator[SessionDecision]:
    """Decide about the items of a response whose engine went away in the middle of it.

    Args:
        keep: whether a call among them had been acted on, before its effect was lost too.
    """
    if turn.items:
        yield ResponseAbandoned(effect, keep=keep or turn.stopping is not None)
