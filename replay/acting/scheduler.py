"""Deterministic scheduling: one seed decides which of trio's runnable tasks goes first.

trio has this for Hypothesis, under private names. They are used here and nowhere else; a test
fails if they move. The same seed gives the same order in every process, under every hash seed.
What is no task is not covered: threads, processes and sockets come when they come.

Source: trio 0.35, `trio._core._run`: with the flag set, each batch of runnable tasks is sorted by
creation and shuffled by the module's generator.
"""

import importlib
import random
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Final, TypeVar

import trio
from trio.abc import Clock
from trio.testing import MockClock

T = TypeVar("T")

MODULE: Final = "trio._core._run"
FLAG: Final = "_ALLOW_DETERMINISTIC_SCHEDULING"
GENERATOR: Final = "_r"
THREADS: Final = "run_sync"  # of `trio.to_thread`


@contextmanager
def scheduled_by(seed: int) -> Generator[None]:
    """Let `seed` decide the order of tasks in the trio runs that begin inside; then, as before.

    The order is the process's: no other trio run may be active meanwhile, in no thread.

    Raises:
        RuntimeError: this trio has other names for it.
    """
    scheduler = importlib.import_module(MODULE)
    generator = getattr(scheduler, GENERATOR, None)
    if not isinstance(generator, random.Random) or not hasattr(scheduler, FLAG):
        raise RuntimeError(
            f"trio {trio.__version__} schedules otherwise than turnlog knows: "
            f"{MODULE} has no {FLAG} and {GENERATOR}. Use a release that turnlog was tested with."
        )
    flag, state = getattr(scheduler, FLAG), generator.getstate()
    setattr(scheduler, FLAG, True)
    generator.seed(seed)
    try:
        yield
    finally:
        setattr(scheduler, FLAG, flag)
        generator.setstate(state)


def run_seeded(main: Callable[[], Awaitable[T]], *, seed: int, clock: Clock | None = None) -> T:
    """Run `main` in a trio run of its own, in which `seed` decides the order of tasks.

    Args:
        clock: by default one that jumps to the next deadline as soon as every task waits. It would
            jump over the work of a thread, so what is meant for one is then done at once.
    """
    with scheduled_by(seed):
        if clock is not None:
            return trio.run(main, clock=clock)
        with _no_threads():
            return trio.run(main, clock=MockClock(autojump_threshold=0))


@contextmanager
def _no_threads() -> Generator[None]:
    threads = trio.to_thread.run_sync
    setattr(trio.to_thread, THREADS, _at_once)
    try:
        yield
    finally:
        setattr(trio.to_thread, THREADS, threads)


async def _at_once(work: Callable[..., T], *arguments: object, **_: object) -> T:
    await trio.lowlevel.checkpoint()
    return work(*arguments)
