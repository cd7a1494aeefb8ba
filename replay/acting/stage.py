"""Replay with the real actors: what was recorded happens again, in its order, and only that.

Session, turn, model call, tool call and approval run as they do live. Their log is in memory, and
their ports give the recorded facts. A seed decides everything that the log does not: which task
goes first, when a write is done, how quick a watcher is. The log that this writes must be the
recorded one, event for event.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import takewhile
from random import Random
from typing import Final, cast

import attrs
import trio
from msgspec import structs
from trio.testing import MockClock, wait_all_tasks_blocked

from turnlog.actors.core.state import State
from turnlog.actors.ports import Claim
from turnlog.actors.queues.mailbox import Lane, Mailbox
from turnlog.actors.session_actor import SessionActor
from turnlog.protocol.envelope import (
    SCHEMA,
    EncodedEvent,
    Recorded,
    UnknownEvent,
    decode_fact,
    encode_event,
    unseal,
)
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import StoreTooNew, TurnlogError, UsageError
from turnlog.protocol.events import (
    EffectClosed,
    OpReceived,
    SessionFact,
    SessionForked,
    SessionOpened,
    SessionStarted,
    TimerFired,
    TurnsRestored,
    TurnStopping,
)
from turnlog.protocol.ids import SessionId
from turnlog.protocol.ops import Submission
from turnlog.protocol.version import VERSION
from turnlog.replay.acting.played_ports import RecordedFacts, played_ports
from turnlog.replay.acting.scheduler import run_seeded
from turnlog.runtime.store.memory.log import MemoryLog, MemoryStore

_MOST_JUMPS: Final = 1000  # of the clock, for one fact
_MOST_PAUSES: Final = 2  # passes of the scheduler that a write, or a watcher, takes
UNANSWERED: Final = "unanswered"  # code of what closes a question that nobody answered in time
_TICK: Final = 1e-6  # seconds
_NONE: Final = SessionId("")


@attrs.frozen
class LogDifference:
    """A place where the actors, given the recorded facts, wrote something else."""

    sequence: int
    recorded: Recorded | None  # None: the log has no event here
    happened: Recorded | None  # None: nothing came


def replay_acting(records: Sequence[Recorded], seed: int = 0) -> list[LogDifference]:
    """Let a recorded session happen again, with the real actors; return where it differs.

    Each fact is handed over after everything before it is stored and has had its effects. Nothing
    is played after the first step that differs, since the actors then do what was not recorded.
    Forks are played from their parents' first event. A crash ends an actor, and a new opening
    begins one. This seeds trio's global scheduler and calls `trio.run`: run one at a time, and not
    inside another trio run.

    Args:
        records: a session from its first event on; a fork begins with its parent's.
        seed: of everything that is not recorded. None of them may make a difference.

    Raises:
        UsageError: these are no session from its first event on.
        StoreTooNew: an event is of a kind that this release cannot act out.
        TurnlogError: what the session's actor failed with.
    """
    stage = Stage(records, Random(seed))
    run_seeded(stage.play, seed=seed, clock=stage.clock)
    return stage.differences


@attrs.define(eq=False)
class HeldMailbox(Mailbox):
    """Holds back each message until the recorded order has reached its fact."""

    _held: list[tuple[SessionFact, Lane, EncodedEvent]] = attrs.field(
        factory=list[tuple[SessionFact, Lane, EncodedEvent]], init=False
    )

    def put(self, lane: Lane, message: EncodedEvent) -> None:
        """Hold a message back."""
        self._held.append((decode_fact(message), lane, message))

    def has(self, fact: SessionFact) -> bool:
        """Whether `fact` was sent and is held back."""
        return any(sent == fact for sent, _, _ in self._held)

    def let_in(self, fact: SessionFact) -> bool:
        """Pass on `fact` if it was sent; return whether it was."""
        for index, (sent, lane, message) in enumerate(self._held):
            if sent == fact:
                del self._held[index]
                super().put(lane, message)
                return True
        return False

    def push(self, fact: SessionFact) -> None:
        """Pass on `fact`, which nobody has sent."""
        super().put("op", encode_event(fact))

    def let_in_instead(self, fact: SessionFact, of: SessionFact) -> None:
        """Pass on `fact` instead of `of`, which was sent."""
        index = next(index for index, (sent, _, _) in enumerate(self._held) if sent is of)
        _, lane, _ = self._held.pop(index)
        super().put(lane, encode_event(fact))

    def sent_instead(self, fact: SessionFact) -> SessionFact | None:
        """Return a held fact of the same effect; None: there is none."""
        about = _effect(fact)
        return next((sent for sent, _, _ in self._held if about and _effect(sent) == about), None)


def _effect(fact: SessionFact) -> object:
    return getattr(fact, "effect", None)


@attrs.define(eq=False)
class ActingLog(MemoryLog):
    """A log whose writes take as long as a seed says."""

    random: Random = attrs.field(kw_only=True)
    _wanted: trio.Event = attrs.field(factory=trio.Event, init=False)

    def _schedule(self) -> None:
        self._wanted.set()

    async def write(self) -> None:
        """Commit what is queued, again and again, until this is cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            await _pause(self.random)
            self._commit()


