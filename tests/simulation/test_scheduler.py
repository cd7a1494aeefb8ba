"""The scheduler's seed, and the private names of trio's that it needs."""

import importlib
import random

import pytest
import trio

from turnlog.replay.acting import scheduler
from turnlog.replay.acting.scheduler import run_seeded, scheduled_by


def order(seed: int) -> list[int]:
    """Return the order in which ten tasks that nothing tells apart come to their ends."""
    ends: list[int] = []

    async def runner(number: int) -> None:
        for _ in range(3):
            await trio.lowlevel.checkpoint()
        ends.append(number)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(runner, number)

    run_seeded(main, seed=seed)
    return ends


def test_a_seed_gives_one_order_and_other_seeds_give_others() -> None:
    orders = [order(seed) for seed in range(20)]
    assert orders == [order(seed) for seed in range(20)]
    assert len({tuple(found) for found in orders}) == 20


def test_trio_still_has_the_names_that_the_scheduler_needs() -> None:
    module = importlib.import_module(scheduler.MODULE)
    assert isinstance(getattr(module, scheduler.FLAG), bool)
    assert isinstance(getattr(module, scheduler.GENERATOR), random.Random)


def test_after_a_seeded_run_trio_schedules_as_before() -> None:
    module = importlib.import_module(scheduler.MODULE)
    generator: random.Random = getattr(module, scheduler.GENERATOR)
    flag, state = getattr(module, scheduler.FLAG), generator.getstate()
    order(7)
    assert getattr(module, scheduler.FLAG) == flag
    assert generator.getstate() == state


def test_a_trio_that_schedules_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "GENERATOR", "_no_longer_there")
    with (
        pytest.raises(RuntimeError, match="schedules otherwise than turnlog knows"),
        scheduled_by(1),
    ):
        pass


def test_time_passes_at_once_when_every_task_waits() -> None:
    async def main() -> float:
        began = trio.current_time()
        await trio.sleep(3600)
        return trio.current_time() - began

    assert run_seeded(main, seed=0) == 3600
