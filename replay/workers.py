"""Work that is shared among processes, with its results in order."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Final, TypeVar

from turnlog.runtime.tuning import tune_process

T = TypeVar("T")
R = TypeVar("R")

_CHUNKS: Final = 8  # for each process, so that none waits long for the last


def in_processes(work: Callable[[T], R], items: Sequence[T], jobs: int | None) -> Iterator[R]:
    """Yield `work` of each item, in their order, as soon as it and those before it are done.

    Args:
        work: importable by name, as are items and results.
        jobs: how many processes; None: one for each processor. 1: this one does all of it.
    """
    jobs = min(jobs or os.cpu_count() or 1, len(items))
    if jobs <= 1:
        yield from map(work, items)
        return
    size = max(1, len(items) // (jobs * _CHUNKS))
    # Not forked: what this process holds open, a store's lock or a thread, is not for children.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, context, initializer=_begin)
    try:
        futures: list[Future[list[R]]] = [
            pool.submit(_each, work, items[at : at + size]) for at in range(0, len(items), size)
        ]
        for future in futures:
            yield from future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _each(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    return [work(item) for item in items]


def _begin() -> None:
    """Prepare a worker: an interrupt is its parent's to handle."""
    tune_process()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
