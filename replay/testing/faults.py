"""Kills an engine after any event of a scenario, continues with a new one, and checks everything.

Real actors and the users' own tools, on trio, over a log in memory that outlives the engine. The
clock jumps over waiting, so a scenario with retries takes milliseconds.

A kill here is a cancellation from which nothing is written any more. The tool's own `finally`
blocks do run, which a killed process would not let them.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing, suppress
from functools import partial
from typing import Final

import attrs
import trio

from turnlog.actors.ports import Batch, ContextLoader, ModelClient
from turnlog.actors.stored_state.pages import read_whole
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.errors import Rejected
from turnlog.protocol.events import ApprovalAsked, OpReceived, StepFailed, TurnEnded
from turnlog.protocol.ids import SessionId
from turnlog.protocol.ops import ApprovalAnswer, Op, prompt
from turnlog.protocol.settings import OnRecovery, SessionSettings
from turnlog.replay.acting.scheduler import run_seeded
from turnlog.replay.testing.failures import save_records
from turnlog.replay.testing.harness import SETTINGS, open_test_engine, ports_of
from turnlog.replay.testing.promises import PromiseBroken, assert_promises
from turnlog.replay.testing.timelines import timeline
from turnlog.runtime.engine.children import ChildSessions
from turnlog.runtime.engine.engine import Engine
from turnlog.runtime.engine.open_sessions import OpenSessions
from turnlog.runtime.engine.session import Session
from turnlog.runtime.store.memory.log import MemoryLog, MemoryStore
from turnlog.runtime.store.waiting import PendingTicket
from turnlog.runtime.tools.tool import Tool

PATIENCE: Final = 600.0  # seconds, of the clock that jumps; a scenario that takes longer hangs


@attrs.frozen
class CrashRun:
    """One life of a scenario, with a crash in it or without."""

    at: int | None  # sequence of the last event that the engine wrote; None: it was not killed
    kind: str  # of that event
    records: Sequence[Recorded]  # the whole session, to its end
    tools: Sequence[Tool]  # as they are then: the same ones before and after the crash


@attrs.frozen(kw_only=True)
class Scenario:
    """What a user does, and with which model and tools.

    Args:
        prompts: texts or ops; each is sent once the turn before it has ended, and once only.
        model: makes the model of one run. It must answer a request that is repeated in the same
            way, as `ScriptedModel` does.
        tools: makes the tools of one run.
        settings: of the session.
        answer: what is said to each question.
        on_recovery: whether a turn that was cut off is continued.
        context: what a turn starts with; by default `PlainContext`.
        seed: decides which of several tasks goes first, so that a failing run fails again.
    """

    prompts: Sequence[str | Op]
    model: Callable[[], ModelClient]
    tools: Callable[[], Sequence[Tool]] = tuple
    settings: SessionSettings = SETTINGS
    answer: ApprovalAnswer = "approved"
    on_recovery: OnRecovery = "continue"
    context: ContextLoader | None = None
    seed: int = 0

    def run(self, at: int | None = None) -> CrashRun:
        """Run it, with a crash after event `at`, and check the promises.

        A step is written as a whole: a crash within one is a crash after its last event. Not
        for use inside of a trio program.

        Raises:
            PromiseBroken: one of the four, or an event that was shown is not in the log.
        """
        live = partial(self._live, MemoryStore(), self.tools(), at)
        return run_seeded(live, seed=self.seed)

    async def _live(self, store: MemoryStore, tools: Sequence[Tool], at: int | None) -> CrashRun:
        shown, left = list[Recorded](), list[Recorded]()
        with trio.fail_after(PATIENCE):
            if at is not None:
                await self._first_life(store, tools, at, shown)
                left = await read_whole(MemoryLog(store), _only(store))
            log = MemoryLog(store)
            async with open_test_engine(
                self.model(), tools, settings=self.settings, log=log, context=self.context
            ) as engine:
                if at is None:
                    session = await engine.start()
                else:
                    session = await engine.resume(_only(store), on_recovery=self.on_recovery)
                await self._play(session, left, shown)
                await session.close()
            records = await read_whole(log, session.id)
        assert_promises(records, at_rest=True)
        _check_shown(shown, records)
        return CrashRun(len(left) or None, left[-1].kind if left else "", records, tools)

    async def _first_life(
        self, store: MemoryStore, tools: Sequence[Tool], at: int, shown: list[Recorded]
    ) -> None:
        """Run until event `at` is on disk, and nobody has heard that it is."""
        log = _DyingLog(store, at=at)
        ports = ports_of(self.model(), tools, log=log, context=self.context)

        async def live(engine: Engine) -> None:
            session = await engine.start()
            await self._play(session, (), shown)
            await session.close()
            log.reached.set()  # it has fewer events than that

        async with trio.open_nursery() as nursery:
            sessions = OpenSessions(ports, nursery, lambda folder: self.settings, ChildSessions)
            nursery.start_soon(live, Engine(sessions))
            await log.reached.wait()
            if log.last is not None:
                await log.last.settled()
            log.kill()
            nursery.cancel_scope.cancel()

    async def _play(
        self, session: Session, before: Sequence[Recorded], shown: list[Recorded]
    ) -> None:
        """Send what is not in the log yet, and wait for each turn's end. Collect what is shown."""
        sent = {event.op_id for r in before if isinstance(event := r.event, OpReceived)}
        async with trio.open_nursery() as nursery:
            user = _User(session, self.answer, shown)
            nursery.start_soon(user.watch)
            await user.turn_over()
            for number, given in enumerate(self.prompts):
                if (op_id := f"scenario-{number}") not in sent:
                    op = prompt(given) if isinstance(given, str) else given
                    await session.submit(op, op_id=op_id)
                    await user.turn_over()
            nursery.cancel_scope.cancel()


