"""A test that hangs shows where it hangs, and one that cannot run here is counted and named."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.not_run import not_run

ROOT = Path(__file__).parents[2]
WAITS_IN_TRIO = """
import trio

async def test_it() -> None:
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waiter)
    finally:
        print("it was cleaned up")

async def waiter() -> None:
    await trio.sleep_forever()  # here
"""
WAITS_IN_A_CALL = """
import time

def test_it() -> None:
    try:
        time.sleep(60)  # here
    finally:
        print("it was cleaned up")
"""


@pytest.mark.parametrize("source", [WAITS_IN_TRIO, WAITS_IN_A_CALL], ids=["trio", "call"])
def test_a_test_that_hangs_is_ended_and_shows_where(source: str, tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\ntrio_mode = true\n")
    (tmp_path / "test_hanging.py").write_text(source)
    words = ["-p", "tests.limits", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    environ = {**os.environ, "TURNLOG_TEST_SECONDS": "0.5", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, "-c", "pytest.ini", "test_hanging.py"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        timeout=60,
        check=False,
    )
    shown = done.stdout.decode()
    assert done.returncode == 1, shown
    line = source.splitlines().index(next(x for x in source.splitlines() if "# here" in x)) + 1
    assert "test_hanging.py::test_it has not ended within 0.5 s. The main thread:" in shown
    assert f'test_hanging.py", line {line}' in shown
    assert "it was cleaned up" in shown


def test_each_reason_is_told_once_with_the_tests_that_it_kept_from_running() -> None:
    skipped = [
        ("tests/test_a.py::test_one[bubblewrap]", "bwrap is not installed"),
        ("tests/test_a.py::test_one[again]", "bwrap is not installed"),
        ("tests/test_b.py::test_two", "needs the right to mount"),
        ("tests/test_a.py::test_three", "bwrap is not installed"),
    ]
    assert not_run(skipped) == [
        "NOT RUN: 3 tests: bwrap is not installed",
        "  tests/test_a.py::test_one (2 cases)",
        "  tests/test_a.py::test_three",
        "NOT RUN: 1 test: needs the right to mount",
        "  tests/test_b.py::test_two",
    ]
    assert not_run([]) == []
