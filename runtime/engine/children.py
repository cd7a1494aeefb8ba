"""Child sessions: sub-agents and reviews, run in the engine of the session that asked for them.

A child is an ordinary session with a log of its own. It is open while it works, and closed as
soon as it is idle: a finished child costs nothing.
"""

from typing import Final

import attrs
import trio
from msgspec.structs import replace

from turnlog.actors.core.state import State
from turnlog.actors.ports import ChildOrder, ChildResult, EventLog
from turnlog.actors.queues.hub import Subscription
from turnlog.actors.session_actor import SessionActor
from turnlog.actors.stored_state.fold import folded
from turnlog.protocol.calls import ErrorInfo
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import NotFound, Overloaded, Rejected, WriteLost
from turnlog.protocol.events import (
    ChildTold,
    OpReceived,
    OpRefused,
    SessionStarted,
    StepFailed,
    TurnEnded,
)
from turnlog.protocol.ids import SessionId
from turnlog.protocol.ops import Interrupt, Op, Shutdown, Submission, TextInput, UserInput, prompt
from turnlog.protocol.version import VERSION
from turnlog.runtime.engine.new_id import new_id
from turnlog.runtime.engine.open_sessions import RETRY_PERIOD, OpenSessions

_PAGE: Final = 200  # events that are read at once, from a log's end backwards
_PARKED: Final = "it waits for an answer to a question; answer it, then give it a prompt"


@attrs.define(eq=False)
class _Run:
    """A child at work, from the order to its end. Inputs that steer it meanwhile belong to it."""

    actor: SessionActor | None = None
    steering: int = 0  # inputs on their way to it; it does not end before they arrive
    ending: bool = False  # it takes no more inputs
    changed: trio.Event = attrs.field(factory=trio.Event)  # `steering` has changed
    opened: trio.Event = attrs.field(factory=trio.Event)  # it has the prompt, or is over
    over: trio.Event = attrs.field(factory=trio.Event)

    def count_steering(self, change: int) -> None:
        self.steering += change
        self.changed.set()
        self.changed = trio.Event()


@attrs.define(eq=False)
class ChildSessions:
    """The `Children` port over the sessions that are open in one engine."""

    _sessions: OpenSessions
    _runs: dict[SessionId, _Run] = attrs.field(factory=dict[SessionId, _Run], init=False)

    async def run(self, order: ChildOrder) -> ChildResult:
        child, run = order.asked.child, _Run()
        self._runs[child] = run
        try:
            return await self._run(order, run)
        finally:
            run.ending = True
            run.opened.set()
            run.over.set()
            del self._runs[child]

    async def _run(self, order: ChildOrder, run: _Run) -> ChildResult:
        op_id = _op_id(order)
        while True:
            state = await self._stored(order.asked.child)
            if state is not None and op_id in state.op_ids and not _works(state):
                return await self._result(order, state)  # it ended under an engine that is gone
            actor = await self._open(order, state)
            subscription = actor.hub.subscribe(after=actor.hub.published)
            try:
                if await _send(actor, op_id, prompt(order.asked.prompt), order.asked.kind):
                    run.actor = actor
                    run.opened.set()
                    await _until_idle(actor, subscription, run)
                    await _close(actor)
                    return await self._result(order, actor.state)
                await _ended(actor)  # somebody has just closed it
                actor.raise_failure()
            finally:
                actor.hub.unsubscribe(subscription)

    async def stop(self, order: ChildOrder) -> ChildResult:
        child = order.asked.child
        actor = self._sessions.running(child)
        if actor is None:
            state = await self._stored(child)
            if state is None:  # it was stopped before it was made
                return ChildResult("interrupted", 0, "")
            if not _works(state):
                return await self._result(order, state)
            actor = await self._sessions.reopen(child, "interrupt", for_parent=True)
        await _close(actor)
        return await self._result(order, actor.state)

    async def tell(self, told: ChildTold) -> None:
        run = self._runs.get(told.child)
        if run is not None and not run.ending:
            run.count_steering(+1)
            try:
                await run.opened.wait()
                if run.actor is not None and await _steer(run.actor, told):
                    return
            finally:
                run.count_steering(-1)
        if run is not None:
            await run.over.wait()  # so that its parent hears of its end first
        raise Rejected(ErrorCode.AGENT_IDLE, f"the agent {told.child} is idle; give it a prompt")

    async def _stored(self, child: SessionId) -> State | None:
        """Return the state that a child has in its log, if it has one."""
        await self._sessions.until_released(child)
        try:
            return await folded(self._sessions.log, child)
        except NotFound:
            return None

    async def _open(self, order: ChildOrder, state: State | None) -> SessionActor:
        child, asked = order.asked.child, order.asked
        if state is not None and state.head:
            return await self._sessions.reopen(child, "continue", for_parent=True)
        place = self._sessions.log.place
        started = SessionStarted(child, asked.settings, asked.kind, VERSION, order.parent, place)
        return await self._sessions.open_child(child, started, is_made=state is not None)

    async def _result(self, order: ChildOrder, state: State) -> ChildResult:
        """Return how the child's run ended, now that it is closed."""
        end = await _last_end(self._sessions.log, order.asked.child, _op_id(order))
        ended = ChildResult("interrupted", state.head, state.digest.hex(), usage=state.usage)
        if state.turn is not None:
            return replace(ended, status="failed", error=ErrorInfo("parked", _PARKED))
        match end.event if end is not None else None:
            case TurnEnded(status=status, last_agent_message=output, error=error):
                return replace(ended, status=status, output=output, error=error)
            case StepFailed(message=message):
                return replace(ended, status="failed", error=ErrorInfo("step_failed", message))
            case _:
                return ended


