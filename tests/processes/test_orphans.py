"""What an engine that was killed has left running is found by its environment, and ended."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from turnlog.runtime.processes.family import EngineName, engine_of, read_process, this_engine
from turnlog.runtime.processes.orphans import end_orphans, orphans

# An engine that starts a command of three processes, says their pids, and waits: one has a
# session of its own, one a cleared environment.
ENGINE = """
import os, subprocess, sys, time
from turnlog.runtime.processes.family import Mark
cleared = "env -i bash -c 'echo up; exec sleep 600'"
script = f"trap '' TERM; setsid sleep 600 & {cleared} & echo $$; jobs -p; wait"
command = subprocess.Popen(["bash", "-c", script], env=Mark.make(1).put_on(os.environ),
                           stdout=subprocess.PIPE, start_new_session=True)
lines = [command.stdout.readline().decode().strip() for _ in range(4)]
print(*(line for line in lines if line != "up"), flush=True)
time.sleep(600)
"""


@contextmanager
def command(source: str = ENGINE) -> Generator[tuple["subprocess.Popen[str]", set[int]]]:
    """Run an engine with a command; nothing of them is left afterwards."""
    environ = os.environ | {"INNER": ENGINE}
    process = subprocess.Popen(
        [sys.executable, "-c", source], stdout=subprocess.PIPE, text=True, env=environ
    )
    assert process.stdout is not None
    with process:
        pids = set(map(int, process.stdout.readline().split()))
        try:
            yield process, pids
        finally:
            for pid in pids:
                if is_running(pid):
                    os.kill(pid, signal.SIGKILL)
            process.kill()


def is_running(pid: int) -> bool:
    process = read_process(pid)
    return process is not None and process.is_alive


def found(pids: set[int]) -> set[int]:
    return {process.pid for process in orphans()} & pids


async def test_the_commands_of_a_killed_engine_are_ended_and_those_of_others_are_not() -> None:
    with command() as (killed, left), command() as (_, others):
        assert len(left) == 3
        assert found(left | others) == set()
        killed.kill()
        killed.wait()
        assert found(left | others) <= left  # another engine of this machine may be ending them
        await end_orphans()
        assert {pid for pid in left | others if is_running(pid)} == others


async def test_what_an_engine_among_them_leaves_is_ended_too() -> None:
    """A command of the first engine is an engine with a command of its own, which ignores TERM."""
    outer = ENGINE.replace(
        '["bash", "-c", script]', '[sys.executable, "-c", os.environ["INNER"]]'
    ).replace("for _ in range(4)", "for _ in range(1)")
    with command(outer) as (process, left):
        assert len(left) == 3
        process.kill()
        process.wait()
        await end_orphans()
        assert not {pid for pid in left if is_running(pid)}


def test_a_command_names_the_engine_that_started_it() -> None:
    with command() as (engine, pids):
        names = {engine_of(pid) for pid in pids}
        process = read_process(engine.pid)
        assert process is not None
        name = EngineName(this_engine().namespace, engine.pid, process.started)
        assert names == {name, None}  # the one with a cleared environment has none


@pytest.mark.parametrize(
    "value", ["", "abc", "1-2", "1-2-x-4", "0b2c3d", "1-99999999-5-ab"], ids=repr
)
def test_a_name_that_is_not_of_this_machine_is_left_alone(value: str) -> None:
    environ = {**os.environ, "TURNLOG_COMMAND_ID": value}
    process = subprocess.Popen(["sleep", "600"], env=environ)
    with process:
        try:
            assert found({process.pid}) == set()
        finally:
            process.kill()
