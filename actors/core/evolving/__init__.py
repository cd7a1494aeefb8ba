"""`evolve`: what it means for the state that an event happened.

It is total, and part of the schema: a logged event is never refused, and an old event always means
what it meant.
"""

from turnlog.actors.core.evolving.decisions import decided
from turnlog.actors.core.evolving.facts import happened
from turnlog.actors.core.state import NOTHING, State
from turnlog.protocol.events import Decision, Opens, SessionEvent


def evolve(state: State, event: SessionEvent, *, time_us: int) -> None:
    """Change `state` by `event`."""
    state.head += 1
    if isinstance(event, Decision):
        decided(state, event)
        if isinstance(event, Opens):
            state.outstanding[event.effect] = event
    else:
        state.facts += 1
        state.time_us = time_us
        state.in_hand = NOTHING
        happened(state, event)
