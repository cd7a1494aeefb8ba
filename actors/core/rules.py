"""Revisions of the rules: how a release changes what is decided, and old logs still replay.

Each time an engine opens a session, it records the revision by which it decides. A replay decides
each part of a session by the revision that was recorded for it, so a rule that was changed later is
no difference. This is the only module that compares revisions.

To change a rule after a release, give the change a name in `Change`, with the next revision as its
value. Then ask `since(state, Change.NAME)` where the decision is made: the old answer stays for the
sessions that were recorded under it. `evolve` never asks. A recorded event keeps its meaning for
ever, so a changed meaning is a new event, or an upcaster of the old one.
"""

from enum import IntEnum
from typing import Final

from turnlog.actors.core.state import State


class Change(IntEnum):
    """What a later release decides otherwise. The value is the revision that began to do so.

    There is none yet. Two changes of one release share its revision: an alias of the other name.
    """


RULES: Final = max(Change, default=1)  # the revision by which this release decides


def since(state: State, change: Change) -> bool:
    """Say whether the session is decided with `change`, in the part of it that is in hand."""
    return state.rules >= change
