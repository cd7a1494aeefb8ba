"""Replay with the real actors: what was recorded happens again, in its order, and only that.

Session, turn, model call, tool call and approval run as they do live, over a log in memory and
ports that give the recorded facts. A seed decides everything that the log does not: which task
goes first, when a write is done, how quick a watcher is. The log that comes out must be the one
that went in, event for event.
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
from turnlog.actors.ports import Claim, Ports
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
from turnlog.protocol.errors import SchemaTooNew, TurnlogError, UsageError
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
from turnlog.replay.acting.played_ports import (
    RecordedChildren,
    RecordedContext,
    RecordedModel,
    RecordedTools,
    RecordedWorkspace,
    Script,
)
from turnlog.replay.acting.scheduler import run_seeded
from turnlog.runtime.store.memory.log import MemoryLog, MemoryStore

_MOST_JUMPS: Final = 1000  # of the clock, for one fact
_MOST_PAUSES: Final = 2  # passes of the scheduler that a write, or a watcher, takes
UNANSWERED: Final = "unanswered"  # code of what closes a question that nobody answered in time
_TICK: Final = 1e-6  # seconds
_NONE: Final = SessionId("")


@attrs.frozen
class Difference:
    """A place where the actors, given the recorded facts, wrote something else."""

    sequence: int
    recorded: Recorded | None  # None: the log has no event here
    happened: Recorded | None  # None: nothing came


def replay_acting(records: Sequence[Recorded], seed: int = 0) -> list[Difference]:
    """Let a recorded session happen again, with the real actors; return where it differs.

    Each fact is handed over once everything before it is stored and has had its effects. Behind
    the first step that differs nothing is played: what the actors did then is not what was
    recorded. Forks are played from their parents' first event on; a crash ends an actor, and a
    new opening begins one. It has the process's scheduling to itself while it lasts, and begins
    a trio run of its own: call it from outside of any.

    Args:
        records: a session from its first event on; a fork begins with its parent's.
        seed: of everything that is not recorded. None of them may make a difference.

    Raises:
        UsageError: these are no session from its first event on.
        SchemaTooNew: an event is of a kind that this release cannot act out.
        TurnlogError: what the session's actor failed with.
    """
    stage = _Stage(records, Random(seed))
    run_seeded(stage.play, seed=seed, clock=stage.clock)
    return stage.differences


@attrs.define(eq=False)
class HeldMailbox(Mailbox):
    """Holds back whatever is sent, until it is the turn of that fact."""

    _held: list[tuple[SessionFact, Lane, EncodedEvent]] = attrs.field(
        factory=list[tuple[SessionFact, Lane, EncodedEvent]], init=False
    )

    def put(self, lane: Lane, message: EncodedEvent) -> None:
        self._held.append((decode_fact(message), lane, message))

    def has(self, fact: SessionFact) -> bool:
        return any(sent == fact for sent, _, _ in self._held)

    def let_in(self, fact: SessionFact) -> bool:
        """Let the session have `fact`, if it has been sent."""
        for index, (sent, lane, message) in enumerate(self._held):
            if sent == fact:
                del self._held[index]
                super().put(lane, message)
                return True
        return False

    def push(self, fact: SessionFact) -> None:
        """Let the session have `fact`, though nobody has sent it."""
        super().put("op", encode_event(fact))

    def let_in_instead(self, fact: SessionFact, of: SessionFact) -> None:
        """Let the session have `fact`, in the place of one that was sent."""
        index = next(index for index, (sent, _, _) in enumerate(self._held) if sent is of)
        _, lane, _ = self._held.pop(index)
        super().put(lane, encode_event(fact))

    def sent_instead(self, fact: SessionFact) -> SessionFact | None:
        """Return what was sent of the same effect."""
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
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            await _pause(self.random)
            self._commit()


async def _pause(random: Random) -> None:
    for _ in range(random.randrange(_MOST_PAUSES + 1)):
        await trio.lowlevel.checkpoint()


@attrs.define
class _Life:
    """What one actor lived through."""

    session: SessionId
    beginning: SessionStarted | SessionForked | None
    opened: SessionOpened
    facts: list[Recorded]
    is_open: bool = True  # else the log ends, or is forked, between its two first steps
    last: int = 0  # sequence of its last event


@attrs.define(eq=False)
class _RecordedClock:
    """A `Clock`: each fact is received when it was."""

    times_us: Sequence[int]  # of all facts
    actor: SessionActor | None = None

    def now_us(self) -> int:
        facts = 0 if self.actor is None else self.actor.state.facts
        return self.times_us[min(facts, len(self.times_us) - 1)]


@attrs.define(eq=False)
class _Stage:
    records: Sequence[Recorded]
    random: Random
    clock: MockClock = attrs.field(factory=MockClock)
    store: MemoryStore = attrs.field(factory=MemoryStore)
    differences: list[Difference] = attrs.field(factory=list[Difference])
    _session: SessionId = _NONE  # that was played last
    _time_us: int = 0  # of the last fact
    _compared: int = 0  # events

    async def play(self) -> None:
        for life in _lives(self.records):
            failure: TurnlogError | None = None
            async with trio.open_nursery() as nursery:
                log = ActingLog(
                    self.store, life.opened.owner, place=life.opened.place, random=self.random
                )
                nursery.start_soon(log.write)
                try:
                    await self._live(life, log, nursery)
                except TurnlogError as error:  # not to be grouped
                    failure = error
                log.kill()
                nursery.cancel_scope.cancel()
            if failure is not None:
                raise failure
            if self.differences:
                return

    async def _live(self, life: _Life, log: ActingLog, nursery: trio.Nursery) -> None:
        claim = await self._claimed(life, log)
        clock = _RecordedClock([r.time_us for r in self.records if r.role == "fact"])
        script = Script(lambda: actor.state)
        script.learn(life.facts)
        ports = Ports(
            log,
            RecordedModel(script),
            RecordedTools(script),
            RecordedContext(script),
            clock,
            RecordedChildren(script),
            RecordedWorkspace(script),
        )
        opened = life.opened
        actor = SessionActor(ports, claim, opened.engine, opened.on_recovery, opened.rules)
        if (settings := opened.adopted) is not None:
            actor.adopt = lambda _: settings
        actor.mailbox = mailbox = HeldMailbox()
        clock.actor = actor
        for capacity in (1, 256):
            nursery.start_soon(self._watch, actor, capacity)
        nursery.start_soon(_serve, actor, life.beginning)
        for record in life.facts:
            await wait_all_tasks_blocked()
            if self._differs(life, record.sequence - 1):
                return
            self._follow_time(record)
            await self._fire_before_a_stop(record, actor.state, script, mailbox)
            await self._hand_over(record, actor, mailbox)
        await wait_all_tasks_blocked()
        self._differs(life, life.last)
        actor.raise_failure()

    async def _claimed(self, life: _Life, log: ActingLog) -> Claim:
        """Claim the session as its recorded opening did."""
        match life.beginning:
            case SessionStarted(session=session):
                await log.create(session)
            case SessionForked(session=session, cut=cut):  # its parent may be a fork of this one
                await log.fork(self._session, cut, session)
            case None:
                pass
        self._session = life.session
        row = self.store.sessions[life.session]
        row.owner, row.fence = log, life.opened.fence
        return Claim(life.session, row.fence, row.head)

    async def _watch(self, actor: SessionActor, capacity: int) -> None:
        with suppress(TurnlogError):
            async for _ in actor.hub.subscribe(after=0, capacity=capacity):
                await _pause(self.random)

    def _follow_time(self, record: Recorded) -> None:
        """Let time pass as it did, but let no timer fire: when that happens is recorded."""
        passed = (record.time_us - self._time_us) / 1_000_000
        until = trio.lowlevel.current_statistics().seconds_to_next_deadline - _TICK
        self._time_us = record.time_us
        if until < math.inf:
            self.clock.jump(max(0.0, min(passed, until)))

    async def _hand_over(self, record: Recorded, actor: SessionActor, mailbox: HeldMailbox) -> None:
        fact = cast(SessionFact, record.event)  # as `_lives` has seen
        if isinstance(fact, OpReceived):
            with suppress(TurnlogError):  # it does not come, then, and that is told
                actor.tell(Submission(fact.op_id, fact.op, fact.origin))
        effect = _effect(fact)
        is_late = effect is not None and effect not in actor.state.outstanding
        if not is_late:
            await self._let_fire(fact, mailbox)
        if mailbox.let_in(fact):
            return
        if not is_late:  # what is late changes nothing, and nobody may send it now
            instead = mailbox.sent_instead(fact)
            is_stopped = isinstance(fact, EffectClosed) and fact.how == "cancelled"
            if is_stopped and isinstance(instead, TimerFired | TurnsRestored):
                # What no port holds back, as a timer of no time at all, was quicker than the stop.
                mailbox.let_in_instead(fact, instead)
                return
            happened = None if instead is None else structs.replace(record, event=instead)
            self.differences.append(Difference(record.sequence, record, happened))
        mailbox.push(fact)

    async def _fire_before_a_stop(
        self, record: Recorded, state: State, script: Script, mailbox: HeldMailbox
    ) -> None:
        """Let timers fire that had fired when a turn was stopped, though they were told later."""
        step = takewhile(lambda r: r.role == "decision", self.records[record.sequence :])
        if any(isinstance(made.event, TurnStopping) for made in step):
            for effect in state.outstanding:
                for fact in script.of(effect):
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

    def _differs(self, life: _Life, until: int) -> bool:
        """Compare what was written with the log up to the event `until`, the end of a step."""
        row = self.store.sessions[life.session]
        for number in range(self._compared, max(until, len(row.records))):
            recorded = self.records[number] if number < until else None
            happened = None
            if number < len(row.records):
                record = row.records[number]
                happened = unseal(record.data, record.digest, self.store.blobs.__getitem__)
            if _content(recorded) != _content(happened) and (recorded or life.is_open):
                self.differences.append(Difference(number + 1, recorded, happened))
        self._compared = until
        return bool(self.differences)


def _content(record: Recorded | None) -> Recorded | None:
    """Return a record without its digest, which the schema that it was written in goes into."""
    return record and structs.replace(record, digest=b"")


async def _serve(actor: SessionActor, beginning: SessionFact | None) -> None:
    with suppress(Exception):  # it is the actor's `failure`
        await actor.serve(beginning)


def _lives(records: Sequence[Recorded]) -> Iterator[_Life]:
    """Yield what each actor lived through, those of the sessions that this is a fork of, too."""
    beginning: SessionStarted | SessionForked | None = None
    life: _Life | None = None
    for record in records:
        match record.event:
            case UnknownEvent():
                raise SchemaTooNew(found=SCHEMA + 1, known=SCHEMA)
            case SessionStarted() | SessionForked() as beginning:
                if life is not None:
                    yield life
                opened = SessionOpened(1, "", VERSION)  # if a fork was made before it was opened
                life = _Life(beginning.session, beginning, opened, [], is_open=False)
            case SessionOpened() as opened if life is not None:
                if beginning is not None:
                    life.opened, life.is_open, beginning = opened, True, None
                else:
                    yield life
                    life = _Life(life.session, None, opened, [])
            case _ if life is None:
                raise UsageError("these events are no session from its first one on")
            case _ if record.role == "fact":
                life.facts.append(record)
            case _:
                pass
        life.last = record.sequence
    if life is not None:
        yield life