def _op_id(order: ChildOrder) -> str:
    return f"{order.asked.child}/{order.asked.run}"


def _works(state: State) -> bool:
    return state.turn is not None or bool(state.queue)


async def _send(actor: SessionActor, op_id: str, op: Op, origin: str = "parent") -> bool:
    """Give a child an op, once; say whether it took it, now or before. An ending child does not."""
    while op_id not in actor.state.op_ids:
        if actor.hub.closed:
            return False
        try:
            await actor.tell(Submission(op_id, op, origin)).answer()
        except Overloaded:
            await trio.sleep(RETRY_PERIOD)
        except WriteLost:
            await trio.lowlevel.checkpoint()
        except Rejected:
            return False
    return True


async def _steer(actor: SessionActor, told: ChildTold) -> bool:
    if told.interrupt and not await _send(actor, f"{told.op_id}/stop", Interrupt()):
        return False
    return await _send(actor, told.op_id, UserInput((TextInput(told.text),)))


async def _until_idle(actor: SessionActor, subscription: Subscription, run: _Run) -> None:
    """Wait until the child has nothing to do. From then on it takes no more inputs."""
    while run.steering or _works(actor.state) or actor.hub.published < actor.state.head:
        if run.steering:
            await run.changed.wait()
        elif await anext(subscription, None) is None:
            break  # it was closed, by whoever closes the engine
    run.ending = True


async def _close(actor: SessionActor) -> None:
    while not actor.hub.closed:
        await _send(actor, new_id(), Shutdown())
        await _ended(actor)
    actor.raise_failure()


async def _ended(actor: SessionActor) -> None:
    """Wait until a session has ended, or continues because the write of its end was lost."""
    while actor.ending and not actor.hub.closed:
        with trio.move_on_after(RETRY_PERIOD):
            await actor.hub.ended()


async def _last_end(log: EventLog, session: SessionId, op_id: str) -> Recorded | None:
    """Return the event that ended the last turn since the session first got op `op_id`."""
    until = (await log.head(session)).sequence
    end: Recorded | None = None
    repeated = False
    while until > 0:
        page = await log.read(session, after=max(0, until - _PAGE), until=until)
        for recorded in reversed(page):
            match recorded.event:
                case TurnEnded() | StepFailed():
                    end = end or recorded
                case OpRefused(op_id=refused) if refused == op_id:
                    repeated = True
                case OpReceived(op_id=received) if received == op_id and not repeated:
                    return end
                case OpReceived(op_id=received) if received == op_id:
                    repeated = False
                case _:
                    pass
        until -= _PAGE
    return None
