"""What it means that the conversation changed otherwise than by growing."""

from turnlog.actors.core.history import History, Part
from turnlog.actors.core.state import Mark, State, Turn, Undone
from turnlog.protocol.events import Compacted, TurnsDropped


def compacted(state: State, decision: Compacted) -> None:
    """The begin of the conversation gave way to fewer parts."""
    old, new = state.history, History()
    for index, part in enumerate(decision.parts):
        if isinstance(part, int):
            new.add_from(old, part)
        else:
            new.add(Part(part.item_json, (state.head, index), part.kind))
    fixed = len(new.parts)
    for index in range(max(0, decision.replaced), len(old.parts)):
        new.add_from(old, index)
    _replace(state, new)
    state.measured = (max(0, decision.tokens_after), new.size)
    state.undone = None  # a redo would take the summary back, too
    if isinstance(turn := state.turn, Turn):
        turn.response_at = max(fixed, turn.response_at - decision.replaced + fixed)
        turn.compaction = turn.wants_compaction = None
        turn.compactions += 1
        turn.over_limit = turn.over_limit or decision.trigger != "manual"
        turn.rescued = turn.rescued or decision.trigger == "overflow"


def turns_dropped(state: State, decision: TurnsDropped) -> None:
    """Turns were undone, or an undo was."""
    turn = state.turn
    opened_at = turn.opened_at if turn is not None else state.head
    begin = Mark(state.turns, opened_at, len(state.history.parts), state.epoch)
    restored = turn.restored if isinstance(turn, Turn) else None
    if decision.parts is not None:
        _replace(state, state.history.first(decision.parts))
    elif isinstance(turn, Turn) and restored is not None and restored.parts is not None:
        history = History()
        for index, part in enumerate(restored.parts):
            source = (turn.restored_at, index)
            history.add(Part(part.item_json, source, part.kind, part.note))
        _replace(state, history)
    if isinstance(turn, Turn):
        turn.restored = None
    if decision.redo:
        if state.undone is not None:
            state.marks = [*state.marks, *state.undone.dropped]
        state.undone = None
        return
    kept = max(0, len(state.marks) - max(0, decision.turns))
    state.undone = Undone(begin, tuple(state.marks[kept:]))
    state.marks = state.marks[:kept]


def _replace(state: State, history: History) -> None:
    """Begin a new epoch."""
    state.history = history
    state.epoch += 1
    state.measured = (0, 0)
