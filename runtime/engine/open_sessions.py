"""The sessions that are open in one engine: each has a slot, from its claim to its release."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import attrs
import trio
from msgspec import structs

from turnlog.actors.ports import Children, Claim, EventLog, Ports
from turnlog.actors.session_actor import SessionActor
from turnlog.protocol.envelope import encode_fact
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import Overloaded, TurnlogError, UsageError, session_not_found
from turnlog.protocol.events import SessionFact, SessionForked, SessionStarted
from turnlog.protocol.ids import SessionId
from turnlog.protocol.ops import Shutdown, Submission
from turnlog.protocol.settings import OnRecovery, SessionSettings
from turnlog.protocol.version import VERSION
from turnlog.runtime.engine.adoption import adopted
from turnlog.runtime.engine.cuts import end_of_step
from turnlog.runtime.engine.new_id import new_id

CLOSING_SECONDS: Final = 10.0  # how long a session may take to stop its turn
INBOX_PERIOD: Final = 0.1  # seconds between two looks into the store's inboxes
RETRY_PERIOD: Final = 0.05  # seconds between two looks at a session that is busy or ending


@attrs.define(eq=False)
class _Slot:
    """A session's place in the engine, from before it is claimed until after it is released."""

    actor: SessionActor | None = None
    decided: trio.Event = attrs.field(factory=trio.Event, init=False)  # it runs, or will not
    released: trio.Event = attrs.field(factory=trio.Event, init=False)

    @property
    def is_ending(self) -> bool:
        """Whether its actor takes no more prompts."""
        return self.actor is not None and self.actor.ending


