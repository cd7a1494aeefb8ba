"""What it means that a session came from elsewhere: it continues under this machine's settings.

Nothing that it brings along has rights of its own. What it waits for, and the sessions or files
that it refers to, belong to the other machine, as a parent's do for a fork.
"""

from typing import Final

from msgspec import structs

from turnlog.actors.core.state import OpenTurn, State, Turn
from turnlog.protocol.items import OtherCall
from turnlog.protocol.ops import LocalImageInput, UserInput, UserTurn
from turnlog.protocol.settings import SessionSettings

_WORDS: Final = (UserInput, UserTurn)


def adopt(state: State, settings: SessionSettings) -> None:
    """Give the session the settings of this machine, and take what else would be a right."""
    state.settings = settings
    state.approved.clear()
    state.agents.clear()
    state.results.clear()
    state.marks, state.undone = [], None
    state.asked_with = None
    state.queue[:] = [one for one in state.queue if _is_plain_text(one.op.op)]
    if state.turn is not None:
        _adopt_turn(state.turn, settings)


def _is_plain_text(op: object) -> bool:
    return isinstance(op, _WORDS) and not reads_files(op)


def reads_files(op: object) -> bool:
    """Say whether an op has a file of this machine read."""
    return isinstance(op, UserInput | UserTurn) and any(
        isinstance(item, LocalImageInput) for item in op.items
    )


def _adopt_turn(turn: OpenTurn, settings: SessionSettings) -> None:
    turn.is_foreign = True
    if not isinstance(turn, Turn):
        return
    turn.compaction = turn.restored = None
    mine = structs.replace(turn.context.settings, session=settings)
    turn.context = structs.replace(turn.context, settings=mine)
    for call in turn.calls:
        if not call.settled and not isinstance(call.item, OtherCall):
            call.approved, call.question, call.origin = False, None, "elsewhere"
