"""The trio shell of a session: the only writer of its stream, the only holder of its state."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, cast

import attrs
import trio
from msgspec import structs

from turnlog.actors.core.rebuild import rebuild
from turnlog.actors.core.rules import RULES
from turnlog.actors.core.sealed_step import sealed_step
from turnlog.actors.core.session import TAKEN_AT_REST
from turnlog.actors.core.state import OpenTurn, State
from turnlog.actors.ports import Batch, Claim, Fate, Ports, Refused, Ticket
from turnlog.actors.queues.hub import Hub
from turnlog.actors.queues.mailbox import Mailbox
from turnlog.actors.queues.outbox import Outbox, Release
from turnlog.actors.queues.replies import Replies, Waiter
from turnlog.actors.session_view import SessionView, view_of
from turnlog.actors.stored_state.pages import Pages
from turnlog.actors.stored_state.snapshots import SnapshotKeeper
from turnlog.actors.tasks.runner import TaskRunner
from turnlog.actors.tasks.task import Task
from turnlog.actors.turn_diff.changes import TurnChanges
from turnlog.protocol.envelope import (
    EncodedEvent,
    Recorded,
    UnknownEvent,
    decode_fact,
    encode_fact,
    require_known,
)
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import (
    Rejected,
    StoreError,
    StorePaused,
    TurnlogError,
    Unavailable,
    WriteLost,
)
from turnlog.protocol.events import (
    AgentsAwaited,
    ChildAsked,
    ChildStopping,
    ContextAsked,
    FilesSaved,
    OpeningDecision,
    Opens,
    OpReceived,
    PlanAsked,
    RetryScheduled,
    SessionEvent,
    SessionFact,
    SessionForked,
    SessionOpened,
    ToolDispatched,
    UserShellAsked,
)
from turnlog.protocol.faults import environment_fault
from turnlog.protocol.ops import (
    ELSEWHERE,
    ExecApproval,
    Interrupt,
    PatchApproval,
    Shutdown,
    Submission,
)
from turnlog.protocol.settings import OnRecovery, SessionSettings

MOST_EMPTY_LIVES: Final = 20  # lives in a row that wrote nothing but their beginning
CLAIM_PERIOD: Final = 0.1  # seconds between two attempts, while the log is paused
# What may begin before its decision is on disk: it changes nothing.
_NEEDS_NO_DISK = (ContextAsked, PlanAsked, RetryScheduled, AgentsAwaited)
_URGENT = (Interrupt, ExecApproval, PatchApproval, Shutdown)


@attrs.frozen
class _NotStored:
    """The ticket of a step that a paused log did not even queue."""

    fate: Refused

    async def settled(self) -> Fate:
        await trio.lowlevel.checkpoint()
        return self.fate


@attrs.define(eq=False)
class SessionActor:
    """Owns one session from claim to release.

    The loop takes one fact at a time and awaits nothing but the next one and room in the log's
    queue: not the disk, for which the outbox waits, and not its children, which may be waiting
    for it.
    """

    ports: Ports
    claim: Claim
    engine: str  # turnlog's version
    on_recovery: OnRecovery = "continue"
    rules: int = RULES  # the revision that it decides by
    adopt: Callable[[SessionSettings], SessionSettings] | None = None  # None: it was made here
    hub: Hub = attrs.field(init=False)
    mailbox: Mailbox = attrs.field(factory=Mailbox, init=False)
    state: State = attrs.field(factory=State, init=False)
    view: SessionView | None = attrs.field(default=None, init=False)  # of what was published
    failure: TurnlogError | None = attrs.field(default=None, init=False)  # what ended it
    _snapshots: SnapshotKeeper = attrs.field(init=False)
    _replies: Replies = attrs.field(factory=Replies, init=False)
    _outbox: Outbox = attrs.field(init=False)
    _tasks: TaskRunner = attrs.field(init=False)
    _from_inbox: set[str] = attrs.field(factory=set[str], init=False)  # ids of ops in hand
    _unanswered: deque[tuple[str, Sequence[Recorded]]] = attrs.field(
        factory=deque[tuple[str, Sequence[Recorded]]], init=False
    )  # ops whose steps are on their way to the disk
    _lost: str | None = attrs.field(default=None, init=False)
    _opened: int = attrs.field(default=0, init=False)  # the last event of this life's beginning
    _changes: TurnChanges = attrs.field(factory=TurnChanges, init=False)

    def __attrs_post_init__(self) -> None:
        self.hub = Hub(self.ports.log, self.claim.session, self.claim.head.sequence)
        self._snapshots = SnapshotKeeper(self.ports.log, self.claim.session)

    # --- for the engine ----------------------------------------------------------------------

    def tell(self, submission: Submission) -> Waiter:
        """Leave an op. Its answer comes once the step that dealt with it is on disk.

        Raises:
            Overloaded: the mailbox has no room for it; nothing was queued.
            Rejected: the session has ended.
            UsageError: the op cannot be stored.
            TurnlogError: what the session's actor ended with.
        """
        if self.hub.closed:
            raise self.failure or Rejected(
                ErrorCode.SESSION_CLOSED, "this session has been closed; resume it to continue"
            )
        fact = OpReceived(submission.op_id, submission.op, submission.origin)
        message = encode_fact(fact)
        if isinstance(submission.op, _URGENT):
            self.mailbox.tell_urgent(message)
        else:
            self.mailbox.tell_op(message)
        return self._replies.expect(submission.op_id)

    async def drain_inbox(self) -> None:
        """Take the ops that were left for this session in the store's inbox."""
        is_maintenance = self.on_recovery == "leave"  # the other ops wait for the next engine
        for submission in await self.ports.log.inbox(self.claim.session):
            if is_maintenance and not isinstance(submission.op, TAKEN_AT_REST):
                continue
            if submission.op_id not in self._from_inbox:
                with suppress(TurnlogError):  # no room, or its end: it stays in the inbox
                    self.tell(submission)
                    self._from_inbox.add(submission.op_id)

    def raise_failure(self) -> None:
        """Raise what the session ended with, if it was not closed in order."""
        if self.failure is not None:
            raise self.failure

    @property
    def ending(self) -> bool:
        """Whether it takes no more prompts: it has ended, is about to, or was asked to."""
        return self.hub.closed or self.state.closing or self.state.closed

    async def serve(
        self,
        beginning: SessionFact | None = None,
        *,
        started: Callable[[], None] = lambda: None,
    ) -> None:
        """Run until the session is closed.

        A write that was refused or whose answer was lost ends the work, not the session: what
        is on disk is folded again and taken over, as after a crash. Where nothing but such new
        beginnings is written, it ends, for they would fill the log.

        Args:
            beginning: the first fact of a new session or of a fork.
            started: called once what opens the session is on disk, and after each recovery.

        Raises:
            Exception: what it ended with, if it was not closed; `failure` says it to users.
        """
        empty_lives = 0  # lives in a row that wrote nothing
        try:
            while True:
                await self._live(beginning, started)
                if self._lost is None:
                    return
                head = self.claim.head
                await self._claim_again()
                empty_lives = 0 if self.claim.head.sequence > self._opened else empty_lives + 1
                if empty_lives == MOST_EMPTY_LIVES:
                    raise WriteLost(f"no write is taken: {self._lost}. Resume it later.")
                if self.claim.head != head:
                    beginning = None
        except (Exception, BaseExceptionGroup) as error:  # a group may hold a cancellation, too
            self.failure = _failure(error)
            raise
        finally:
            with trio.CancelScope(shield=True), suppress(StoreError):
                await self.ports.log.release(self.claim)
            closed = Rejected(
                ErrorCode.SESSION_CLOSED, "the session was closed before it took this"
            )
            self._replies.fail_all(self.failure or closed)
            self.hub.close()

    async def _end_left(self) -> None:
        """End what an engine that was killed has left running, before it is said to be stopped."""
        running = self.state.open(ToolDispatched, UserShellAsked)
        if running and self.ports.processes is not None:
            await self.ports.processes.end_left()

    async def _claim_again(self) -> None:
        """Become the writer again, with what is on disk, as soon as the log takes writes."""
        while True:
            await self.ports.log.room()
            try:
                await self.ports.log.release(self.claim)
                self.claim = await self.ports.log.claim(self.claim.session)
                return
            except StorePaused:
                await trio.sleep(CLAIM_PERIOD)

    # --- one life, from a fold of the log to the end or to a lost write -------------------------

    async def _live(self, beginning: SessionFact | None, started: Callable[[], None]) -> None:
        self.mailbox.forget_work()
        self.state = await self._fold()
        if self.on_recovery != "leave":
            await self._end_left()
        self._lost = None
        self._outbox = Outbox(self.hub.publish)
        async with trio.open_nursery() as nursery:
            self._tasks = TaskRunner(self.ports, self.mailbox, nursery, self._outbox.notice)
            nursery.start_soon(self._let_out, nursery.cancel_scope)
            left = await self.ports.log.inbox(self.claim.session) if self._is_foreign else ()
            self._open(beginning or self._own_beginning(), started)
            self._opened = self.state.head
            self._refuse(left)
            await self.drain_inbox()
            await self._take_facts()
            await self._outbox.drained()
            self._take_snapshot(closing=True)
            nursery.cancel_scope.cancel()

    async def _fold(self) -> State:
        """Return the state on disk; publish and answer what an unknown fate has held back."""
        head = self.claim.head.sequence
        state = await self._snapshots.restore(until=min(head, self.hub.published))
        found: set[bytes] = set()  # digests of what is on disk, though nobody has heard of it
        self._changes = TurnChanges()
        async for page in Pages(self.ports.log, self.claim.session, after=state.head, until=head):
            require_known(page)
            rebuild(page, state)
            self._snapshots.take(state, fence=self.claim.fence)  # so it is folded once
            for recorded in page:
                if not isinstance(recorded.event, UnknownEvent):
                    self._changes.take(recorded.event)
                if recorded.sequence > self.hub.published:
                    found.add(recorded.digest)
                    self.hub.publish(recorded)
        self.view = view_of(state)
        self._settle_unanswered(found)
        return state

    def _settle_unanswered(self, found: set[bytes]) -> None:
        lost = WriteLost(f"the write was lost ({self._lost}); send it again")
        while self._unanswered:
            op_id, seen = self._unanswered.popleft()
            self._from_inbox.discard(op_id)
            self._replies.give(op_id, seen if seen[-1].digest in found else lost)

    def _own_beginning(self) -> SessionForked | None:
        """Return the first event of a fork's own, if its engine went away before it was written."""
        state, session = self.state, self.claim.session
        if state.session in ("", session):
            return None
        digest = state.digest.hex()
        return SessionForked(session, state.session, state.head, digest, self.engine)

    @property
    def _is_foreign(self) -> bool:
        """Whether the session was last made or opened in another store."""
        came = self.state.settings is not None and self.state.place != self.ports.log.place
        return came and self.adopt is not None

    def _open(self, beginning: SessionFact | None, started: Callable[[], None]) -> None:
        if beginning is not None:
            self._step(beginning, encode_fact(beginning))
        adopted, theirs = None, self.state.settings
        if self._is_foreign and self.adopt is not None and theirs is not None:
            adopted = self.adopt(theirs)
        opened = SessionOpened(
            self.claim.fence,
            self.ports.log.owner,
            self.engine,
            self.on_recovery,
            self.rules,
            self.ports.log.place,
            adopted,
        )
        self._step(opened, encode_fact(opened), started)

    def _refuse(self, left: Iterable[Submission]) -> None:
        """Take ops that were left before the session came here: they are refused, on record."""
        for submission in left:
            with suppress(TurnlogError):  # no room: it stays in the inbox
                self.tell(structs.replace(submission, origin=ELSEWHERE))
                self._from_inbox.add(submission.op_id)

    async def _take_facts(self) -> None:
        while not self.state.closed:
            await trio.lowlevel.checkpoint()  # other sessions have their turn, too
            await self.mailbox.filled()
            await self.ports.log.room()
            message = self.mailbox.take()
            self._step(decode_fact(message), message)

    async def _let_out(self, life: trio.CancelScope) -> None:
        self._lost = (await self._outbox.run()).why
        life.cancel()

    # --- one step --------------------------------------------------------------------------------

    def _step(self, fact: SessionFact, encoded: EncodedEvent, *then: Callable[[], None]) -> None:
        """Apply a fact, queue it and its decisions for the disk, and then what they lead to."""
        state = self.state
        summary = state.summary
        sealed = sealed_step(state, fact, time_us=self.ports.clock.now_us(), encoded=encoded)
        events = [one.event for one in sealed]
        if sum(self._changes.take(event) for event in events):
            self._tasks.nursery.start_soon(self._changes.show, self._outbox.notice)
        seen = [one.recorded for one in sealed]
        show = partial(self._show, view_of(state))
        after: list[Callable[[], None]] = [show, *self._begin_effects(events), *then]
        if isinstance(fact, FilesSaved):
            after.append(partial(self._tasks.stored, fact.effect))
        done_ops: tuple[str, ...] = ()
        if isinstance(fact, OpReceived):
            done_ops = (fact.op_id,) if fact.op_id in self._from_inbox else ()
            self._unanswered.append((fact.op_id, seen))
            after.append(self._answer)
        if self._snapshots.is_due(state):
            after.append(self._take_snapshot)
        batch = Batch(
            tuple(one.record for one in sealed),
            state.summary if state.summary is not summary else None,
            done_ops,
        )
        self._outbox.release(Release(self._append(batch), seen, after))

    def _show(self, view: SessionView | None) -> None:
        self.view = view

    def _append(self, batch: Batch) -> Ticket:
        try:
            return self.ports.log.append(self.claim.session, batch, fence=self.claim.fence)
        except StorePaused as error:  # since there was room; the step is lost, as if refused
            return _NotStored(Refused(str(error)))

    def _begin_effects(self, events: list[SessionEvent]) -> list[Callable[[], None]]:
        """Start what needs no disk, stop what is over; return how to start the rest."""
        state = self.state
        self._tasks.keep_only(set(state.outstanding))
        then: list[Callable[[], None]] = []
        for asked in _opened(events, state):
            assert state.turn is not None  # effects belong to turns
            task = self._tasks.prepare(state, state.turn, asked)
            if self._needs_no_disk(asked):
                self._tasks.start(task, stopped=_is_stopped(state, state.turn, asked))
            else:
                then.append(partial(self._begin, task, asked))
        if state.turn is not None and state.turn.stopping is not None:
            self._tasks.stop()
        for event in events:
            if isinstance(event, ChildStopping):
                self._tasks.stop_one(event.effect)
        return then

    def _take_snapshot(self, *, closing: bool = False) -> None:
        self._snapshots.take(self.state, fence=self.claim.fence, closing=closing)

    def _answer(self) -> None:
        op_id, seen = self._unanswered.popleft()
        self._from_inbox.discard(op_id)
        self._replies.give(op_id, seen)

    def _needs_no_disk(self, asked: OpeningDecision) -> bool:
        """Say whether an effect may begin at once: it changes nothing, or durability is relaxed."""
        relaxed = self.state.settings is not None and self.state.settings.durability == "relaxed"
        return relaxed or isinstance(asked, _NEEDS_NO_DISK)

    def _begin(self, task: Task, asked: OpeningDecision) -> None:
        turn = self.state.turn
        if turn is not None and asked.effect in self.state.outstanding:
            self._tasks.start(task, stopped=_is_stopped(self.state, turn, asked))


def _is_stopped(state: State, turn: OpenTurn, asked: OpeningDecision) -> bool:
    """Say whether a task is stopped before it begins: with its turn, or with a closed agent."""
    agent = state.agents.get(asked.child) if isinstance(asked, ChildAsked) else None
    return turn.stopping is not None or (agent is not None and agent.closed)


def _failure(error: BaseException) -> TurnlogError:
    """Return what a session ended with, as its users are told."""
    if isinstance(error, TurnlogError):
        return error
    group = cast("Sequence[BaseException]", getattr(error, "exceptions", ()))
    causes = [cause for cause in group if not isinstance(cause, trio.Cancelled)]
    if len(causes) == 1:
        return _failure(causes[0])
    if group and not causes:
        return WriteLost("the session was cut off before it was closed; resume it")
    if (fault := environment_fault(error)) is not None:
        return Unavailable(ErrorCode.ENVIRONMENT_FAULT, fault)
    return WriteLost(f"the session's actor failed ({type(error).__name__}: {error}); resume it")


def _opened(events: Iterable[SessionEvent], state: State) -> Iterator[OpeningDecision]:
    """Yield the effects that a step opened and left open."""
    for event in events:
        if isinstance(event, Opens) and event.effect in state.outstanding:
            yield event
