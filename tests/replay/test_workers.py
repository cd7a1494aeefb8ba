"""Processes that share work: when results come, and what a signal to them does."""

import os
import signal
import threading
from functools import partial
from pathlib import Path

from turnlog.replay.verify.workers import in_processes


def test_results_come_by_chunks_of_at_most_16(tmp_path: Path) -> None:
    plain, pipe = tmp_path / "plain", tmp_path / "pipe"
    plain.write_bytes(b"plain")
    os.mkfifo(pipe)
    paths = [plain] * 20 + [pipe] + [plain] * 579
    too_late = threading.Timer(60, pipe.write_bytes, (b"late",))
    too_late.start()
    results = in_processes(Path.read_bytes, paths, 2)
    first = [next(results) for _ in range(16)]
    assert too_late.is_alive()
    too_late.cancel()
    pipe.write_bytes(b"piped")
    assert [*first, *results] == [b"plain"] * 20 + [b"piped"] + [b"plain"] * 579


def test_a_terminal_interrupts_the_parent_and_never_a_worker() -> None:
    held_back = partial(signal.pthread_sigmask, signal.SIG_BLOCK)
    # From their very start: a handler of their own would come too late.
    assert list(in_processes(held_back, [(), ()], 2)) == [{signal.SIGINT}] * 2
    assert signal.SIGINT not in held_back(())
