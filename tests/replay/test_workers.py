"""Processes that share work: what a signal to them, or to their parent, does."""

import signal
from functools import partial

from turnlog.replay.workers import in_processes


def test_a_terminal_interrupts_the_parent_and_never_a_worker() -> None:
    held_back = partial(signal.pthread_sigmask, signal.SIG_BLOCK)
    # From their very start: a handler of their own would come too late.
    assert list(in_processes(held_back, [(), ()], 2)) == [{signal.SIGINT}] * 2
    assert signal.SIGINT not in held_back(())
