"""A session at one of its events: its state, what the event changed, and the model's request.

Any event is allowed: in the middle of a step, after an unknown kind, before the first turn.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Any, Final, Literal

import attrs
import msgspec

from turnlog.actors.core.history import History
from turnlog.actors.core.model_input import model_input
from turnlog.actors.core.rebuild import rebuild
from turnlog.actors.core.state import OpenTurn, State, Turn
from turnlog.actors.ports import EventLog, ModelRequest
from turnlog.actors.stored_state.fold import folded
from turnlog.actors.tasks.orders import model_request, summary_request
from turnlog.protocol.envelope import GENESIS, KIND_NAMES, Recorded, chain
from turnlog.protocol.errors import event_not_found
from turnlog.protocol.events import CompactionAsked, ModelAsked
from turnlog.protocol.ids import SessionId
from turnlog.protocol.items import JsonText
from turnlog.protocol.settings import SessionSettings, TurnSettings
from turnlog.replay.views.structure import Difference, decoded, plain, plain_differences

# Of `State`: what every event moves, what only the step in hand needs, and where texts lie.
_NOT_SHOWN: Final = frozenset(
    {
        *("head", "digest", "time_us", "facts"),
        *("in_hand", "op_ids", "asked_with", "asked_tools", "measured"),
    }
)
_CONTEXT: Final = ("context", "tools_digest")  # of `Turn`: shown as settings and tools
_PARTS: Final = ("history", "parts")  # the path to the conversation, which is kept as JSON text


@attrs.frozen
class Request:
    """What the model is sent."""

    status: Literal["sent", "in_flight", "would_be_sent"]
    input: Sequence[JsonText]  # the parts, exactly as the request has them
    input_digest: str  # chained over the parts, hex
    recorded_digest: str | None  # what the log says it was; None: it was not sent
    tools_json: JsonText | None  # None: they are loaded when the turn starts
    settings: TurnSettings | SessionSettings | None  # a session's, where no turn has its own yet
    request: ModelRequest | None  # None: no turn is open, so that it cannot be made whole


@attrs.frozen
class StateAt:
    """A session after one of its events."""

    session: SessionId
    recorded: Recorded
    head: int  # sequence of the session's last event
    state: State
    changes: Sequence[Difference]  # of `state_view`, from the event before to this one
    request: Request


async def state_at_event(log: EventLog, session: SessionId, at: int) -> StateAt:
    """Return what a session was at event `at`. A snapshot is used where there is one.

    Args:
        at: sequence; a negative one counts from the end, and -1 is the last event.

    Raises:
        NotFound: there is no such session.
        NotFound: it has no such event.
        LogDamaged: an event up to `at` cannot be read.
    """
    head = (await log.head(session)).sequence
    sequence = _sequence_of(at, head)
    state = await folded(log, session, until=sequence - 1)
    [recorded] = await log.read(session, after=sequence - 1, until=sequence)
    before = state_view(state)
    rebuild([recorded], state)
    changes = [_readable(change) for change in plain_differences(before, state_view(state))]
    return StateAt(session, recorded, head, state, changes, request_at(state, recorded))


async def model_input_at(log: EventLog, session: SessionId, at: int) -> list[JsonText]:
    """Return what the model would be sent, if a session were cut at event `at` and asked again.

    A snapshot is used where there is one. Arguments and errors are those of `state_at_event`.
    """
    sequence = _sequence_of(at, (await log.head(session)).sequence)
    return model_input(await folded(log, session, until=sequence))


def _sequence_of(at: int, head: int) -> int:
    """Return the sequence of the event that `at` names: a negative one counts from the end.

    Raises:
        NotFound: there is no such event among the first `head`.
    """
    sequence = head + 1 + at if at < 0 else at
    if not 1 <= sequence <= head:
        raise event_not_found(at, head)
    return sequence


def state_view(state: State) -> dict[str, Any]:
    """Return a state in plain form (see `plain`): what a reader may want to know of it.

    The conversation's parts are left as the JSON texts that they are.
    """
    view: dict[str, Any] = {}
    for field in attrs.fields(State):
        name, value = field.name, getattr(state, field.name)
        if name in _NOT_SHOWN:
            continue
        if name == "history":
            view[name] = {"parts": state.history.texts()}
            view["context"] = {kind: decoded(text) for kind, text in state.history.context.items()}
        elif name == "queue":
            view[name] = [plain(queued.op) for queued in state.queue]
        elif name == "outstanding":
            view[name] = {
                effect: {"kind": KIND_NAMES[type(asked)], **plain(asked)}
                for effect, asked in state.outstanding.items()
            }
        elif name == "turn" and state.turn is not None:
            view[name] = _turn_view(state.turn)
        elif name == "agents":
            view[name] = {child: _agent_view(state, child) for child in state.agents}
        else:
            view[name] = plain(value)
    view["tokens"] = state.tokens
    return view


def _turn_view(turn: OpenTurn) -> dict[str, object]:
    """Return a turn with what it runs under in place of the whole context that was loaded.

    One that waits for its context has the same fields, so that its changes are only real ones.
    """
    view: dict[str, object] = plain(turn)
    if not isinstance(turn, Turn):
        return {**view, **_at_first(), "settings": None, "tools_json": "[]"}
    for name in _CONTEXT:
        del view[name]
    return {**view, "settings": plain(turn.settings), "tools_json": turn.tools_json}


def _at_first() -> dict[str, object]:
    """Return the fields of a turn's work as they are when it begins."""
    mine = {one.name for one in attrs.fields(OpenTurn)}.union(_CONTEXT)
    defaults = {one.name: one.default for one in attrs.fields(Turn) if one.name not in mine}
    factories = {name: getattr(default, "factory", None) for name, default in defaults.items()}
    return {**defaults, **{name: make() for name, make in factories.items() if make is not None}}