async def _pause(random: Random) -> None:
    for _ in range(random.randrange(_MOST_PAUSES + 1)):
        await trio.lowlevel.checkpoint()


@attrs.define
class Run:
    """What one actor recorded, from its opening to its end."""

    session: SessionId
    beginning: SessionStarted | SessionForked | None
    opened: SessionOpened
    facts: list[Recorded]
    is_open: bool = True  # False: the log ends, or is forked, between its two first steps
    last: int = 0  # sequence of its last event


@attrs.define(eq=False)
class _RecordedClock:
    """A `Clock` that gives each fact its recorded time."""

    times_us: Sequence[int]  # of all facts
    actor: SessionActor | None = None

    def now_us(self) -> int:
        facts = 0 if self.actor is None else self.actor.state.facts
        return self.times_us[min(facts, len(self.times_us) - 1)]


@attrs.define(eq=False)
class Stage:
    """Plays a recording, one run of an actor after the other.

    Args:
        random: decides what the log does not.
    """

    records: Sequence[Recorded]
    random: Random
    clock: MockClock = attrs.field(factory=MockClock)
    store: MemoryStore = attrs.field(factory=MemoryStore)
    differences: list[LogDifference] = attrs.field(factory=list[LogDifference])
    _session: SessionId = _NONE  # that was played last
    _time_us: int = 0  # of the last fact
    _compared: int = 0  # events

    async def play(self) -> None:
        """Play every run until one differs.

        Raises:
            TurnlogError: what the session's actor failed with.
        """
        for run in _runs(self.records):
            failure: TurnlogError | None = None
            async with trio.open_nursery() as nursery:
                log = ActingLog(
                    self.store, run.opened.owner, place=run.opened.place, random=self.random
                )
                nursery.start_soon(log.write)
                try:
                    await self._play_run(run, log, nursery)
                except TurnlogError as error:  # not to be grouped
                    failure = error
                log.kill()
                nursery.cancel_scope.cancel()
            if failure is not None:
                raise failure
            if self.differences:
                return

    async def _play_run(self, run: Run, log: ActingLog, nursery: trio.Nursery) -> None:
        claim = await self._claimed(run, log)
        clock = _RecordedClock([r.time_us for r in self.records if r.role == "fact"])
        facts = RecordedFacts(lambda: actor.state)
        facts.learn(run.facts)
        ports = played_ports(facts, log, clock)
        opened = run.opened
        actor = SessionActor(ports, claim, opened.engine, opened.on_recovery, opened.rules)
        if (settings := opened.adopted) is not None:
            actor.adopt = lambda _: settings
        actor.mailbox = mailbox = HeldMailbox()
        clock.actor = actor
        for capacity in (1, 256):
            nursery.start_soon(self._watch, actor, capacity)
        nursery.start_soon(_serve, actor, run.beginning)
        for record in run.facts:
            await wait_all_tasks_blocked()
            if self._differs(run, record.sequence - 1):
                return
            self._follow_time(record)
            await self._fire_before_a_stop(record, actor.state, facts, mailbox)
            await self._hand_over(record, actor, mailbox)
        await wait_all_tasks_blocked()
        self._differs(run, run.last)
        actor.raise_failure()

    async def _claimed(self, run: Run, log: ActingLog) -> Claim:
        """Claim the session as its recorded opening did."""
        match run.beginning:
            case SessionStarted(session=session):
                await log.create(session)
            case SessionForked(session=session, cut=cut):  # its parent may be a fork of this one
                await log.fork(self._session, cut, session)
            case None:
                pass
        self._session = run.session
        row = self.store.sessions[run.session]
        row.owner, row.fence = log, run.opened.fence
        return Claim(run.session, row.fence, row.head)

    async def _watch(self, actor: SessionActor, capacity: int) -> None:
        with suppress(TurnlogError):
            async for _ in actor.hub.subscribe(after=0, capacity=capacity):
                await _pause(self.random)

    def _follow_time(self, record: Recorded) -> None:
        """Let the recorded time pass, but let no timer fire: the log says when one does."""
        passed = (record.time_us - self._time_us) / 1_000_000
        until = trio.lowlevel.current_statistics().seconds_to_next_deadline - _TICK
        self._time_us = record.time_us
        if until < math.inf:
            self.clock.jump(max(0.0, min(passed, until)))

    async def _hand_over(self, record: Recorded, actor: SessionActor, mailbox: HeldMailbox) -> None:
        """Give the actor the next recorded fact, as a message that a port or a client has sent.

        If no message holds this fact, it is a difference, and the fact is given all the same.
        """
        fact = cast(SessionFact, record.event)  # `_runs` keeps facts only
        if isinstance(fact, OpReceived):
            with suppress(TurnlogError):  # it is not sent then, which shows as a difference
                actor.tell(Submission(fact.op_id, fact.op, fact.origin))
        effect = _effect(fact)
        is_late = effect is not None and effect not in actor.state.outstanding
        if not is_late:
            await self._let_fire(fact, mailbox)
        if mailbox.let_in(fact):
            return
        if not is_late:  # a late fact changes nothing, and nobody can send it any more
            instead = mailbox.sent_instead(fact)
            is_stopped = isinstance(fact, EffectClosed) and fact.how == "cancelled"
            if is_stopped and isinstance(instead, TimerFired | TurnsRestored):
                # Two kinds of effects end without a port that waits for the recorded order: a timer
                # of zero milliseconds, and an undo that touches no file. So today's actor may have
                # ended one before the recorded stop reached it. Both orders are right live; the
                # recorded one is restored.
                mailbox.let_in_instead(fact, instead)
                return
            happened = None if instead is None else structs.replace(record, event=instead)
            self.differences.append(LogDifference(record.sequence, record, happened))
        mailbox.push(fact)

    async def _fire_before_a_stop(
        self, record: Recorded, state: State, facts: RecordedFacts, mailbox: HeldMailbox
    ) -> None:
        """Let timers fire that had fired before a turn was stopped.

        A timer's fact may come after the fact that stopped its turn. Today's timer would be
        cancelled by the stop, so it has to fire before the stop is handed over.
        """
        step = takewhile(lambda r: r.role == "decision", self.records[record.sequence :])
        if any(isinstance(made.event, TurnStopping) for made in step):
            for effect in state.outstanding:
                for fact in facts.of(effect):
                    if isinstance(fact, TimerFired) or getattr(fact, "code", "") == UNANSWERED:
                        await self._let_fire(fact, mailbox)

    async def _let_fire(self, fact: SessionFact, mailbox: HeldMailbox) -> None:
        """Let timers fire until one of them has sent `fact`, or none is left."""
        for _ in range(_MOST_JUMPS):
            until = trio.lowlevel.current_statistics().seconds_to_next_deadline
            if mailbox.has(fact) or until == math.inf:
                return
            self.clock.jump(max(until, _TICK))
            await wait_all_tasks_blocked()

    def _differs(self, run: Run, until: int) -> bool:
        """Compare what was written with the log, to event `until`, which ends a step."""
        row = self.store.sessions[run.session]
        for number in range(self._compared, max(until, len(row.records))):
            recorded = self.records[number] if number < until else None
            happened = None
            if number < len(row.records):
                record = row.records[number]
                happened = unseal(record.data, record.digest, self.store.blobs.__getitem__)
            if _content(recorded) != _content(happened) and (recorded or run.is_open):
                self.differences.append(LogDifference(number + 1, recorded, happened))
        self._compared = until
        return bool(self.differences)


