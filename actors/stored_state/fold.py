"""A session's state as its log gives it, for whoever only looks."""

from turnlog.actors.core.rebuild import rebuild
from turnlog.actors.core.state import State
from turnlog.actors.ports import EventLog
from turnlog.actors.stored_state.snapshots import READ_AT_ONCE, SnapshotKeeper
from turnlog.protocol.ids import SessionId


async def folded(log: EventLog, session: SessionId, *, until: int | None = None) -> State:
    """Return the state at event `until`, by default the last one. Cheap where a snapshot helps."""
    until = (await log.head(session)).sequence if until is None else until
    state = await SnapshotKeeper(log, session).restore(until=until)
    while state.head < until:
        page = await log.read(session, after=state.head, until=until, limit=READ_AT_ONCE)
        rebuild(page, state)
    return state
