"""The engine: opens, resumes and forks sessions, keeps each one's actor running, and closes them.

It knows ports only. `turnlog.runtime.assembly` gives it the real ones.
"""

import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

import attrs
import trio
from msgspec import UNSET, structs

from turnlog.actors.ports import Claim, Ports
from turnlog.actors.session_actor import SessionActor
from turnlog.protocol.envelope import encode_fact
from turnlog.protocol.errors import (
    Overloaded,
    SessionNotFound,
    TurnlogError,
    UsageError,
)
from turnlog.protocol.events import SessionFact, SessionForked, SessionStarted
from turnlog.protocol.ids import SessionId
from turnlog.protocol.ops import Shutdown, Submission
from turnlog.protocol.settings import OnRecovery, SessionSettings, SettingsUpdate
from turnlog.protocol.summary import SessionSummary
from turnlog.protocol.version import VERSION
from turnlog.runtime.engine import arguments as doors
from turnlog.runtime.engine.adoption import adopted
from turnlog.runtime.engine.children import ChildSessions
from turnlog.runtime.engine.cuts import end_of_step
from turnlog.runtime.engine.new_id import new_id
from turnlog.runtime.engine.session import Session

CLOSING_SECONDS: Final = 10.0  # how long a session may take to stop its turn
INBOX_PERIOD: Final = 0.1  # seconds between two looks into the store's inboxes
OVERLOAD_PERIOD: Final = 0.05  # seconds between two attempts to close a session that is swamped


@attrs.define(eq=False)
class _Seat:
    """A session's place in the engine, from before it is claimed until after it is released."""

    actor: SessionActor | None = None
    taken: trio.Event = attrs.field(factory=trio.Event, init=False)  # it runs, or will not
    empty: trio.Event = attrs.field(factory=trio.Event, init=False)


