"""One step of a session as it goes to the log: each event numbered, sealed and chained. Pure."""

from typing import NamedTuple

from turnlog.actors.core.session import step
from turnlog.actors.core.state import State
from turnlog.protocol.envelope import EncodedEvent, Record, Recorded, Role, seal
from turnlog.protocol.events import (
    Decision,
    SessionEvent,
    SessionFact,
    StepFailed,
    TurnEnded,
    TurnOpened,
)


class Sealed(NamedTuple):
    """One event of a step, in three forms."""

    event: SessionEvent
    record: Record  # for the store
    recorded: Recorded  # for readers


def sealed_step(
    state: State, fact: SessionFact, *, time_us: int, encoded: EncodedEvent | None = None
) -> list[Sealed]:
    """Apply a fact and the decisions that it causes; return all of them, the fact first.

    An event belongs to the turn that is open, also to the one that it opens or ends; or to turn 0.

    Args:
        state: it is changed, and its digest becomes that of the last event.
        time_us: of the step. A time before the last fact's counts as that one.
        encoded: the fact's bytes, where they are at hand.
    """
    first, turn = state.head + 1, state.turn.number if state.turn else 0
    sealed: list[Sealed] = []
    for sequence, event in enumerate(step(state, fact, time_us=time_us), first):
        if isinstance(event, TurnOpened):
            turn = event.turn
        sealed.append(_sealed(state, event, sequence, first, turn, encoded))
        if isinstance(event, TurnEnded | StepFailed):
            turn = 0
    return sealed


def _sealed(
    state: State,
    event: SessionEvent,
    sequence: int,
    first: int,
    turn: int,
    encoded: EncodedEvent | None,
) -> Sealed:
    is_decision = isinstance(event, Decision)
    role: Role = "decision" if is_decision else "fact"
    cause = first if is_decision else 0
    record = seal(
        event,
        sequence=sequence,
        time_us=state.time_us,
        cause=cause,
        turn=turn,
        previous=state.digest,
        encoded=None if is_decision else encoded,
    )
    state.digest = record.digest
    recorded = Recorded(sequence, state.time_us, role, cause, turn, record.digest, event)
    return Sealed(event, record, recorded)
