"""The core of a turn: how it opens, what it does next, how it stops and ends."""

from collections.abc import Iterable, Iterator
from typing import Final

from turnlog.actors.core import agents, compaction, model_call, review, texts, tool_call, undo
from turnlog.actors.core.state import OpenTurn, State, Turn
from turnlog.protocol.events import (
    ApprovalAsked,
    ChildAsked,
    ChildTold,
    ContextAsked,
    InputQueued,
    ItemsRecorded,
    OpReceived,
    PrefixChanged,
    RecordedItem,
    SessionClosed,
    SessionDecision,
    TurnEnded,
    TurnKind,
    TurnOpened,
    TurnStopping,
    UserShellAsked,
)
from turnlog.protocol.ids import TurnId, effect_id, mint
from turnlog.protocol.items import ContentPart, JsonText, Message, encode_item, text_message
from turnlog.protocol.ops import (
    Compact,
    ImageInput,
    LocalImageInput,
    Op,
    Redo,
    Review,
    RunUserShellCommand,
    TextInput,
    Undo,
    UserInput,
    UserInputItem,
    UserTurn,
)

_KINDS: Final[dict[type[Op], TurnKind]] = {
    Compact: "compact",
    Review: "review",
    Undo: "undo",
    Redo: "redo",
    RunUserShellCommand: "shell",
}


def input_items(op: object) -> tuple[UserInputItem, ...]:
    """Return what an op says to the model."""
    return op.items if isinstance(op, UserInput | UserTurn) else ()


def receive_input(state: State, fact: OpReceived) -> Iterator[SessionDecision]:
    """Decide about user input: a new turn, a word to the one that runs, or a later turn."""
    turn = state.turn
    if turn is None and not state.queue:
        yield open_turn(state, fact)
    elif turn is None or turn.stopping or _needs_a_turn(state, turn, fact):
        yield InputQueued(fact.op_id, "turn")
    else:
        yield InputQueued(fact.op_id, "request")


def _needs_a_turn(state: State, turn: OpenTurn, fact: OpReceived) -> bool:
    """Say whether input cannot steer the turn that runs.

    A file must be read first, which is done when a turn starts; an output schema is for a whole
    turn; or the turn is of a kind that sends the model no user input.
    """
    op = fact.op
    if any(isinstance(item, LocalImageInput) for item in input_items(op)):
        return True
    if not isinstance(op, UserInput | UserTurn):
        return False
    has_schema = isinstance(op, UserTurn) and op.final_output_json_schema is not None
    return op.queue or has_schema or turn.kind != "regular"


def receive_task(state: State, fact: OpReceived) -> Iterator[SessionDecision]:
    """Decide about an op that is a turn of its own kind: it starts, or waits for its time."""
    if state.turn is None and not state.queue:
        yield open_turn(state, fact)
    else:
        yield InputQueued(fact.op_id, "turn")


def open_turn(state: State, fact: OpReceived) -> TurnOpened:
    turn_id = TurnId(mint(state.session, state.time_us, state.facts, "turn", 0))
    kind = _KINDS.get(type(fact.op), "regular")
    return TurnOpened(state.turns + 1, turn_id, fact.op_id, kind)


def _prompt(state: State, turn: Turn) -> ItemsRecorded:
    """Return what of the loaded context the model has not been told, and the prompt."""
    told = state.history.context
    news = [
        RecordedItem(fragment.kind, item)
        for fragment in turn.context.fragments
        if (item := text_message(fragment.role, fragment.text)) != told.get(fragment.kind)
    ]
    steered = (RecordedItem("user", text) for text in _messages(turn.steered))
    prompt = RecordedItem("user", turn.context.input_json)
    return ItemsRecorded((*news, *agents.unreported(state), prompt, *steered))


def advance(state: State) -> Iterator[SessionDecision]:
    """Yield whatever comes next, now that a fact has been dealt with. The end of every step."""
    turn = state.turn
    if state.maintenance:
        if state.closing and not state.closed:
            yield SessionClosed()
        return
    if turn is not None and turn.stopping is None:
        yield from _go_on(state, turn)
    if turn is not None and turn.stopping is not None and not state.outstanding:
        yield from _finish(state, turn, turn.stopping)
    if state.turn is None:
        if state.closing and not state.closed:
            yield SessionClosed()
        elif state.queue and not state.closing:
            yield open_turn(state, state.queue[0].op)
            yield from advance(state)