@attrs.define(eq=False)
class Engine:
    """Runs sessions over one store. Make it with `turnlog.open_engine`."""

    ports: Ports
    _nursery: trio.Nursery
    _defaults: Callable[[str], SessionSettings]  # of a new session, by its folder
    _look_ahead: Callable[[SessionSettings], Awaitable[None]] | None = None
    _seats: dict[SessionId, _Seat] = attrs.field(factory=dict[SessionId, _Seat], init=False)
    _closing: bool = attrs.field(default=False, init=False)

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

        Raises:
            ArgumentInvalid: a value is not allowed. Nothing was stored.
            InputUnreadable: `cwd` is no folder.
            ConfigInvalid: the settings cannot be used there.
            LogPaused: the disk is full.
        """
        originator = doors.TEXT.take("originator", originator)
        on_recovery = doors.ON_RECOVERY.take("on_recovery", on_recovery)
        model = doors.OPTIONAL_TEXT.take("model", model)
        update = doors.settings_update("update", update) or SettingsUpdate()
        folder = doors.folder("cwd", cwd) if update.cwd is UNSET else update.cwd
        settings = update.apply(self._defaults(folder))
        if model is not None:
            settings = structs.replace(settings, model=model)
        settings = doors.SETTINGS.take("settings", settings)
        session = SessionId(new_id())
        place = self.ports.log.place
        started = SessionStarted(session, settings, originator, VERSION, place=place)
        return Session(self, await self._run(session, self.ports.log.create, started, on_recovery))

    def tells_questions(self) -> None:
        """Say that this program shows questions to somebody: it is not reminded of them.

        For a front-end, before its first session.
        """
        self.ports = structs.replace(self.ports, remind=None)

    async def resume(self, prefix: str, *, on_recovery: OnRecovery = "continue") -> Session:
        """Go on with a session, where it stands. A turn that was cut off goes on too, or ends.

        One that runs in this engine already is returned as it is.

        Args:
            prefix: the session's id, or as much of it as is unique.
            on_recovery: what becomes of a turn that was cut off. `leave` opens the session to be
                named, archived or answered only: the turn stays as it is, and so does what was
                left for it to do.

        Raises:
            ArgumentInvalid: a value is not allowed.
            SessionNotFound, AmbiguousSession, SessionBusy, LogDamaged, SchemaTooNew
        """
        on_recovery = doors.ON_RECOVERY.take("on_recovery", on_recovery)
        session = await self.ports.log.resolve(doors.TEXT.take("prefix", prefix))
        return Session(self, await self.reopen(session, on_recovery))

    async def reopen(
        self, session: SessionId, on_recovery: OnRecovery, *, for_parent: bool = False
    ) -> SessionActor:
        """Return the actor of a session: the one that runs here already, or a new one.

        Args:
            for_parent: whether it is a child's. Its parent sees to its end, so it may be opened
                even while the engine is being closed.
        """
        while (seat := self._seats.get(session)) is not None:
            await seat.taken.wait()
            if seat.actor is not None and not seat.actor.ending:
                return seat.actor
            # Its end may be lost on the way to the disk: then it goes on, and is taken as it is.
            with trio.move_on_after(OVERLOAD_PERIOD):
                await seat.empty.wait()
        claim = self.ports.log.claim
        return await self._run(session, claim, None, on_recovery, for_parent=for_parent)

    async def open_child(
        self, child: SessionId, started: SessionStarted, *, is_made: bool
    ) -> SessionActor:
        """Begin the session that a parent has given an id to.

        Args:
            is_made: whether it is in the store, without an event, since its engine went away.
        """
        claim = self.ports.log.claim if is_made else self.ports.log.create
        return await self._run(child, claim, started, "continue", for_parent=True)

    def running(self, session: SessionId) -> SessionActor | None:
        """Return the actor of a session that is open here and takes prompts."""
        seat = self._seats.get(session)
        if seat is None or seat.actor is None or seat.actor.ending:
            return None
        return seat.actor

    async def vacated(self, session: SessionId) -> None:
        """Wait until a session that is ending here has ended; for no other one."""
        while (seat := self._seats.get(session)) is not None:
            if seat.actor is None or not seat.actor.ending:
                return
            with trio.move_on_after(OVERLOAD_PERIOD):
                await seat.empty.wait()

    async def fork(self, prefix: str, *, at: int | None = None) -> Session:
        """Branch from a session, which is not touched.

        Args:
            at: sequence of the last event that counts. A cut inside a step means the end of
                that step, or where the rest of it is damaged, of the one before; `Session.cut`
                of the fork tells where it was made. None: at the head.

        Raises:
            ArgumentInvalid: a value is not allowed.
            SessionNotFound, AmbiguousSession, SequenceOutOfRange, LogDamaged
        """
        at = None if at is None else doors.sequence("at", at)
        parent = await self.ports.log.resolve(doors.TEXT.take("prefix", prefix))
        end = await end_of_step(self.ports.log, parent, at)
        child = SessionId(new_id())
        await self.ports.log.fork(parent, end.sequence, child)
        forked = SessionForked(child, parent, end.sequence, end.digest.hex(), VERSION)
        actor = await self._run(child, self.ports.log.claim, forked, "interrupt")
        return Session(self, actor, end.sequence)

    async def look_ahead(self, settings: SessionSettings) -> None:
        """Warn, as the engine was told to, where commands under `settings` cannot be confined.

        It is done for each turn before the model is asked; here also before the turn begins.
        """
        if self._look_ahead is not None:
            await self._look_ahead(settings)

    async def sessions(self, *, limit: int = 50) -> list[SessionSummary]:
        """Return the store's sessions, the one with the newest turn first.

        Args:
            limit: how many at most, from 0 on.

        Raises:
            ArgumentInvalid: it is no such number.
        """
        return await self.ports.log.sessions(limit=doors.count("limit", limit))

    async def _run(
        self,
        session: SessionId,
        claim: Callable[[SessionId], Awaitable[Claim]],
        beginning: SessionFact | None,
        on_recovery: OnRecovery,
        *,
        for_parent: bool = False,
    ) -> SessionActor:
        if self._closing and not for_parent:
            raise UsageError("this engine is being closed. Open another one to go on.")
        if beginning is not None:
            encode_fact(beginning)  # what cannot be stored leaves no session behind
        seat = self._seats[session] = _Seat()
        try:
            claimed = await claim(session)
            if beginning is None and not claimed.head.sequence:
                await self.ports.log.release(claimed)
                raise SessionNotFound(session)  # its engine went away before its first event
            actor = SessionActor(
                self.ports, claimed, VERSION, on_recovery, adopt=self._adopted_settings
            )
        except BaseException:
            self._vacate(session, seat)
            raise
        seat.actor = actor
        await self._nursery.start(self._serve, actor, seat, beginning)
        if actor.failure is not None:
            raise actor.failure
        return actor

    def _adopted_settings(self, theirs: SessionSettings) -> SessionSettings:
        """Return what a session from elsewhere goes on under."""
        return adopted(theirs, self._defaults(theirs.cwd))

    async def _serve(
        self,
        actor: SessionActor,
        seat: _Seat,
        beginning: SessionFact | None,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Supervise one session: whatever it raises ends it alone, and its actor keeps it."""

        def taken() -> None:
            if not seat.taken.is_set():
                seat.taken.set()
                task_status.started()

        try:
            try:
                await actor.serve(beginning, started=taken)
            except* Exception:  # also where it comes together with a cancellation
                pass
            taken()
        finally:
            self._vacate(actor.claim.session, seat)

    def _vacate(self, session: SessionId, seat: _Seat) -> None:
        del self._seats[session]
        seat.taken.set()
        seat.empty.set()

    async def take_left(self, session: SessionId) -> None:
        """Let a session that is open here take what was left in its inbox."""
        seat = self._seats.get(session)
        if seat is not None and seat.actor is not None and seat.taken.is_set():
            await seat.actor.take_left()

    async def close(self) -> None:
        """Stop every turn, close every session, and wait until all of it is on disk."""
        self._closing = True
        with trio.move_on_after(CLOSING_SECONDS):
            async with trio.open_nursery() as nursery:
                for seat in self._seats.values():
                    nursery.start_soon(_shut_down, seat)


