"""The engine, as the Python API shows it. `turnlog.runtime.assembly` gives it the real world."""

import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import attrs
import trio
from msgspec import UNSET, structs

from turnlog.actors.ports import Ports
from turnlog.protocol.settings import OnRecovery, SessionSettings, SettingsUpdate
from turnlog.protocol.summary import SessionSummary
from turnlog.runtime.engine import arguments as doors
from turnlog.runtime.engine.children import ChildSessions
from turnlog.runtime.engine.open_sessions import OpenSessions
from turnlog.runtime.engine.session import Session


@attrs.define(eq=False)
class Engine:
    """Runs sessions over one store. Make it with `turnlog.open_engine`."""

    _sessions: OpenSessions

    async def start(
        self,
        *,
        cwd: str | os.PathLike[str] = ".",
        model: str | None = None,
        update: SettingsUpdate | None = None,
        originator: str = "api",
        on_recovery: OnRecovery = "continue",
    ) -> Session:
        """Begin a session. It is on disk before this returns.

        Args:
            cwd: the folder that it works in. A relative one begins at the current folder, as does
                that of `update`, which wins.
            model: as the provider names it. Default: the configuration's.
            update: further settings that differ from the configuration's.
            originator: which front-end this is, for lists.
            on_recovery: what becomes of the turn if the store loses a write of this session.

        Raises:
            UsageError: a value is not allowed. Nothing was stored.
            UsageError: `cwd` is no folder.
            UsageError: the settings cannot be used there.
            StorePaused: the disk is full.
        """
        originator = doors.TEXT.take("originator", originator)
        on_recovery = doors.ON_RECOVERY.take("on_recovery", on_recovery)
        model = doors.OPTIONAL_TEXT.take("model", model)
        update = doors.settings_update("update", update) or SettingsUpdate()
        folder = doors.folder("cwd", cwd) if update.cwd is UNSET else update.cwd
        settings = update.apply(self._sessions.defaults(folder))
        if model is not None:
            settings = structs.replace(settings, model=model)
        settings = doors.SETTINGS.take("settings", settings)
        actor = await self._sessions.start(settings, originator, on_recovery)
        return Session(self._sessions, actor)

    async def resume(self, prefix: str, *, on_recovery: OnRecovery = "continue") -> Session:
        """Open a stored session again. A turn that was cut off continues, or ends.

        A session that is open in this engine already is returned as it is.

        Args:
            prefix: the session's id, or as much of it as is unique.
            on_recovery: what becomes of a turn that was cut off. `leave` opens the session to be
                named, archived or answered only: the turn stays as it is, and so does what was
                left for it to do.

        Raises:
            UsageError: a value is not allowed.
            NotFound, Busy, LogDamaged, StoreTooNew
        """
        on_recovery = doors.ON_RECOVERY.take("on_recovery", on_recovery)
        session = await self._sessions.log.resolve(doors.TEXT.take("prefix", prefix))
        return Session(self._sessions, await self._sessions.reopen(session, on_recovery))

    async def fork(self, prefix: str, *, at: int | None = None) -> Session:
        """Branch from a session, which is not touched.

        Args:
            at: sequence of the last event that counts. A cut inside a step means the end of
                that step, or where the rest of it is damaged, of the one before; `Session.cut`
                of the fork tells where it was made. None: at the head.

        Raises:
            UsageError: a value is not allowed.
            NotFound, LogDamaged
        """
        at = None if at is None else doors.sequence("at", at)
        parent = await self._sessions.log.resolve(doors.TEXT.take("prefix", prefix))
        actor, cut = await self._sessions.fork(parent, at)
        return Session(self._sessions, actor, cut)

    async def sessions(self, *, limit: int = 50) -> list[SessionSummary]:
        """Return the store's sessions, the one with the newest turn first.

        Args:
            limit: how many at most, from 0 on.

        Raises:
            UsageError: it is no such number.
        """
        return await self._sessions.log.sessions(limit=doors.count("limit", limit))


@asynccontextmanager
async def running(
    ports: Ports, defaults: Callable[[str], SessionSettings]
) -> AsyncGenerator[Engine]:
    """Run an engine over `ports`. See `running_sessions`."""
    async with running_sessions(ports, defaults) as sessions:
        yield Engine(sessions)


@asynccontextmanager
async def running_sessions(
    ports: Ports, defaults: Callable[[str], SessionSettings]
) -> AsyncGenerator[OpenSessions]:
    """Give what runs sessions over `ports`; on leaving, close them in order.

    A block that is cancelled, or raises, still has its sessions closed before it is left; they
    are shielded from what hit the block.

    Args:
        defaults: gives the settings of a new session that works in a folder.
    """
    failure: Exception | KeyboardInterrupt | None = None
    async with trio.open_nursery() as outer:
        nursery = await outer.start(_shielded_nursery)
        sessions = OpenSessions(ports, nursery, defaults, ChildSessions)
        outer.start_soon(sessions.drain_inboxes)
        try:
            yield sessions
        except (Exception, KeyboardInterrupt) as error:  # the block's own, not to be grouped
            failure = error
        finally:
            try:
                with trio.CancelScope(shield=True):
                    await sessions.close()
            finally:  # also if a second Ctrl-C hits the closing: nothing else ends the sessions
                nursery.cancel_scope.cancel()
                outer.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _shielded_nursery(
    *, task_status: trio.TaskStatus[trio.Nursery] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.CancelScope(shield=True):
        async with trio.open_nursery() as nursery:
            task_status.started(nursery)
            await trio.sleep_forever()