def _content(record: Recorded | None) -> Recorded | None:
    """Return a record without its digest, which depends on the schema of its release."""
    return record and structs.replace(record, digest=b"")


async def _serve(actor: SessionActor, beginning: SessionFact | None) -> None:
    with suppress(Exception):  # it is the actor's `failure`
        await actor.serve(beginning)


def _runs(records: Sequence[Recorded]) -> Iterator[Run]:
    """Yield each actor's run, also the runs of the sessions that this one was forked from."""
    beginning: SessionStarted | SessionForked | None = None
    run: Run | None = None
    for record in records:
        match record.event:
            case UnknownEvent():
                raise StoreTooNew(found=SCHEMA + 1, known=SCHEMA)
            case SessionStarted() | SessionForked() as beginning:
                if run is not None:
                    yield run
                opened = SessionOpened(1, "", VERSION)  # if a fork was made before it was opened
                run = Run(beginning.session, beginning, opened, [], is_open=False)
            case SessionOpened() as opened if run is not None:
                if beginning is not None:
                    run.opened, run.is_open, beginning = opened, True, None
                else:
                    yield run
                    run = Run(run.session, None, opened, [])
            case _ if run is None:
                raise UsageError(
                    ErrorCode.USAGE_ERROR,
                    "these events do not begin with the first event of a session",
                )
            case _ if record.role == "fact":
                run.facts.append(record)
            case _:
                pass
        run.last = record.sequence
    if run is not None:
        yield run
