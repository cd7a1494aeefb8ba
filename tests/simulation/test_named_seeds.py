"""Bugs that the simulation found, each as the least that showed it."""

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors.ports import in_turn, inline_engine
from tests.engine.kit import actor_of
from tests.simulation.acts import Disk, Tell
from tests.simulation.running import simulate
from tests.simulation.scenario import Scenario, Surroundings
from turnlog.actors.ports import Batch
from turnlog.protocol.errors import StoreError
from turnlog.protocol.ids import SessionId
from turnlog.protocol.ops import Compact, Interrupt, Shutdown, Submission
from turnlog.replay.scheduler import run_seeded
from turnlog.runtime.store.memory import MemoryLog
from turnlog.runtime.store.waiting import PendingTicket

NAMED = {
    "resumed_while_its_shutdown_was_lost": (
        # Who resumed a session that was being closed waited for its end. Its shutdown's write
        # was lost, so it went on instead, and they waited for ever.
        Scenario(
            3466,
            Surroundings(latency_ms=30),
            acts=(
                Disk(10, "loses but writes", 300),
                Tell(14, 0, Shutdown()),
                Tell(25, 1, Compact()),
            ),
        ),
        "Engine.resume waits for an end that a lost shutdown takes back",
    ),
}


@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param(
            scenario,
            id=name,
            marks=[pytest.mark.xfail(reason=reason, strict=True)] if reason else [],
        )
        for name, (scenario, reason) in NAMED.items()
    ],
)
def test_it_is_gone(scenario: Scenario) -> None:
    assert simulate(scenario).failure is None


@attrs.define(eq=False)
class Dying(MemoryLog):
    """A log that takes nothing more, once it is told so."""

    is_dead: bool = False

    def append(self, session: SessionId, batch: Batch, *, fence: int) -> PendingTicket:
        if self.is_dead:
            raise StoreError("the disk is gone")
        return super().append(session, batch, fence=fence)


@pytest.mark.xfail(reason="Engine._serve lets a group of a Cancelled and an error pass")
def test_a_session_that_fails_while_it_is_cut_off_does_so_alone() -> None:
    """Seed 2992, when crashed engines were still listened to."""

    async def main() -> None:
        log = Dying()
        async with inline_engine(log, in_turn()) as engine:
            session = await engine.start(cwd="/")
            log.is_dead = True
            actor_of(session).tell(Submission("op", Interrupt()))
            engine._nursery.cancel_scope.cancel()  # pyright: ignore[reportPrivateUsage]
            await wait_all_tasks_blocked()

    for seed in range(20):
        run_seeded(main, seed=seed)


@pytest.mark.xfail(reason="a second pause forgets who waits for the first")
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
