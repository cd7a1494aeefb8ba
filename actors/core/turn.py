"""The core of a turn: how it opens, what it does next, how it stops and ends."""

from collections.abc import Iterable, Iterator

from turnlog.actors.core import model_call, texts, tool_call
from turnlog.actors.core.state import State, Turn
from turnlog.protocol.events import (
    ContextAsked,
    ContextLoaded,
    InputQueued,
    ItemsRecorded,
    OpReceived,
    RecordedItem,
    SessionClosed,
    SessionDecision,
    TurnEnded,
    TurnOpened,
)
from turnlog.protocol.ids import TurnId, effect_id, mint
from turnlog.protocol.items import ContentPart, JsonText, Message, encode_item, text_message
from turnlog.protocol.ops import (
    ImageInput,
    LocalImageInput,
    TextInput,
    UserInput,
    UserInputItem,
    UserTurn,
)


def input_items(op: object) -> tuple[UserInputItem, ...]:
    """Return what an op says to the model."""
    return op.items if isinstance(op, UserInput | UserTurn) else ()


def receive_input(state: State, fact: OpReceived) -> Iterator[SessionDecision]:
    """Decide about user input: a new turn, a word to the one that runs, or a later turn."""
    turn = state.turn
    if turn is None and not state.queue:
        yield open_turn(state, fact)
    elif turn is None or turn.stopping or _needs_loading(fact):
        yield InputQueued(fact.op_id, "turn")
    else:
        yield InputQueued(fact.op_id, "request")


def _needs_loading(op: OpReceived) -> bool:
    """Say whether a file must be read first, which is done when a turn starts."""
    return any(isinstance(item, LocalImageInput) for item in input_items(op.op))


def open_turn(state: State, op: OpReceived) -> TurnOpened:
    turn_id = TurnId(mint(state.session, state.time_us, state.facts, "turn", 0))
    return TurnOpened(state.turns + 1, turn_id, op.op_id)


def start(state: State, turn: Turn, fact: ContextLoaded) -> Iterator[SessionDecision]:
    """Decide what of the loaded context the model has not been told, and record the prompt."""
    news = [
        RecordedItem(fragment.kind, item)
        for fragment in fact.fragments
        if (item := text_message(fragment.role, fragment.text)) != state.context.get(fragment.kind)
    ]
    steered = (RecordedItem("user", text) for text in _messages(turn.steered))
    yield ItemsRecorded((*news, RecordedItem("user", fact.input_json), *steered))


def advance(state: State) -> Iterator[SessionDecision]:
    """Yield whatever comes next, now that a fact has been dealt with. The end of every step."""
    turn = state.turn
    if turn is not None and turn.stopping is None:
        yield from _go_on(state, turn)
    elif turn is not None and not state.outstanding:
        yield from _finish(state, turn)
    if state.turn is None:
        if state.closing and not state.closed:
            yield SessionClosed()
        elif state.queue and not state.closing:
            yield open_turn(state, state.queue[0])
            yield from advance(state)


def _go_on(state: State, turn: Turn) -> Iterator[SessionDecision]:
    yield from tool_call.start_calls(state, turn)
    if state.outstanding or not all(call.settled for call in turn.calls):
        return
    if turn.settings is None:
        yield ContextAsked(effect_id(state.facts, "context"))
    elif turn.owes_request:
        if items := _untold(turn):
            yield ItemsRecorded(items)
        yield model_call.ask(state, turn)
    else:
        yield TurnEnded(turn.number, turn.turn_id, "completed", turn.last_agent_message)


def _finish(state: State, turn: Turn) -> Iterator[SessionDecision]:
    stopping = turn.stopping
    assert stopping is not None
    yield from tool_call.settle_never_started(turn)
    items = _untold(turn)
    if stopping.status == "interrupted":
        marker = text_message("user", texts.TURN_ABORTED)
        items = (*items, RecordedItem("turn_aborted", marker))
    if items:
        yield ItemsRecorded(items)
    yield TurnEnded(
        turn.number, turn.turn_id, stopping.status, turn.last_agent_message, stopping.error
    )


def _untold(turn: Turn) -> tuple[RecordedItem, ...]:
    """Return the user's messages that the conversation does not hold yet."""
    waiting = turn.steered if turn.prompted else [input_items(turn.op.op), *turn.steered]
    return tuple(RecordedItem("user", message) for message in _messages(waiting))


def _messages(inputs: Iterable[tuple[UserInputItem, ...]]) -> Iterator[JsonText]:
    return (message for items in inputs if (message := _message(items)))


def _message(items: tuple[UserInputItem, ...]) -> JsonText | None:
    """Return the user's message. A local image is named, since reading it is not for a core."""
    parts: list[ContentPart] = []
    for item in items:
        match item:
            case TextInput(text=text):
                parts.append(ContentPart("input_text", text=text))
            case ImageInput(image_url=url):
                parts.append(ContentPart("input_image", image_url=url))
            case LocalImageInput(path=path):
                parts.append(ContentPart("input_text", text=f"[image: {path}]"))
    return encode_item(Message("user", parts)) if parts else None
