"""What a decision means for the state."""

from typing import Literal, assert_never

from msgspec import structs

from turnlog.actors.core import texts
from turnlog.actors.core.evolving.agents import child_asked, child_lost, child_stopping, tell_of
from turnlog.actors.core.evolving.calls import CallDecision, call_decided, is_running, mark
from turnlog.actors.core.evolving.conversation import compacted, turns_dropped
from turnlog.actors.core.history import Part
from turnlog.actors.core.state import Compaction, Mark, OpenTurn, Queued, State, Turn
from turnlog.protocol.events import (
    AgentsAwaited,
    ApprovalAsked,
    CallParked,
    CallSettled,
    ChildAsked,
    ChildStopping,
    ChildTold,
    Compacted,
    CompactionAsked,
    CompactionGivenUp,
    CompactionWanted,
    ContextAsked,
    ConversationResumed,
    EffectLost,
    InputQueued,
    ItemsRecorded,
    ModelAsked,
    OpeningDecision,
    Opens,
    OpReceived,
    OpRefused,
    PlanAsked,
    PrefixChanged,
    QuestionAnswered,
    ResponseAbandoned,
    RetryScheduled,
    ScanAsked,
    SessionClosed,
    SessionDecision,
    StepFailed,
    ToolDispatched,
    TurnEnded,
    TurnOpened,
    TurnsDropped,
    TurnStopping,
    UndoAsked,
    UserShellAsked,
)
from turnlog.protocol.ids import EffectId
from turnlog.protocol.ops import RunUserShellCommand, TextInput, UserInput, UserTurn

REMEMBERED_TURNS = 100  # that can be undone; further back, a fork is the way
TITLE_LENGTH = 120  # characters
_UNDOABLE = ("regular", "review")  # kinds of turns

_WorkDecision = OpeningDecision | CallDecision | ResponseAbandoned | CompactionGivenUp


def decided(state: State, decision: SessionDecision) -> None:
    """Change `state` by a decision. The effect that it may open is not put in here."""
    turn = state.turn
    match decision:
        # First, as the most frequent.
        case ModelAsked() | ToolDispatched() if isinstance(turn, Turn):
            _work_decided(state, turn, decision)
        case TurnOpened():
            _turn_opened(state, decision)
        case EffectLost(effect=effect):
            _lost(state, effect)
        case StepFailed():
            _step_failed(state)
        case SessionClosed():
            state.closed = True
        case InputQueued(until="turn"):
            if (op := state.in_hand.op) is not None:
                state.queue.append(Queued(op, state.in_hand.at))
        case ItemsRecorded():
            _recorded(state, decision)
        case OpRefused() | ContextAsked() | PrefixChanged() | ChildTold() | ConversationResumed():
            pass
        case ChildStopping():
            child_stopping(state, decision)
        case Compacted():
            compacted(state, decision)
        case TurnsDropped():
            turns_dropped(state, decision)
        case _ if turn is None:
            pass  # only a log that was written by hand gets here
        case _:
            _turn_decided(state, turn, decision)


def _turn_decided(
    state: State,
    turn: OpenTurn,
    decision: _WorkDecision | InputQueued | TurnStopping | TurnEnded | CompactionWanted,
) -> None:
    match decision:
        case InputQueued():
            _steered(state, turn)
        case CompactionWanted():
            turn.wants_compaction = turn.wants_compaction or "manual"
        case TurnStopping():
            turn.stopping, turn.wants_compaction = decision, None
            if isinstance(turn, Turn):
                turn.compaction = None
        case TurnEnded(status=status):
            if turn.did_nothing:
                _forget(state, turn)
            _turn_over(state, status)
        case _:
            if isinstance(turn, Turn):
                _work_decided(state, turn, decision)


def _steered(state: State, turn: OpenTurn) -> None:
    """The user said something that the next request tells the model."""
    if (op := state.in_hand.op) is None or not isinstance(op.op, UserInput | UserTurn):
        return
    turn.steered.append(op.op.items)
    turn.owes_request = True
    if isinstance(turn, Turn):
        turn.compactions, turn.over_limit = 0, False  # what was said may need the room


def _work_decided(state: State, turn: Turn, decision: _WorkDecision) -> None:
    match decision:
        case ModelAsked():
            _model_asked(state, turn, decision)
        case (
            ToolDispatched()
            | AgentsAwaited()
            | ApprovalAsked()
            | QuestionAnswered()
            | CallParked()
            | PlanAsked()
            | CallSettled()
        ):
            call_decided(state, turn, decision)
        case RetryScheduled(level=level):
            _retry(turn, level)
        case ResponseAbandoned(keep=keep):
            abandon(state, turn, keep=keep)
        case CompactionAsked():
            _compaction_asked(turn, decision)
        case CompactionGivenUp(trigger=trigger):
            turn.compaction = turn.wants_compaction = None
            turn.no_gain = turn.no_gain or trigger != "manual"
        case ChildAsked():
            child_asked(state, turn, decision)
        case ScanAsked():
            turn.scanned = True
        case UndoAsked() | UserShellAsked():
            turn.begun = True
        case Opens():
            pass  # that it is open is all that it means
        case _:
            assert_never(decision)


