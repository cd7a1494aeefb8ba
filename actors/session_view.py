"""What the users of an open session see of its state: only what is on disk and was published."""

import attrs

from turnlog.actors.core.state import State
from turnlog.protocol.settings import SessionSettings
from turnlog.protocol.usage import TokenUsage


@attrs.frozen
class SessionView:
    """A session after its last published step. The state may be some steps ahead of it."""

    settings: SessionSettings
    usage: TokenUsage  # over the whole session
    is_running: bool  # a turn is open


def view_of(state: State) -> SessionView | None:
    """Return the view of a state; None before the session's first event."""
    if state.settings is None:
        return None
    return SessionView(state.settings, state.usage, state.turn is not None)