@attrs.define(eq=False)
class OpenSessions:
    """Opens sessions, runs one actor for each, and closes them.

    Args:
        ports: the world of every session. Where they have no `children`, `children_of` makes them.
        nursery: the actors run in it. Nobody but the engine cancels it.
        defaults: gives the settings of a new session that works in a folder.
        children_of: makes the port that runs child sessions in this same engine.
    """

    _ports: Ports
    nursery: trio.Nursery
    defaults: Callable[[str], SessionSettings]
    _children_of: "Callable[[OpenSessions], Children]"
    ports: Ports = attrs.field(init=False)  # as sessions are given them
    _slots: dict[SessionId, _Slot] = attrs.field(factory=dict[SessionId, _Slot], init=False)
    _is_closing: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        children = self._ports.children or self._children_of(self)
        self.ports = structs.replace(self._ports, children=children)

    @property
    def log(self) -> EventLog:
        """The event log of the sessions."""
        return self.ports.log

    def running(self, session: SessionId) -> SessionActor | None:
        """Return the actor of a session that is open here and takes prompts."""
        slot = self._slots.get(session)
        return None if slot is None or slot.is_ending else slot.actor

    async def start(
        self, settings: SessionSettings, originator: str, on_recovery: OnRecovery
    ) -> SessionActor:
        """Begin a session. It is on disk before this returns.

        Raises:
            StorePaused: the disk is full.
            UsageError: the engine is being closed.
        """
        session = SessionId(new_id())
        started = SessionStarted(session, settings, originator, VERSION, place=self.log.place)
        return await self._run(session, self.log.create, started, on_recovery)

    async def reopen(
        self, session: SessionId, on_recovery: OnRecovery, *, for_parent: bool = False
    ) -> SessionActor:
        """Return the actor of a session: the one that runs here already, or a new one.

        Args:
            for_parent: whether it is a child's. Its parent sees to its end, so it may be opened
                even while the engine is being closed.

        Raises:
            NotFound, Busy, LogDamaged, StoreTooNew
            UsageError: the engine is being closed.
        """
        while (slot := self._slots.get(session)) is not None:
            await slot.decided.wait()
            if slot.actor is not None and not slot.is_ending:
                return slot.actor
            # The write of its last event may fail. Then the session continues: take it as it is.
            with trio.move_on_after(RETRY_PERIOD):
                await slot.released.wait()
        return await self._run(session, self.log.claim, None, on_recovery, for_parent=for_parent)

    async def open_child(
        self, child: SessionId, started: SessionStarted, *, is_made: bool
    ) -> SessionActor:
        """Begin the session that a parent has given an id to.

        Args:
            is_made: whether the store has it without an event, because its engine was killed.
        """
        claim = self.log.claim if is_made else self.log.create
        return await self._run(child, claim, started, "continue", for_parent=True)

    async def fork(self, parent: SessionId, at: int | None) -> tuple[SessionActor, int]:
        """Branch from a session; return the branch's actor, and the parent's last event in it.

        Args:
            at: see `Engine.fork`.

        Raises:
            NotFound, LogDamaged
            UsageError: the engine is being closed.
        """
        end = await end_of_step(self.log, parent, at)
        branch = SessionId(new_id())
        await self.log.fork(parent, end.sequence, branch)
        forked = SessionForked(branch, parent, end.sequence, end.digest.hex(), VERSION)
        return await self._run(branch, self.log.claim, forked, "interrupt"), end.sequence

    async def until_released(self, session: SessionId) -> None:
        """Wait until a session that is ending here has ended; return at once for any other one."""
        while (slot := self._slots.get(session)) is not None:
            if not slot.is_ending:
                return
            with trio.move_on_after(RETRY_PERIOD):
                await slot.released.wait()

    async def drain_inboxes(self) -> None:
        """Take what other processes leave for sessions that are open here, until cancelled.

        One look serves all sessions, however many are open.
        """
        while True:
            await trio.sleep(INBOX_PERIOD)
            with suppress(TurnlogError):  # the sessions report what is wrong with the store
                for session in await self.log.waiting():
                    with suppress(TurnlogError):  # one session's inbox does not stop the others'
                        await self._drain_inbox(session)

    async def close(self) -> None:
        """Stop every turn, close every session, and wait until all of it is on disk."""
        self._is_closing = True
        with trio.move_on_after(CLOSING_SECONDS):
            async with trio.open_nursery() as nursery:
                for slot in self._slots.values():
                    nursery.start_soon(_shut_down, slot)

    async def _drain_inbox(self, session: SessionId) -> None:
        slot = self._slots.get(session)
        if slot is not None and slot.actor is not None and slot.decided.is_set():
            await slot.actor.drain_inbox()

    async def _run(
        self,
        session: SessionId,
        claim: Callable[[SessionId], Awaitable[Claim]],
        beginning: SessionFact | None,
        on_recovery: OnRecovery,
        *,
        for_parent: bool = False,
    ) -> SessionActor:
        if self._is_closing and not for_parent:
            raise UsageError(
                ErrorCode.USAGE_ERROR, "this engine is being closed. Open another one to continue."
            )
        if beginning is not None:
            encode_fact(beginning)  # what cannot be stored leaves no session in the store
        slot = self._slots[session] = _Slot()
        try:
            slot.actor = actor = await self._claimed(session, claim, beginning, on_recovery)
        except BaseException:
            self._release(session, slot)
            raise
        await self.nursery.start(self._serve, actor, slot, beginning)
        actor.raise_failure()
        return actor

    async def _claimed(
        self,
        session: SessionId,
        claim: Callable[[SessionId], Awaitable[Claim]],
        beginning: SessionFact | None,
        on_recovery: OnRecovery,
    ) -> SessionActor:
        claimed = await claim(session)
        if beginning is None and not claimed.head.sequence:
            await self.log.release(claimed)
            raise session_not_found(session)  # its engine was killed before its first event
        return SessionActor(self.ports, claimed, VERSION, on_recovery, adopt=self._adopted_settings)

    def _adopted_settings(self, theirs: SessionSettings) -> SessionSettings:
        """Return the settings with which a session from elsewhere continues here."""
        return adopted(theirs, self.defaults(theirs.cwd))

    async def _serve(
        self,
        actor: SessionActor,
        slot: _Slot,
        beginning: SessionFact | None,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Supervise one session: whatever it raises ends it alone, and its actor keeps it."""

        def decided() -> None:
            if not slot.decided.is_set():
                slot.decided.set()
                task_status.started()

        try:
            try:
                await actor.serve(beginning, started=decided)
            except* Exception:  # also where it comes together with a cancellation
                pass
            decided()
        finally:
            self._release(actor.claim.session, slot)

    def _release(self, session: SessionId, slot: _Slot) -> None:
        del self._slots[session]
        slot.decided.set()
        slot.released.set()


async def _shut_down(slot: _Slot) -> None:
    """Close a session. The disk may refuse its shutdown: then it is asked again."""
    await slot.decided.wait()
    while slot.actor is not None and not slot.actor.hub.closed:
        try:
            await slot.actor.tell(Submission(new_id(), Shutdown(), "engine")).answer()
            await slot.actor.hub.ended()
        except Overloaded:
            await trio.sleep(RETRY_PERIOD)
        except TurnlogError:
            await trio.lowlevel.checkpoint()
    await slot.released.wait()
