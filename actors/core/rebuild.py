"""Rebuilding a session from its recorded events."""

from collections.abc import Iterable

from turnlog.actors.core.evolving import evolve
from turnlog.actors.core.state import State
from turnlog.protocol.envelope import Recorded, UnknownEvent, require_known


def rebuild(records: Iterable[Recorded], state: State | None = None) -> State:
    """Return the state after `records`, which continue `state`.

    An event of an unknown kind is passed over, if the release that wrote it allows that.

    Raises:
        StoreTooNew: it does not: what the session is after that event is not known here.
    """
    state = state or State()
    for recorded in records:
        if isinstance(recorded.event, UnknownEvent):
            require_known((recorded,))
            _pass_over(state, recorded)
        else:
            evolve(state, recorded.event, time_us=recorded.time_us)
        state.digest = recorded.digest
    return state


def _pass_over(state: State, recorded: Recorded) -> None:
    """Count an unknown event: the ids that are minted after a fact depend on its number."""
    state.head += 1
    if recorded.role == "fact":
        state.facts += 1
        state.time_us = recorded.time_us