def crash_everywhere(
    scenario: Scenario,
    *,
    check: Callable[[CrashRun], None] = lambda run: None,
    name: str = "crash_everywhere",
) -> list[CrashRun]:
    """Run a scenario without a crash, then once for each step of it, with a crash after it.

    Args:
        check: what must hold at the end of each run, such as of the tools' world.
        name: of the store below `.turnlog-failures` where a failing session is kept.

    Raises:
        AssertionError: a promise, or `check`, failed; its notes say after which event.
    """
    whole = scenario.run()
    check(whole)
    starts = [record.sequence for record in whole.records if record.role == "fact"]
    runs = [whole]
    for end in [*(start - 1 for start in starts[1:]), len(whole.records)]:
        runs.append(crash_at(scenario, end, check=check, name=name))
    return runs


def crash_at(
    scenario: Scenario,
    at: int,
    *,
    check: Callable[[CrashRun], None] = lambda run: None,
    name: str = "crash_at",
) -> CrashRun:
    """Run a scenario with a crash after event `at`, which may be drawn; see `crash_everywhere`.

    If the scenario has fewer events, it is killed at its end.
    """
    try:
        run = scenario.run(max(at, 1))
    except AssertionError as error:
        error.add_note(f"crashed after event {at}")
        raise
    try:
        check(run)
    except Exception as error:
        where = f"crashed after event {run.at} ({run.kind}); then:"
        error.add_note(f"{where}\n{timeline(run.records, marked={run.at or 0})}")
        error.add_note(save_records(name, run.records))
        raise
    return run


@attrs.define(eq=False)
class _DyingLog(MemoryLog):
    """Writes no more after event `at` of its session, and tells nobody that it wrote that."""

    at: int = attrs.field(default=1, kw_only=True)
    last: PendingTicket | None = attrs.field(default=None, init=False)
    reached: trio.Event = attrs.field(factory=trio.Event, init=False)

    def append(self, session: SessionId, batch: Batch, *, fence: int) -> PendingTicket:
        if self.last is not None:
            return PendingTicket()  # never settled
        ticket = MemoryLog.append(self, session, batch, fence=fence)
        if batch.records[-1].sequence < self.at:
            return ticket
        self.last = ticket
        self.reached.set()
        return PendingTicket()


@attrs.define(eq=False)
class _User:
    """Watches a session, and answers its questions."""

    session: Session
    answer: ApprovalAnswer
    shown: list[Recorded]
    _ended: trio.Event = attrs.field(factory=trio.Event, init=False)

    async def watch(self) -> None:
        async with aclosing(self.session.watch(after=0)) as publications:
            async for publication in publications:
                if not isinstance(publication, Recorded):
                    continue
                self.shown.append(publication)
                match publication.event:
                    case ApprovalAsked(question=question):
                        with suppress(Rejected):  # it is a question of a turn that is over
                            await self.session.answer(question, self.answer)
                    case TurnEnded() | StepFailed():
                        self._ended.set()
                    case _:
                        pass

    async def turn_over(self) -> None:
        """Wait until no turn runs."""
        while self.session.is_running:
            self._ended = trio.Event()
            await self._ended.wait()


def _only(store: MemoryStore) -> SessionId:
    return next(iter(store.sessions))


def _check_shown(shown: Iterable[Recorded], records: Sequence[Recorded]) -> None:
    """Check that what anybody was shown is in the log: it had been acknowledged."""
    there = {record.digest for record in records}
    if lost := next((record for record in shown if record.digest not in there), None):
        text = f"event {lost.sequence} ({lost.kind}) was shown, and is not in the log"
        raise PromiseBroken(f"what was acknowledged is never lost: {text}\n{timeline(records)}")
