"""Rebuilding a session from its recorded events."""

from collections.abc import Iterable

from turnlog.actors.core.evolving import evolve
from turnlog.actors.core.state import State
from turnlog.protocol.envelope import Recorded, UnknownEvent


def rebuild(records: Iterable[Recorded], state: State | None = None) -> State:
    """Return the state after `records`, which go on from `state`.

    An event of an unknown kind is passed over; whether a session may be *continued* behind one
    is `require_known`'s to say.
    """
    state = state or State()
    for recorded in records:
        if isinstance(recorded.event, UnknownEvent):
            _pass_over(state, recorded)
        else:
            evolve(state, recorded.event, time_us=recorded.time_us)
        state.digest = recorded.digest
    return state


def _pass_over(state: State, recorded: Recorded) -> None:
    """Count an unknown event: the ids that are minted behind a fact depend on its number."""
    state.head += 1
    if recorded.role == "fact":
        state.facts += 1
        state.time_us = recorded.time_us
