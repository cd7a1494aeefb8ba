"""Work that is shared among processes, with its results in order."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Final, TypeVar

from turnlog.runtime.tuning import tune_process

T = TypeVar("T")
R = TypeVar("R")

_CHUNKS: Final = 8  # at least for each process, so that none waits long for the last
_CHUNK_MAX: Final = 16  # items: results come, and leaving early waits, by whole chunks


def in_processes(work: Callable[[T], R], items: Sequence[T], jobs: int | None) -> Generator[R]:
    """Yield `work` of each item, in their order, as soon as its chunk and those before it are done.

    Whoever stops asking early waits until the chunks that have begun are done.

    Args:
        work: importable by name, as are items and results.
        jobs: how many processes; None: one for each processor. 1: this one does all of it.
    """
    jobs = min(jobs or os.cpu_count() or 1, len(items))
    if jobs <= 1:
        yield from map(work, items)
        return
    size = min(max(1, len(items) // (jobs * _CHUNKS)), _CHUNK_MAX)
    # Not forked: what this process holds open, a store's lock or a thread, is not for children.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, context, initializer=_begin)
    futures: list[Future[list[R]]] = []
    try:
        with _interrupts_held():  # processes start here
            for at in range(0, len(items), size):
                futures.append(pool.submit(_each, work, items[at : at + size]))
        for future in futures:
            yield from future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _each(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    return [work(item) for item in items]


@contextmanager
def _interrupts_held() -> Generator[None]:
    """Hold an interrupt back; a process that is started meanwhile never gets one.

    A terminal interrupts all of a command's processes, and it is for the first one to handle.
    """
    resource_tracker.ensure_running()  # its start would let interrupts through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin() -> None:
    """Prepare a worker: it ends with its parent, and be that killed."""
    tune_process()
    threading.Thread(target=_end_with_parent, name="turnlog-worker-end", daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # this is a worker
    parent.join()
    os._exit(1)