def _recorded(state: State, decision: ItemsRecorded) -> None:
    for index, item in enumerate(decision.items):
        state.history.add(Part(item.item_json, (state.head, index), item.kind))
        if item.kind == "agent":
            for child in tuple(state.agents):
                tell_of(state, child)
    if state.turn is not None:
        state.turn.prompted = True
        state.turn.steered.clear()


def _model_asked(state: State, turn: Turn, decision: ModelAsked) -> None:
    turn.request, turn.attempt = decision.request, decision.attempt
    turn.owes_request = False
    state.asked_with = turn.settings
    state.asked_tools = turn.tools_digest


def _retry(turn: Turn, level: str) -> None:
    if turn.compaction is not None:
        turn.compaction.retries += 1
    elif level == "request":
        turn.request_retries += 1
    else:
        turn.request_retries = 0
        turn.stream_retries += 1


def _compaction_asked(turn: Turn, decision: CompactionAsked) -> None:
    retries = turn.compaction.retries if turn.compaction is not None else 0
    if turn.compaction is not None and turn.compaction.asked.skipped != decision.skipped:
        retries = 0
    empty = turn.compaction.empty if turn.compaction is not None else 0
    turn.compaction = Compaction(decision, retries, empty=empty)
    turn.wants_compaction = None


def _turn_opened(state: State, decision: TurnOpened) -> None:
    op = state.in_hand.op
    if state.queue and state.queue[0].op.op_id == decision.op_id:
        op = state.queue.pop(0).op
    if op is None:
        return
    state.turns = decision.turn
    turn = state.turn = OpenTurn(decision.turn, decision.turn_id, op, state.head - 1, decision.kind)
    if turn.kind == "compact":
        turn.wants_compaction = "manual"
    if turn.kind in _UNDOABLE:
        begin = Mark(turn.number, turn.opened_at, len(state.history.parts), state.epoch)
        state.marks = [*state.marks[1 - REMEMBERED_TURNS :], begin]
        turn.could_redo, state.undone = state.undone, None
    if state.summary is not None and state.settings is not None:
        state.summary = structs.replace(
            state.summary,
            updated_us=state.time_us,
            title=state.summary.title or _title(op),
            cwd=state.settings.cwd,
            model=state.settings.model,
            turns=state.summary.turns + 1,
            status="running",
        )


def _title(op: OpReceived) -> str:
    match op.op:
        case UserInput(items=items) | UserTurn(items=items):
            text = next((item.text for item in items if isinstance(item, TextInput)), "")
        case RunUserShellCommand(command=command):
            text = f"!{command}"
        case _:
            text = ""
    return " ".join(text.split())[:TITLE_LENGTH]


def abandon(state: State, turn: Turn, *, keep: bool) -> None:
    """Put the items of a response that is not whole into the conversation, or drop them."""
    if not keep:
        turn.items.clear()
        turn.calls.clear()
        turn.owes_request = True
        return
    while turn.items and turn.items[-1].is_reasoning:
        turn.items.pop()
    turn.progressed()
    state.commit_items(turn)
    state.flush_outputs(turn)


def _lost(state: State, effect: EffectId) -> None:
    lost, turn = state.outstanding.pop(effect, None), state.turn
    if not isinstance(turn, Turn):
        return
    match lost:
        case ToolDispatched(call=call):
            mark(turn, call, "stopped" if is_running(turn, call) else "unknown")
        case ApprovalAsked(call=call) | AgentsAwaited(call=call) | PlanAsked(call=call):
            mark(turn, call, "waiting")
        case ModelAsked() | RetryScheduled():
            turn.owes_request = turn.compaction is None or turn.owes_request
        case ScanAsked():
            turn.scanned = False
        case UndoAsked():
            turn.begun = False
        case _:
            pass


def _step_failed(state: State) -> None:
    if isinstance(turn := state.turn, Turn):
        abandon(state, turn, keep=True)
        for call in turn.calls:
            if not call.settled:
                call.settle(texts.UNKNOWN, state.head)
        state.flush_outputs(turn)
    for asked in state.open(ChildAsked):
        child_lost(state, asked, "crashed")
    state.outstanding.clear()
    _turn_over(state, "failed")


def _forget(state: State, turn: OpenTurn) -> None:
    """Leave a turn that could not begin out of what counts, and of what an undo goes back over."""
    if state.marks and state.marks[-1].turn == turn.number:
        state.marks = state.marks[:-1]
        state.undone = turn.could_redo
    if state.summary is not None:
        state.summary = structs.replace(state.summary, turns=state.summary.turns - 1)


def _turn_over(state: State, ended: Literal["completed", "interrupted", "failed"]) -> None:
    state.turn = None
    if state.summary is not None:
        state.summary = structs.replace(state.summary, status="idle", ended=ended)