def _go_on(state: State, turn: OpenTurn) -> Iterator[SessionDecision]:
    if isinstance(turn, Turn):
        yield from _work(state, turn)
    elif not _is_busy(state):
        yield ContextAsked(effect_id(state.facts, "context"))


def _work(state: State, turn: Turn) -> Iterator[SessionDecision]:
    if turn.parking:
        yield from _park(state)
        return
    yield from tool_call.start_calls(state, turn)
    if turn.compaction is not None:
        yield from compaction.ask_again(state, turn.compaction)
        return
    if turn.wants_compaction is not None and compaction.can_begin(state, turn):
        yield from compaction.begin(state, turn, turn.wants_compaction)
        if turn.compaction is not None or turn.stopping is not None:
            return
    if _is_busy(state) or not all(call.settled for call in turn.calls):
        return
    if turn.kind != "regular" and not turn.begun:
        yield from _begin(state, turn)
    elif turn.kind == "regular" and (turn.owes_request or agents.unreported(state)):
        yield from _ask(state, turn)
    elif not state.outstanding:
        yield from _complete(state, turn)


def _is_busy(state: State) -> bool:
    """Say whether something is open that the next request waits for. Agents may work on."""
    return len(state.open(ChildAsked, ChildTold)) < len(state.outstanding)


def _park(state: State) -> Iterator[SessionDecision]:
    """Close the session with its turn open, once nothing is open but questions."""
    only_questions = len(state.open(ApprovalAsked)) == len(state.outstanding)
    if only_questions and not state.closed:
        yield SessionClosed("parked")


def _ask(state: State, turn: Turn) -> Iterator[SessionDecision]:
    if (trigger := compaction.due(state, turn)) is not None:
        yield from compaction.begin(state, turn, trigger)
        if turn.compaction is not None or turn.stopping is not None:
            return
    if not turn.prompted:
        yield _prompt(state, turn)
    elif items := _unreported(state, turn):
        yield ItemsRecorded(items)
    if causes := model_call.prefix_changes(state, turn):
        yield PrefixChanged(causes)
    yield model_call.ask(state, turn)


def _begin(state: State, turn: Turn) -> Iterator[SessionDecision]:
    """Begin the work of a turn that is not a talk with the model."""
    match turn.op.op:
        case Review():
            yield from review.begin(state, turn)
        case Undo() | Redo():
            yield from undo.begin(state, turn)
        case RunUserShellCommand(command=command):
            yield UserShellAsked(effect_id(state.facts, "shell"), command)
        case _:  # a compaction, which is begun by the wish for one
            yield from _complete(state, turn)


def _complete(state: State, turn: Turn) -> Iterator[SessionDecision]:
    if turn.restored is not None:
        yield from undo.finish(state, turn)
    if turn.kind == "review":
        yield ItemsRecorded((review.note(turn.child_end),))
    message = turn.last_agent_message
    if turn.kind == "review" and turn.child_end is not None:
        message = turn.child_end.output
    yield TurnEnded(turn.number, turn.turn_id, "completed", message)


def _finish(state: State, turn: OpenTurn, stopping: TurnStopping) -> Iterator[SessionDecision]:
    worked = turn if isinstance(turn, Turn) else None
    if worked is not None:
        yield from tool_call.settle_never_started(worked)
        if worked.restored is not None:  # the files are back already: so is the conversation
            yield from undo.finish(state, worked)
    if turn.kind == "review":
        yield ItemsRecorded((review.note(worked.child_end if worked is not None else None),))
    elif turn.kind == "regular":
        items = _unreported(state, turn)
        if stopping.status == "interrupted":
            marker = text_message("user", texts.TURN_ABORTED)
            items = (*items, RecordedItem("turn_aborted", marker))
        if items:
            yield ItemsRecorded(items)
    message = worked.last_agent_message if worked is not None else None
    yield TurnEnded(turn.number, turn.turn_id, stopping.status, message, stopping.error)


def _unreported(state: State, turn: OpenTurn) -> tuple[RecordedItem, ...]:
    """Return what the conversation does not hold yet: ends of agents, and the user's words."""
    waiting = turn.steered if turn.prompted else [input_items(turn.op.op), *turn.steered]
    words = (RecordedItem("user", message) for message in _messages(waiting))
    return (*agents.unreported(state), *words)


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
