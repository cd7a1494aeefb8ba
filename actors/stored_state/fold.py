"""A session's state as its log gives it, for readers that do not run the session."""

from turnlog.actors.core.rebuild import rebuild
from turnlog.actors.core.state import State
from turnlog.actors.ports import EventLog
from turnlog.actors.stored_state.pages import Pages
from turnlog.actors.stored_state.snapshots import SnapshotKeeper
from turnlog.protocol.ids import SessionId


async def folded(log: EventLog, session: SessionId, *, until: int | None = None) -> State:
    """Return the state after event `until`, by default the last one. It begins at a snapshot.

    Raises:
        NotFound: there is no such session.
        LogDamaged: an event that is needed cannot be read.
    """
    until = (await log.head(session)).sequence if until is None else until
    state = await SnapshotKeeper(log, session).restore(until=until)
    async for page in Pages(log, session, after=state.head, until=until):
        rebuild(page, state)
    return state
