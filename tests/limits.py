"""A time limit for each test. One that exceeds it fails, and shows where it hangs.

The stack of a thread that runs trio says nothing of the tasks that wait, so the tasks are shown
too, each with its stack. The work of the test is then cancelled, so that what it started is ended
as its fixtures say. Where not even a signal handler runs any more, pytest's `faulthandler_timeout`
(pyproject.toml) ends the process a little later.
"""

import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Generator, Iterator
from types import FrameType
from typing import Final

import pytest
import trio
from trio.lowlevel import Task

# The longest test takes a tenth of this on a machine that does nothing else. 0: no limit.
SECONDS: Final = float(os.environ.get("TURNLOG_TEST_SECONDS", "300"))
_GRACE: Final = 30.0  # seconds for the fixtures, once the test was cancelled
_FRAMES: Final = 12  # of a thread's stack, the innermost ones; what is around them is pytest
_REPORT = pytest.StashKey[str]()


class TestTookTooLong(Exception):
    """A test had not ended within its limit."""

    __test__ = False  # it is no test


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Limit one test, with its fixtures."""

    def expired(number: int, frame: FrameType | None) -> None:
        item.stash[_REPORT] = describe_hang(item.nodeid, frame)
        signal.setitimer(signal.ITIMER_REAL, _GRACE)
        if not _cancel_trio():
            raise TestTookTooLong(f"not ended within {SECONDS:g} s")

    before = signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let a test that was cancelled fail, with the report in place of the cancellation."""
    report = yield
    if (hang := item.stash.get(_REPORT, None)) is not None and call.when != "teardown":
        report.outcome = "failed"
        report.longrepr = hang
    return report


def describe_hang(test: str, frame: FrameType | None) -> str:
    """Return what was running: the main thread, all other threads, and trio's tasks."""
    text = io.StringIO()
    print(f"{test} has not ended within {SECONDS:g} s. The main thread:", file=text)
    traceback.print_stack(frame, limit=_FRAMES, file=text)
    main = threading.main_thread().ident
    frames = sys._current_frames()  # pyright: ignore[reportPrivateUsage] - its documented name
    for number, other in frames.items():
        if number != main:
            print(f"Thread {number}:", file=text)
            traceback.print_stack(other, limit=_FRAMES, file=text)
    for task in _tasks():
        print(f"Task {task.name}:", file=text)
        for entry, line in task.iter_await_frames():
            print(f'  File "{entry.f_code.co_filename}", line {line}', file=text)
    return text.getvalue()


def _tasks() -> Iterator[Task]:
    try:
        root = trio.lowlevel.current_root_task()
    except RuntimeError:  # trio does not run
        return
    waiting = [root] if root is not None else []
    while waiting:
        yield (task := waiting.pop())
        for nursery in task.child_nurseries:
            waiting += nursery.child_tasks


def _cancel_trio() -> bool:
    """Cancel what the main task of trio runs; say whether trio runs at all."""
    try:
        token = trio.lowlevel.current_trio_token()
    except RuntimeError:
        return False
    token.run_sync_soon(_cancel_all)
    return True


def _cancel_all() -> None:
    root = trio.lowlevel.current_root_task()
    assert root is not None, "trio runs this"
    for task in (task for nursery in root.child_nurseries for task in nursery.child_tasks):
        for nursery in task.child_nurseries:
            nursery.cancel_scope.cancel()