def _agent_view(state: State, child: SessionId) -> dict[str, Any]:
    """Return an agent with its model in place of its settings, and whether its end is known."""
    agent = state.agents[child]
    view: dict[str, Any] = plain(agent)
    del view["settings"], view["ends"]
    return {**view, "told": child not in state.results, "model": agent.settings.model}


def _readable(change: Difference) -> Difference:
    """Return a change of the conversation with its item decoded."""
    if change.path[: len(_PARTS)] != _PARTS:
        return change
    return Difference(change.path, decoded(change.left), decoded(change.right))


def request_at(state: State, recorded: Recorded) -> Request:
    """Return the request that was sent at an event, is in flight there, or would be sent.

    Args:
        state: the state after `recorded`.
    """
    asked = recorded.event if isinstance(recorded.event, ModelAsked) else None
    if not isinstance(state.turn, Turn):
        return _hypothetical(state)
    request = _in_flight(state, state.turn)
    if request is None:
        return _hypothetical(state)
    return Request(
        "sent" if asked is not None else "in_flight",
        request.input,
        input_digest(request.input, state.history),
        asked.input_digest if asked is not None else None,
        request.tools_json,
        request.settings,
        request,
    )


def _in_flight(state: State, turn: Turn) -> ModelRequest | None:
    """Return the request that has no answer yet, also one for a summary."""
    for asked in state.open(ModelAsked):
        return model_request(state, turn, asked.parts)
    for summary in state.open(CompactionAsked):
        return summary_request(state, turn, summary)
    return None


def _hypothetical(state: State) -> Request:
    """Return the request that would be made, if the turn were cut here and the model asked."""
    parts, turn = model_input(state), state.turn
    digest = input_digest(parts, state.history)
    if not isinstance(turn, Turn):
        return Request("would_be_sent", parts, digest, None, None, state.settings, None)
    request = model_request(state, turn, len(state.history.parts))
    request = msgspec.structs.replace(request, input=tuple(parts))
    return Request(
        "would_be_sent", parts, digest, None, request.tools_json, request.settings, request
    )


def input_digest(parts: Sequence[JsonText], history: History) -> str:
    """Return the digest over a model's input, as `model_asked` records it.

    Args:
        history: the conversation. If the input begins with all of it, the digest continues from
            the conversation's own: the fold has chained those parts already.
    """
    known, digest = len(history.parts), history.digest
    if list(parts[:known]) != history.texts():
        known, digest = 0, GENESIS
    return reduce(lambda last, part: chain(last, part.encode()), parts[known:], digest).hex()
