"""One scenario, from its first task to its outcome."""

import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from random import Random
from typing import TypeVar
from uuid import UUID

import attrs
import trio
import uuid_utils

from tests.simulation.ports import START_US
from tests.simulation.properties import stored
from tests.simulation.scenario import Scenario
from tests.simulation.world import World, innermost
from turnlog.actors.stored_state import snapshots as snapshot_keeper
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.ids import SessionId
from turnlog.replay.acting.scheduler import run_seeded

T = TypeVar("T")


@attrs.frozen
class Outcome:
    """What became of a scenario. Equal scenarios have equal outcomes, in every process."""

    failure: str | None  # the promise that was not kept
    digest: str  # of everything that happened, in order
    steps: int
    sessions: dict[SessionId, list[Recorded]]


def simulate(scenario: Scenario) -> Outcome:
    """Let a scenario happen."""
    world = World(scenario)
    every = scenario.around.snapshot_every  # often enough for a short session to have some
    with (
        replaced(uuid_utils, uuid7=ids_of(scenario.seed)),
        replaced(trio.to_thread, run_sync=_at_once),
        replaced(snapshot_keeper, SNAPSHOT_EVERY=every, SNAPSHOT_AT_CLOSE=every),
    ):
        try:
            run_seeded(world.run, seed=scenario.seed)
        except Exception as error:
            world.failure = world.failure or innermost(error)
    failure = None if world.failure is None else _told(world.failure)
    sessions = {name: stored(world.store, name) for name in world.store.sessions}
    return Outcome(failure, world.digest, world.auditor.steps, sessions)


async def _at_once(work: Callable[[], T]) -> T:
    """Stand in for a thread, which no seed schedules."""
    await trio.lowlevel.checkpoint()
    return work()


def _told(error: BaseException) -> str:
    if isinstance(error, AssertionError):
        return str(error)
    *_, place = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__}: {error} (in {place.name})"


def ids_of(seed: int) -> Callable[[], UUID]:
    """Return what draws ids from a seed."""
    random = Random(seed)

    def draw() -> UUID:
        noise = random.getrandbits(62)
        return UUID(int=(START_US // 1000) << 80 | 7 << 76 | 2 << 62 | noise)

    return draw


@contextmanager
def replaced(owner: object, **values: object) -> Generator[None]:
    """Give a module or a class other values for a while."""
    before = {name: getattr(owner, name) for name in values}
    for name, value in values.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)
