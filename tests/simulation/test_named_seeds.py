"""Bugs that the simulation found, each as the least that showed it."""

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors.ports import in_turn, inline_engine, inline_sessions
from tests.engine.kit import actor_of
from tests.errors import raises_code
from tests.simulation.acts import Crash, Disk, Flood, Leave, Tell
from tests.simulation.running import simulate
from tests.simulation.scenario import (
    Answer,
    CallTool,
    Response,
    Scenario,
    Surroundings,
    ToolScript,
)
from turnlog.actors.ports import Batch
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import StoreError
from turnlog.protocol.ids import SessionId
from turnlog.protocol.ops import (
    Compact,
    Interrupt,
    Review,
    Shutdown,
    Submission,
    TextInput,
    Undo,
    UserTurn,
    prompt,
)
from turnlog.replay.acting.scheduler import run_seeded
from turnlog.runtime.engine.engine import Engine
from turnlog.runtime.store.memory.log import MemoryLog
from turnlog.runtime.store.waiting import PendingTicket

NAMED = {
    # Who resumed a session that was being closed waited for its end. Its shutdown's write was
    # lost, so it continued instead, and they waited for ever.
    "resumed_while_its_shutdown_was_lost": Scenario(
        3466,
        Surroundings(latency_ms=30),
        acts=(
            Disk(10, "loses but writes", 300),
            Tell(14, 0, Shutdown()),
            Tell(25, 1, Compact()),
        ),
    ),
    # What stops a child's opening comes as a group of cancellations, which its parent took for
    # something else: it did not see the child to its end.
    "stopped_while_its_child_was_being_opened": Scenario(
        205,
        Surroundings(durability="relaxed", latency_ms=30),
        acts=(
            Tell(0, 2, Shutdown()),
            Tell(0, 0, prompt("prompt 295")),
            Disk(2, "loses but writes", 300),
            Disk(50, "is full", 5),
            Leave(69, 1, Review("look")),
        ),
    ),
    # A child that was made, but had no event yet when its disk failed, was resumed as if it had.
    "its_child_was_made_without_an_event": Scenario(
        1798,
        Surroundings(queue_bytes=1, latency_ms=30),
        acts=(
            Tell(0, 2, Review("look")),
            Tell(0, 2, Undo(conversation=False)),
            Flood(3, 2, 90),
            Disk(11, "hangs", 300),
            Disk(377, "is full", 300),
        ),
    ),
    # A parent whose engine was being closed could not open its child, to bring it to its end.
    "closed_before_its_child_was_opened_again": Scenario(
        3212,
        Surroundings(policy="on-failure", latency_ms=2),
        responses=(Response(()), Response((CallTool(ToolScript(denied=True)),))),
        answers=(Answer("abort", 5, times=0),),
        acts=(
            Tell(4, 1, UserTurn((TextInput("prompt 890"),))),
            Tell(27, 0, Review("look")),
            Crash(426, 200, "continue"),
        ),
    ),
}


@pytest.mark.parametrize("scenario", NAMED.values(), ids=NAMED)
def test_it_is_gone(scenario: Scenario) -> None:
    assert simulate(scenario).failure is None


@attrs.define(eq=False)
class Dying(MemoryLog):
    """A log that takes nothing more, once it is told so."""

    is_dead: bool = False

    def append(self, session: SessionId, batch: Batch, *, fence: int) -> PendingTicket:
        if self.is_dead:
            raise StoreError(ErrorCode.STORE_ERROR, "the disk is gone")
        return super().append(session, batch, fence=fence)


def test_a_session_that_fails_while_it_is_cut_off_does_so_alone() -> None:
    """Seed 2992, when crashed engines were still listened to."""

    async def main() -> None:
        log = Dying()
        async with inline_sessions(log, in_turn()) as sessions:
            session = await Engine(sessions).start(cwd="/")
            log.is_dead = True
            actor_of(session).tell(Submission("op", Interrupt()))
            sessions.nursery.cancel_scope.cancel()
            await wait_all_tasks_blocked()

    for seed in range(20):
        run_seeded(main, seed=seed)


async def test_a_full_disk_that_fills_again_lets_go_of_all_who_waited(
    autojump_clock: MockClock,
) -> None:
    """Seed 68, when simulated disks could fill twice."""
    log = MemoryLog()
    with trio.move_on_after(5) as patience:
        async with trio.open_nursery() as nursery:
            log.pause()
            nursery.start_soon(log.room)
            await wait_all_tasks_blocked()
            log.pause()
            log.resume()
    assert not patience.cancelled_caught


async def test_a_session_without_an_event_is_none(autojump_clock: MockClock) -> None:
    """Seed 20720, when a client resumed such a child: it had no settings, and failed for ever."""
    log = MemoryLog()
    await log.release(await log.create(SessionId("018bcfe5-6800-7000-8000-000000000000")))
    async with inline_engine(log, in_turn()) as engine:
        with raises_code(ErrorCode.SESSION_NOT_FOUND):
            await engine.resume("018bcfe5")
