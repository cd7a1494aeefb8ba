"""Imported sessions on their way into a store."""

from turnlog.actors.ports import EventLog
from turnlog.replay.files.loading import require_free, store_session
from turnlog.replay.rollouts.importing import Import


async def store_import(log: EventLog, found: Import) -> None:
    """Write the sessions that a rollout became, each as a whole or not at all.

    Raises:
        UsageError: the store has one of them; nothing was written.
        UsageError: the rollout's id is not a UUID in lower case.
        StorePaused, WriteLost: the disk is full or fails. The text names what is left.
    """
    for made in found.sessions:
        await require_free(log, made.session)
    for made in found.sessions:
        await store_session(log, made.session, made.sealed, made.summary)
