"""The simulated world: an engine's lives one after the other, and the clients around them.

A crash takes the engine's tasks and what its disk had queued; what is stored outlives it. Clients
are outside: each continues with the next engine from the same place, with the same op ids.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import aclosing, contextmanager, suppress
from functools import partial
from random import Random
from typing import Final, TypeVar, cast

import attrs
import trio
from msgspec import structs

from tests.actors.ports import settings_in
from tests.engine.kit import actor_of
from tests.simulation.acts import CHILDREN, Watch
from tests.simulation.ports import (
    Busy,
    SimClock,
    SimContext,
    SimLog,
    SimModel,
    SimTools,
    SimWorkspace,
)
from tests.simulation.properties import Auditor, Violation, expect, stored
from tests.simulation.scenario import Answer, Response, Say, Scenario
from tests.simulation.workspace import FileSystem
from turnlog.actors.ports import Ports
from turnlog.actors.session_actor import SessionActor
from turnlog.protocol.envelope import Recorded, chain
from turnlog.protocol.errors import Rejected, TurnlogError
from turnlog.protocol.events import ApprovalAsked, TurnEnded
from turnlog.protocol.ids import SessionId
from turnlog.protocol.ops import ExecApproval, Op, Submission, prompt
from turnlog.protocol.settings import AgentLimits, OnRecovery, SandboxPolicy, SessionSettings
from turnlog.runtime.engine.engine import Engine, running_sessions
from turnlog.runtime.engine.open_sessions import OpenSessions
from turnlog.runtime.engine.session import Session
from turnlog.runtime.store.memory.log import MemoryStore

T = TypeVar("T")

DONE: Final = Response((Say("done"),))
SUMMARY: Final = Response((Say("in short"),))
MOST_DEPTH: Final = 2  # of agents
AGAIN_MS: Final = 20  # between two attempts of a client
MOST_ATTEMPTS: Final = 200  # of a client
AT_ONCE_MS: Final = 10_000  # in which a healthy engine has done whatever it was asked
MOST_PASSES: Final = 20_000  # of the scheduler, without time passing
MOST_SECONDS: Final = 60  # of simulated time; what takes longer hangs


@attrs.define(eq=False)
class Patience(trio.abc.Instrument):
    """Notices when tasks run for ever without letting time pass."""

    give_up: Callable[[], None]
    _time: float = 0.0
    _passes: int = 0  # of the scheduler, at this time

    def before_io_wait(self, timeout: float) -> None:
        if self._time != trio.current_time():
            self._time, self._passes = trio.current_time(), 0
        self._passes += 1
        if self._passes == MOST_PASSES:
            trio.lowlevel.current_trio_token().run_sync_soon(self.give_up)


@attrs.define(eq=False)
class Life:
    """One engine, from its start to its end."""

    log: SimLog
    watchers: trio.Nursery
    opened: OpenSessions = attrs.field(init=False)
    over: trio.Event = attrs.field(factory=trio.Event)
    crashed: bool = False
    clients: list[trio.CancelScope] = attrs.field(factory=list[trio.CancelScope])
    sessions: dict[SessionId, SessionActor] = attrs.field(factory=dict[SessionId, SessionActor])

    @property
    def engine(self) -> Engine:
        return Engine(self.opened)


@attrs.define(eq=False)
class World:
    scenario: Scenario
    random: Random = attrs.field(init=False)
    store: MemoryStore = attrs.field(factory=MemoryStore, init=False)
    clock: SimClock = attrs.field(factory=SimClock, init=False)
    busy: Busy = attrs.field(factory=Busy, init=False)
    files: FileSystem = attrs.field(factory=FileSystem, init=False)
    model: SimModel = attrs.field(init=False)
    auditor: Auditor = attrs.field(init=False)
    sessions: list[SessionId] = attrs.field(factory=list[SessionId], init=False)  # known to clients
    failure: BaseException | None = attrs.field(default=None, init=False)
    _life: Life | None = attrs.field(default=None, init=False)
    _up: trio.Event = attrs.field(factory=trio.Event, init=False)
    _trace: bytes = attrs.field(default=b"", init=False)  # digest of all that was noted
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _responses: deque[Response] = attrs.field(init=False)
    _summaries: deque[Response] = attrs.field(init=False)
    _answers: deque[Answer] = attrs.field(init=False)
    _down_ms: int = attrs.field(default=0, init=False)
    _on_recovery: OnRecovery = attrs.field(default="continue", init=False)
    calm: bool = attrs.field(default=False, init=False)
    _ops: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.random = Random(self.scenario.seed)
        self.model = SimModel(self)
        self.auditor = Auditor(self)
        self._responses = deque(self.scenario.responses)
        self._summaries = deque(self.scenario.summaries)
        self._answers = deque(self.scenario.answers)

    # --- the whole of it --------------------------------------------------------------------------

    async def run(self) -> None:
        """Let everything happen, close the engine, and continue with every session in a new one."""
        trio.lowlevel.add_instrument(Patience(self._give_up))
        with self._scope, self.checking():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_dog)
                for part in (self._happen, self._live_on):
                    async with trio.open_nursery() as machine:
                        machine.start_soon(self._lives)
                        with self.checking():
                            await part()
                nursery.cancel_scope.cancel()
            self.auditor.at_last(self.sessions)

    async def _watch_dog(self) -> None:
        await trio.sleep(MOST_SECONDS)
        with self.checking():
            raise Violation("it hangs")

    def _give_up(self) -> None:
        with suppress(Violation), self.checking():
            raise Violation("it goes round in circles, and no time passes")

    async def _happen(self) -> None:
        async with trio.open_nursery() as clients:
            await self.insist(self._start)
            for act in self.scenario.acts:
                clients.start_soon(self._perform, act.at_ms, act.perform)
        self.calm = True
        self._on_recovery = "continue" if self._on_recovery == "leave" else self._on_recovery
        life = await self.alive()
        life.log.calm()
        for _ in range(0, self.scenario.around.patience_ms, AGAIN_MS):
            if all(actor.state.turn is None for actor in life.sessions.values()):
                break
            await trio.sleep(AGAIN_MS / 1000)
        life.over.set()

    async def _live_on(self) -> None:
        """Show that every session continues, in an engine that nothing befalls."""
        for number in range(len(self.sessions)):
            with trio.move_on_after(AT_ONCE_MS / 1000) as patience:
                await self.insist(partial(self._prompt, number))
            expect(not patience.cancelled_caught, "a session does not continue in the end")
        (await self.alive()).over.set()

    async def _prompt(self, number: int, engine: Engine) -> None:
        session = await self._open(engine, number)
        ends: list[str] = []
        for _ in range(2):  # it may steer a turn that is on its way to a failure
            async with aclosing(session.run(prompt("are you there?"))) as events:
                async for recorded in events:
                    if isinstance(recorded.event, TurnEnded):
                        ends.append(recorded.event.status)
            if ends[-1:] == ["completed"]:
                break
        expect(ends[-1:] == ["completed"], f"a turn under a good model ended as {ends}")

    async def _perform(self, at_ms: int, deed: Callable[["World"], Awaitable[None]]) -> None:
        await trio.sleep(at_ms / 1000)
        with self.checking():
            await deed(self)

    # --- lives ------------------------------------------------------------------------------------

    async def _lives(self) -> None:
        with self.checking():
            while True:
                life = await self._one_life()
                if not life.crashed:
                    return
                await trio.sleep(self._down_ms / 1000)

    async def _one_life(self) -> Life:
        around = self.scenario.around
        log = SimLog(
            self.store,
            queue_bytes=around.queue_bytes,
            latency_ms=0 if self.calm else around.latency_ms,
            world=self,
            random=Random(self.random.random()),
        )
        async with trio.open_nursery() as machine:
            machine.start_soon(log.spin)
            self._life = life = Life(log, machine)
            try:
                async with running_sessions(self.ports(log), self._settings) as life.opened:
                    self._up.set()
                    machine.start_soon(self._resume_all, life)
                    await life.over.wait()
                    self._goes_down()
            except ExceptionGroup:
                if not life.crashed:  # else nobody is there to hear of it
                    raise
            self._look_back(life)
            for client in life.clients:
                client.cancel()
            if not life.crashed:
                await log.aclose()
            machine.cancel_scope.cancel()
        return life

    def ports(self, log: SimLog) -> Ports:
        tools, context = SimTools(self), SimContext(self)
        return Ports(log, self.model, tools, context, self.clock, workspace=SimWorkspace(self))

    def _settings(self, folder: str) -> SessionSettings:
        around = self.scenario.around
        return structs.replace(
            settings_in(folder),
            approval_policy=around.policy,
            sandbox=SandboxPolicy("workspace-write"),
            durability=around.durability,
            agents=AgentLimits(around.most_agents, MOST_DEPTH),
            scan_workspace=around.scans,
        )

    async def _resume_all(self, life: Life) -> None:
        """Continue with every session that there is, as a server does that was started again."""
        with self.checking(), life_scope(life):
            for number in range(len(self.sessions)):
                with suppress(TurnlogError):
                    await self._open(life.engine, number)

    def _look_back(self, life: Life) -> None:
        """Check that an engine that was not killed has brought everything to its end."""
        if life.crashed:
            return
        with self.checking():
            for session, actor in life.sessions.items():
                is_child = session in self.auditor.children
                if is_child and (actor.failure is None or "cut off" in str(actor.failure)):
                    continue  # its parent tells how it ended, also if it was being opened yet
                expect(actor.failure is None, f"the actor of {session} failed: {actor.failure!r}")
                last = stored(self.store, session)[-1].kind
                expect(last == "session_closed", f"{session} could not be closed: {last}")

    def crash(self, down_ms: int, on_recovery: OnRecovery) -> None:
        """End the engine that runs, at once."""
        life = self._life
        if life is None or not self._up.is_set():
            return
        self.note("crash")
        life.crashed = True
        self._down_ms, self._on_recovery = down_ms, on_recovery
        self._goes_down()
        life.log.kill()
        for client in life.clients:
            client.cancel()
        life.opened.nursery.cancel_scope.cancel()
        life.over.set()

    def _goes_down(self) -> None:
        if self._up.is_set():  # else somebody waits for it already
            self._up = trio.Event()

    async def alive(self) -> Life:
        """Wait until an engine runs."""
        await self._up.wait()
        assert self._life is not None  # it is what is up
        return self._life

    @property
    def log(self) -> SimLog | None:
        return None if self._life is None else self._life.log

    def actor(self, session: SessionId) -> SessionActor:
        assert self._life is not None  # somebody runs this actor
        slot = self._life.opened._slots[session]  # pyright: ignore[reportPrivateUsage]
        assert slot.actor is not None
        return slot.actor

    # --- clients ----------------------------------------------------------------------------------

    async def insist(self, deed: Callable[[Engine], Awaitable[T]]) -> T | None:
        """Do something with the engine; if it dies or cannot, again, and so on."""
        for _ in range(MOST_ATTEMPTS):
            life = await self.alive()
            with life_scope(life) as scope:
                try:
                    return await deed(life.engine)
                except Rejected as error:
                    self.note(f"rejected: {error}")
                    if "closed" not in str(error):
                        return None
                except TurnlogError as error:
                    self.note(f"{type(error).__name__}: {error}")
            if not scope.cancelled_caught:
                await trio.sleep(AGAIN_MS / 1000)
        raise Violation("a client was never answered")

    async def _start(self, engine: Engine) -> None:
        self._began(await engine.start(cwd="/", on_recovery=self._on_recovery))

    def _began(self, session: Session) -> None:
        if session.id not in self.sessions:
            self.sessions.append(session.id)
        self._attend(session)

    def _name(self, number: int) -> SessionId:
        children = [name for name in self.auditor.children if self._has_begun(name)]
        if number < CHILDREN or not children:
            return self.sessions[number % len(self.sessions)]
        return children[number % len(children)]

    def _has_begun(self, session: SessionId) -> bool:
        return session in self.store.sessions and bool(self.store.sessions[session].records)

    async def _open(self, engine: Engine, number: int) -> Session:
        name = self._name(number)
        if name in self.auditor.children:
            self.auditor.shared.add(name)
        session = await engine.resume(name, on_recovery=self._on_recovery)
        self._attend(session)
        return session

    def _attend(self, session: Session) -> None:
        """See to it that somebody watches, and answers, once for each of an engine's actors."""
        life, actor = self._life, actor_of(session)
        assert life is not None
        if life.sessions.get(session.id) is not actor and not life.over.is_set():
            life.sessions[session.id] = actor
            life.watchers.start_soon(self._assist, life, session)

    def attend_child(self, session: SessionId) -> None:
        """Attend to a session that no client opened."""
        life = self._life
        if life is not None and session not in self.sessions:
            self._attend(Session(life.opened, self.actor(session)))

    def new_op_id(self) -> str:
        self._ops += 1
        return f"op {self._ops}"

    async def submit(self, number: int, op: Op, op_id: str) -> None:
        async def deed(engine: Engine) -> None:
            session = await self._open(engine, number)
            step = await session.submit(op, op_id=op_id)
            self.auditor.acknowledge(session.id, step, op_id)

        await self.insist(deed)

    async def leave(self, number: int, op: Op, op_id: str) -> None:
        async def deed(engine: Engine) -> None:
            session, life = self._name(number), await self.alive()
            await life.log.leave(session, Submission(op_id, op, "inbox"))
            if session in self.sessions:  # else it may be that nobody opens it again
                self.auditor.left.append((session, op_id))

        await self.insist(deed)

    async def fork(self, number: int, at_permille: int) -> None:
        async def deed(engine: Engine) -> None:
            parent = self._name(number)
            head = (await (await self.alive()).log.head(parent)).sequence
            fork = await engine.fork(parent, at=max(1, head * at_permille // 1000))
            self.note(f"fork {fork.id} of {parent} at {fork.cut}")
            self._began(fork)

        await self.insist(deed)

    async def watch(self, number: int, how: Watch) -> None:
        """Watch a session in the engine of this moment, until it or the watcher leaves."""
        life = await self.alive()
        life.watchers.start_soon(self._watch, life, number, how)

    async def _watch(self, life: Life, number: int, how: Watch) -> None:
        with self.checking(), life_scope(life), suppress(TurnlogError):
            session = await self._open(life.engine, number)
            hub = actor_of(session).hub
            after = 0 if how.from_start else hub.published
            subscription = hub.subscribe(after=after, capacity=how.capacity)
            left = how.most
            async for publication in subscription:
                if isinstance(publication, Recorded):
                    expect(publication.sequence == after + 1, "a watcher misses an event")
                    after += 1
                    self.auditor.acknowledge(session.id, [publication], "a watcher")
                left -= 1
                if not left:
                    break
                await trio.sleep(how.pace_ms / 1000)
            hub.unsubscribe(subscription)

    # --- who answers questions --------------------------------------------------------------------

    async def _assist(self, life: Life, session: Session) -> None:
        """Watch all of a session, and answer its questions as the scenario says."""
        with self.checking(), life_scope(life):
            async with trio.open_nursery() as nursery:
                with suppress(TurnlogError):
                    await self._attend_to(session, nursery)
                nursery.cancel_scope.cancel()

    async def _attend_to(self, session: Session, nursery: trio.Nursery) -> None:
        after = 0
        async with aclosing(session.watch(after=0)) as publications:
            async for publication in publications:
                if not isinstance(publication, Recorded):
                    continue
                expect(publication.sequence == after + 1, "a watcher misses an event")
                after += 1
                self.auditor.acknowledge(session.id, [publication], "the assistant")
                asked = publication.event
                if isinstance(asked, ApprovalAsked) and _is_open(session, asked):
                    nursery.start_soon(self._answer, session, asked, self.next_answer())

    async def _answer(self, session: Session, asked: ApprovalAsked, answer: Answer) -> None:
        await trio.sleep(answer.delay_ms / 1000)
        for _ in range(answer.times):
            with suppress(TurnlogError):
                op_id = self.new_op_id()
                step = await session.submit(
                    ExecApproval(asked.question, answer.decision), op_id=op_id
                )
                self.auditor.acknowledge(session.id, step, op_id)

    def next_response(self) -> Response:
        if self.calm:
            return DONE
        done = structs.replace(DONE, pace_ms=self.scenario.around.done_ms)
        return self._responses.popleft() if self._responses else done

    def next_summary(self) -> Response:
        return self._summaries.popleft() if self._summaries and not self.calm else SUMMARY

    def next_answer(self) -> Answer:
        return self._answers.popleft() if self._answers and not self.calm else Answer()

    # --- what is noted ----------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """Put a line into the trace, which the same seed must give again."""
        self._trace = chain(self._trace, f"{trio.current_time():.6f} {text}".encode())

    @property
    def digest(self) -> str:
        return self._trace.hex()

    @contextmanager
    def checking(self) -> Generator[None]:
        """End the simulation at the first promise that is not kept, whoever finds it."""
        try:
            yield
        except Exception as error:
            if self.failure is None:
                self.failure = innermost(error)
            self._scope.cancel()
            if self.log is not None:
                self.log.kill()  # else whoever cannot be cancelled would wait for the disk
            raise


def innermost(error: BaseException) -> BaseException:
    """Return what was raised, without the groups around it."""
    causes = cast("Sequence[BaseException]", getattr(error, "exceptions", ()))  # of a group
    return innermost(causes[0]) if causes else error


@contextmanager
def life_scope(life: Life) -> Generator[trio.CancelScope]:
    """Do what is inside for as long as an engine lives."""
    with trio.CancelScope() as scope:
        life.clients.append(scope)
        if life.over.is_set():
            scope.cancel()
        try:
            yield scope
        except RuntimeError:  # trio's: an engine that is gone starts no more tasks
            if not life.crashed:
                raise


def _is_open(session: Session, asked: ApprovalAsked) -> bool:
    effect = actor_of(session).state.outstanding.get(asked.effect)
    return isinstance(effect, ApprovalAsked) and effect.question == asked.question