async def _shut_down(seat: _Seat) -> None:
    """Close a session. Its shutdown may be refused by the disk: then it is asked again."""
    await seat.taken.wait()
    while seat.actor is not None and not seat.actor.hub.closed:
        try:
            await seat.actor.tell(Submission(new_id(), Shutdown(), "engine")).answer()
            await seat.actor.hub.ended()
        except Overloaded:
            await trio.sleep(OVERLOAD_PERIOD)
        except TurnlogError:
            await trio.lowlevel.checkpoint()
    await seat.empty.wait()


@asynccontextmanager
async def running(
    ports: Ports,
    defaults: Callable[[str], SessionSettings],
    look_ahead: Callable[[SessionSettings], Awaitable[None]] | None = None,
) -> AsyncGenerator[Engine]:
    """Run an engine over `ports`; on leaving, close its sessions in order.

    A block that is cancelled, or raises, still has its sessions closed before it is left; they
    are shielded from what hit the block.

    Args:
        defaults: gives the settings of a new session that works in a folder.
        look_ahead: warns of what a turn under these settings could not do.
    """
    failure: Exception | KeyboardInterrupt | None = None
    async with trio.open_nursery() as outer:
        sessions = await outer.start(_shielded_nursery)
        engine = Engine(ports, sessions, defaults, look_ahead)
        if ports.children is None:
            engine.ports = structs.replace(ports, children=ChildSessions(engine))
        outer.start_soon(_watch_inboxes, engine)
        try:
            yield engine
        except (Exception, KeyboardInterrupt) as error:  # the block's own, not to be grouped
            failure = error
        finally:
            try:
                with trio.CancelScope(shield=True):
                    await engine.close()
            finally:  # also if a second Ctrl-C hits the closing: nothing else ends the sessions
                sessions.cancel_scope.cancel()
                outer.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _watch_inboxes(engine: Engine) -> None:
    """Hand over what other processes leave. One look for all sessions, however many are open."""
    while True:
        await trio.sleep(INBOX_PERIOD)
        with suppress(TurnlogError):  # what is in the store's way, its sessions report
            for session in await engine.ports.log.waiting():
                with suppress(TurnlogError):  # this one's inbox is no trouble of the others'
                    await engine.take_left(session)


async def _shielded_nursery(
    *, task_status: trio.TaskStatus[trio.Nursery] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.CancelScope(shield=True):
        async with trio.open_nursery() as nursery:
            task_status.started(nursery)
            await trio.sleep_forever()
