"""Where a session may be cut: after a fact and everything that was decided about it."""

from turnlog.actors.ports import EventLog
from turnlog.actors.stored_state.pages import Pages
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.errors import LogDamaged, event_not_found
from turnlog.protocol.ids import SessionId

_PAGE = 16  # events; most steps have fewer


async def end_of_step(log: EventLog, session: SessionId, at: int | None) -> Recorded:
    """Return the last event of the step that event `at` is in; None is the head.

    If the rest of that step is damaged, it is the last event of the step before.

    Raises:
        NotFound: the session has no such event.
        LogDamaged: the event itself is damaged, or the first step is.
    """
    head = (await log.head(session)).sequence
    at = head if at is None else at
    if not 1 <= at <= head:
        raise event_not_found(at, head)
    (end,) = await log.read_at(session, [at])
    try:
        async for page in Pages(log, session, after=at, until=head, at_once=_PAGE):
            for recorded in page:
                if recorded.role == "fact":
                    return end
                end = recorded
    except LogDamaged as damage:
        return await _end_before(log, session, end, damage)
    return end


async def _end_before(
    log: EventLog, session: SessionId, within: Recorded, damage: LogDamaged
) -> Recorded:
    """Return the last event before the step that `within` is in."""
    while within.role != "fact":
        (within,) = await log.read_at(session, [within.sequence - 1])
    if within.sequence == 1:
        raise damage
    (end,) = await log.read_at(session, [within.sequence - 1])
    return end
