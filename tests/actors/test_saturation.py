"""Children, clients and the disk all push at once, at every capacity: nobody waits for ever."""

from typing import Any

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.actors.ports import Handlers, Prompt, Ticking, called, in_turn, said, settings_in
from tests.engine.kit import assert_sound, kinds, of
from turnlog.actors.core.rebuild import rebuild
from turnlog.actors.ports import Ports, ToolMonitor
from turnlog.actors.queues.mailbox import Mailbox
from turnlog.actors.session_actor import SessionActor
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.errors import Overloaded
from turnlog.protocol.events import (
    OpReceived,
    SessionStarted,
    ToolFinished,
    TurnEnded,
)
from turnlog.protocol.ids import SessionId
from turnlog.protocol.ops import (
    Interrupt,
    OverrideTurnContext,
    Shutdown,
    Submission,
    TextInput,
    UserInput,
    prompt,
)
from turnlog.protocol.settings import SettingsUpdate
from turnlog.runtime.store.memory.log import MemoryLog

SESSION = SessionId("0190f5fe-7c00-7000-8000-000000000001")
CALLS = 24
OPS = 40


@attrs.define(eq=False)
class Watched(MemoryLog):
    """A log that counts how often its session had to wait for room."""

    waits: int = 0

    async def room(self) -> None:
        self.waits += self._backpressure.queued >= self.queue_bytes
        await super().room()


class Crowd:
    """One session, and everybody who wants something of it."""

    def __init__(self, capacity: int, *, stubborn: bool) -> None:
        self.capacity = capacity
        self.stubborn = stubborn  # whether a client waits for room by trying again at once
        self.log = Watched(queue_bytes=600 * capacity)
        calls = [called("work", f"call {number}") for number in range(CALLS)]
        # What is steered asks for further responses: one for each request that may follow.
        responses = [calls, *([said(f"word {n}")] for n in range(OPS + 2))]
        model = in_turn(*responses)
        self.ports = Ports(self.log, model, Handlers({"work": self.work}), Prompt(), Ticking())
        self.accepted: list[str] = []
        self.seen: list[Recorded] = []
        self.overloads = 0

    async def work(self, call_id: str, monitor: ToolMonitor) -> str:
        for number in range(3):
            monitor.output(f"{call_id}: {number}")
            await trio.lowlevel.checkpoint()
        return call_id

    async def clients(self, actor: SessionActor) -> None:
        for number in range(OPS):
            op = (
                UserInput((TextInput(f"and {number}"),))
                if number % 2
                else OverrideTurnContext(SettingsUpdate(model=f"m{number}"))
            )
            while True:
                try:
                    actor.tell(Submission(f"op {number}", op))
                    self.accepted.append(f"op {number}")
                    break
                except Overloaded:
                    self.overloads += 1
                    await trio.lowlevel.checkpoint()
                    if not self.stubborn:
                        break

    async def disk(self) -> None:
        """Stop, and continue, again and again; in the end, continue for good."""
        for number in range(60):
            self.log.hold()
            for _ in range(number % 7):
                await trio.lowlevel.checkpoint()
            self.log.let_go()
            await trio.lowlevel.checkpoint()

    async def watch(self, actor: SessionActor) -> None:
        subscription = actor.hub.subscribe(after=0, capacity=self.capacity)
        async for publication in subscription:
            if isinstance(publication, Recorded):
                self.seen.append(publication)

    async def at_rest(self, actor: SessionActor) -> None:
        """Wait until nothing is to be done: no turn, no message, no step on its way."""
        async for publication in actor.hub.subscribe(after=0):
            is_last = isinstance(publication, Recorded) and (
                publication.sequence == actor.state.head
            )
            if is_last and actor.state.turn is None and not len(actor.mailbox):
                return

    async def run(self, *, interrupt: bool) -> None:
        actor = SessionActor(self.ports, await self.log.create(SESSION), "test")
        actor.mailbox = Mailbox(self.capacity, self.capacity, self.capacity)
        with trio.fail_after(600):  # of a clock that jumps when everybody waits
            async with trio.open_nursery() as nursery:
                started = SessionStarted(SESSION, settings_in("/"), "test", "test")
                nursery.start_soon(actor.serve, started)
                await actor.tell(Submission("go", prompt("go"))).answer()
                nursery.start_soon(self.watch, actor)
                nursery.start_soon(self.disk)
                async with trio.open_nursery() as crowd:
                    crowd.start_soon(self.clients, actor)
                    if interrupt:
                        crowd.start_soon(self.interrupt, actor)
                await self.at_rest(actor)
                assert actor.state.outstanding == {}
                await actor.tell(Submission("bye", Shutdown())).answer()
        self.check(actor)

    async def interrupt(self, actor: SessionActor) -> None:
        """The interrupt gets through, however many ops wait."""
        while len(actor.mailbox) < self.capacity:
            if actor.state.turn is None:
                return
            await trio.lowlevel.checkpoint()
        await actor.tell(Submission("stop", Interrupt())).answer()

    def check(self, actor: SessionActor) -> None:
        assert_sound(self.seen)
        assert rebuild(self.seen) == actor.state
        assert actor.failure is None
        done = [op.op_id for op in of(OpReceived, self.seen) if op.op_id.startswith("op")]
        assert done == self.accepted
        assert kinds(self.seen)[-1] == "session_closed"


@pytest.mark.parametrize("stubborn", [True, False])
@pytest.mark.parametrize("capacity", range(1, 9))
@settings(max_examples=6)
@given(seed=st.random_module())
def test_children_and_session_both_saturated_come_to_rest(
    seed: Any,  # noqa: ANN401
    capacity: int,
    stubborn: bool,
) -> None:
    crowd = Crowd(capacity, stubborn=stubborn)

    async def main() -> None:
        await crowd.run(interrupt=False)

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert crowd.overloads
    assert crowd.log.waits
    assert len(of(ToolFinished, crowd.seen)) == CALLS
    assert {event.status for event in of(TurnEnded, crowd.seen)} == {"completed"}


@pytest.mark.parametrize("capacity", range(1, 9))
@settings(max_examples=6)
@given(seed=st.random_module())
def test_an_interrupt_gets_through_to_a_saturated_session(
    seed: Any,  # noqa: ANN401
    capacity: int,
) -> None:
    crowd = Crowd(capacity, stubborn=False)

    async def main() -> None:
        await crowd.run(interrupt=True)

    trio.run(main, clock=MockClock(autojump_threshold=0))
    statuses = [event.status for event in of(TurnEnded, crowd.seen)]
    assert "interrupted" in statuses
