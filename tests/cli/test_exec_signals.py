"""Stopping: Ctrl-C once and twice, SIGTERM, and a reader of stdout that goes away."""

import signal
import subprocess

import pytest
import trio

from tests.cli.harness import TURNLOG, Line, Pipe, Started, User, is_running
from turnlog.runtime.scripted_model.script import Item, call

READING = "Reading additional input from stdin...\n"


def shell(command: str) -> list[Item]:
    return [call("exec_command", {"cmd": command, "login": False})]


def sleeper(pipe: Pipe) -> list[Item]:
    return shell(f"{pipe.writes_pid}; exec sleep 600")


def stubborn(pipe: Pipe) -> list[Item]:
    return shell(f"trap '' TERM HUP; {pipe.writes_pid}; while :; do sleep 600; done")


async def running(user: User, pipe: Pipe) -> tuple[Started, str, int]:
    """Start a run; return it, its thread and the pid of its command once that runs."""
    started = user.start("exec", "--json", "go")
    thread: str = (await started.read_line())["thread_id"]
    return started, thread, await pipe.read_pid()


def ends(events: list[Line]) -> list[str]:
    return [e["event"]["status"] for e in events if e["kind"] == "turn_ended"]


async def kinds_until(follower: Started, last: str) -> list[str]:
    """Return the kinds of the events that are shown up to the first one of kind `last`."""
    seen: list[str] = []
    while last not in seen:
        seen.append((await follower.read_line())["kind"])
    return seen


async def test_one_ctrl_c_interrupts_the_turn_and_closes_the_session(user: User) -> None:
    pipe = user.pipe()
    async with user.model(sleeper(pipe)):
        started, thread, pid = await running(user, pipe)
        started.signal(signal.SIGINT)
        outcome = await started.finished()
        events = await user.show(thread)
    assert (outcome.code, is_running(pid)) == (130, False)
    assert [line["type"] for line in outcome.lines] == ["turn.started", "item.started"]
    assert "Interrupting the turn. Ctrl-C again leaves at once." in outcome.err
    assert (ends(events), events[-1]["kind"]) == (["interrupted"], "session_closed")


async def test_the_second_ctrl_c_leaves_at_once_and_leaves_no_process(user: User) -> None:
    pipe = user.pipe()
    much = shell("head -c 900000 /dev/zero | tr '\\0' x")  # fills stdout, which nobody reads
    async with user.model(much, stubborn(pipe)):
        started, thread, pid = await running(user, pipe)
        started.signal(signal.SIGINT)
        while "Interrupting" not in await started.read_note():
            pass
        started.signal(signal.SIGINT)
        assert (await started.exit_code(), is_running(pid)) == (130, False)
        continued = await user.run("show", thread, "--json", "--limit", "1")
    assert continued.code == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
async def test_a_signal_to_end_stops_the_turn_and_its_processes(
    user: User, number: int, code: int
) -> None:
    pipe = user.pipe()
    async with user.model(stubborn(pipe)):
        started, thread, pid = await running(user, pipe)
        started.signal(number)
        assert (await started.exit_code(), is_running(pid)) == (code, False)
        assert ends(await user.show(thread)) == ["interrupted"]


async def test_a_run_ends_quietly_when_nobody_reads_its_output(user: User) -> None:
    async with user.model(shell("sleep 0.2"), "done"):
        started = user.start("exec", "--json", "go")
        await started.read_line()
        assert started.process.stdout is not None
        started.process.stdout.close()
        assert started.process.stderr is not None
        said = (await trio.to_thread.run_sync(started.process.stderr.read)).decode()
        assert (await started.exit_code(), said) == (1, READING)


async def test_a_timeline_ends_quietly_when_nobody_reads_it(user: User) -> None:
    async with user.model("done", loop=True):
        thread = (await user.run("exec", "--json", "go")).thread
    command = f"{' '.join(TURNLOG)} show {thread} --json --limit 3 | head -n 1"
    done = await trio.run_process(
        ["/bin/sh", "-c", command],
        stdin=subprocess.DEVNULL,
        capture_stdout=True,
        capture_stderr=True,
        env=user.environment(),
    )
    assert (len(done.stdout.splitlines()), done.stderr) == (1, b"")


async def test_following_shows_what_another_process_writes_until_ctrl_c(user: User) -> None:
    pipe = user.pipe()
    async with user.model(sleeper(pipe)):
        started, thread, _ = await running(user, pipe)
        follower = user.start("show", thread, "--json", "--follow")
        seen = await kinds_until(follower, "tool_started")
        started.signal(signal.SIGTERM)
        seen += await kinds_until(follower, "session_closed")
        await started.finished()
        follower.signal(signal.SIGINT)
        outcome = await follower.finished()
        assert [e["kind"] for e in await user.show(thread)] == seen
    assert (outcome.code, outcome.out, outcome.err) == (130, "", "\n")


async def test_a_hundred_megabytes_of_output_are_kept_within_bounds(user: User) -> None:
    flood = "head -c 100000000 /dev/zero | tr '\\0' x"
    async with user.model(shell(flood), "done"):
        done = await trio.run_process(
            ["/usr/bin/env", "python3", "-c", PEAK, *TURNLOG, "exec", "--json", "go"],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            cwd=user.cwd,
            env=user.environment(),
        )
    assert done.returncode == 0
    assert len(done.stdout) < 2 << 20
    assert b"bytes omitted" in done.stdout
    assert int(done.stderr.split()[-1]) < 250_000  # KiB


PEAK = """\
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""
