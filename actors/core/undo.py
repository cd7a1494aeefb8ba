"""The core of undo and redo: which turns are dropped, and what the conversation goes back to."""

from collections.abc import Iterator

from turnlog.actors.core.state import Mark, State, Turn
from turnlog.protocol.events import (
    OpReceived,
    OpRefused,
    RestoredPart,
    SessionDecision,
    TurnsDropped,
    UndoAsked,
)
from turnlog.protocol.ids import effect_id
from turnlog.protocol.ops import Redo, Undo


def refusal(state: State, fact: OpReceived) -> OpRefused | None:
    """Return why an undo or a redo cannot be done, if so."""
    op = fact.op
    if state.turn is not None or state.queue:
        return OpRefused(fact.op_id, "turn_running", "a turn runs; interrupt it first")
    if isinstance(op, Redo) and state.undone is None:
        return OpRefused(fact.op_id, "nothing_to_redo", "no undo was the last thing done here")
    if isinstance(op, Undo) and not 1 <= op.turns <= len(state.marks):
        turns = "turn" if len(state.marks) == 1 else "turns"
        reason = (
            f"{len(state.marks)} {turns} can be undone here, not {op.turns}; to go further back, "
            "fork the session at an earlier event"
        )
        return OpRefused(fact.op_id, "nothing_to_undo", reason)
    return None


def begin(state: State, turn: Turn) -> Iterator[SessionDecision]:
    """Ask for the files and, where a summary took its place since, the conversation of then."""
    op, effect = turn.op.op, effect_id(state.facts, "undo")
    if isinstance(op, Redo) and state.undone is not None:
        yield UndoAsked(effect, state.undone.begin.at, 0, True, True, op.force, None)
    elif isinstance(op, Undo) and 1 <= op.turns <= len(state.marks):
        mark = state.marks[-op.turns]
        parts = _parts(state, mark)
        yield UndoAsked(effect, mark.at, op.turns, op.files, op.conversation, op.force, parts)


def _parts(state: State, mark: Mark) -> int | None:
    return mark.parts if mark.epoch == state.epoch else None


def parts_then(then: State) -> tuple[RestoredPart, ...]:
    """Return the whole conversation of `then`, as `TurnsRestored` has it."""
    return tuple(RestoredPart(part.kind, part.text, part.note) for part in then.history.parts)


def finish(state: State, turn: Turn) -> Iterator[SessionDecision]:
    """Drop the turns, now that their files are back."""
    op = turn.op.op
    if isinstance(op, Redo):
        yield TurnsDropped(0, None, redo=True)
    elif isinstance(op, Undo):
        mark = state.marks[-op.turns]
        yield TurnsDropped(op.turns, _parts(state, mark)) if op.conversation else TurnsDropped(0)
