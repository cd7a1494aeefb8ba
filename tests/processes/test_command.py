"""Commands, as real processes: what they print, how they end, and that nothing is left of them."""

import os
import sys
import tracemalloc
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from tests.errors import raises_code
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.settings import ShellEnvironmentPolicy
from turnlog.runtime.processes.command import CommandResult, Running, run_command
from turnlog.runtime.processes.environment import child_environment
from turnlog.runtime.processes.family import read_process
from turnlog.runtime.processes.launch import attended
from turnlog.runtime.processes.spawner import Spawner

LIMIT = 100  # seconds that a command may take where the clock jumps to its end
PATIENCE = 240  # seconds for any command: the machine may be slow
ENV = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}


@pytest.fixture
async def spawner() -> AsyncGenerator[Spawner]:
    async with Spawner() as running:
        yield running


async def run(
    spawner: Spawner,
    script: str,
    *,
    stdin: bytes = b"",
    timeout_ms: int | None = None,
    on_started: Callable[[Running], None] | None = None,
    on_output: Callable[[bytes], None] | None = None,
) -> CommandResult:
    with trio.fail_after(PATIENCE):
        return await run_command(
            spawner,
            attended(["bash", "-c", script]),
            cwd="/",
            env=ENV,
            stdin=stdin,
            timeout_ms=timeout_ms,
            on_started=on_started,
            on_output=on_output,
        )


def is_gone(pid: int) -> bool:
    return read_process(pid) is None


async def test_a_command_gives_its_exit_code_and_both_streams_in_order(spawner: Spawner) -> None:
    result = await run(spawner, "echo one; echo two >&2; echo three; exit 3")
    assert result == CommandResult(
        exit_code=3,
        output=b"one\ntwo\nthree\n",
        omitted_bytes=0,
        duration_seconds=result.duration_seconds,
        timed_out=False,
    )
    assert result.duration_seconds > 0


async def test_output_arrives_while_the_command_runs(spawner: Spawner, tmp_path: Path) -> None:
    """The command waits for a file that appears only when its first line was seen."""
    pieces: list[bytes] = []
    seen = tmp_path / "seen"

    def on_output(piece: bytes) -> None:
        pieces.append(piece)
        seen.touch()

    script = f"echo first; until test -e {seen}; do sleep 0.01; done; echo second"
    result = await run(spawner, script, on_output=on_output)
    assert pieces[0] == b"first\n"
    assert b"".join(pieces) == result.output == b"first\nsecond\n"


@pytest.mark.parametrize(("number", "code"), [("KILL", 137), ("TERM", 143), ("SEGV", 139)])
async def test_a_signal_gives_128_and_its_number(spawner: Spawner, number: str, code: int) -> None:
    assert (await run(spawner, f"kill -{number} $$")).exit_code == code


async def test_a_command_reads_nothing_unless_it_is_given_something(spawner: Spawner) -> None:
    assert (await run(spawner, "cat; echo end")).output == b"end\n"


async def test_a_large_input_is_read_whole(spawner: Spawner) -> None:
    content = bytes(range(256)) * 2048  # 512 KiB: more than a pipe holds
    assert (await run(spawner, "cat", stdin=content)).output == content


async def test_a_large_input_may_be_left_unread(spawner: Spawner) -> None:
    assert (await run(spawner, "exit 4", stdin=b"x" * 1_000_000)).exit_code == 4


async def test_100_mb_of_output_keep_memory_flat_and_both_ends(spawner: Spawner) -> None:
    tracemalloc.start()
    try:
        result = await run(spawner, "echo begin; head -c 100000000 /dev/zero; echo end")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    total = 100_000_000 + len(b"begin\nend\n")
    assert result.omitted_bytes == total - 1024 * 1024
    assert result.output.startswith(b"begin\n\0\0")
    assert result.output.endswith(b"\0\0end\n")
    assert f"\n... {result.omitted_bytes} bytes omitted ...\n".encode() in result.output
    assert peak < 8 * 1024 * 1024


async def test_a_background_child_that_holds_the_pipe_does_not_hang_the_command(
    spawner: Spawner,
) -> None:
    result = await run(spawner, "sleep 600 & echo $!")
    assert result.exit_code == 0
    assert is_gone(int(result.output))


async def test_a_background_child_that_prints_without_end_does_not_hang_the_command(
    spawner: Spawner,
) -> None:
    result = await run(spawner, "yes & true")
    assert (result.exit_code, result.timed_out) == (0, False)


async def test_what_a_background_child_prints_at_once_is_kept(spawner: Spawner) -> None:
    assert (await run(spawner, "(sleep 0.02; echo late) & echo now")).output == b"now\nlate\n"


async def test_a_quiet_background_child_is_gone_after_the_command(spawner: Spawner) -> None:
    result = await run(spawner, "setsid sleep 600 >/dev/null 2>&1 & echo $!")
    assert is_gone(int(result.output))


async def run_until_late(
    spawner: Spawner,
    script: str,
    clock: MockClock,
    on_output: Callable[[bytes], None] | None = None,
) -> CommandResult:
    """Run a script that says that it has begun; its time limit expires then, and not sooner."""

    def on_begun(piece: bytes) -> None:
        if on_output is not None:
            on_output(piece)
        if not has_begun:
            has_begun.append(True)
            clock.jump(LIMIT)

    clock.rate = 1
    has_begun: list[bool] = []
    return await run(spawner, script, timeout_ms=LIMIT * 1000, on_output=on_begun)


async def test_a_timeout_ends_the_command_and_keeps_what_it_printed(
    spawner: Spawner, mock_clock: MockClock
) -> None:
    result = await run_until_late(spawner, "echo begun; sleep 600", mock_clock)
    assert (result.exit_code, result.output, result.timed_out) == (143, b"begun\n", True)
    assert result.duration_seconds >= LIMIT


async def test_a_command_may_tidy_up_when_it_is_ended(
    spawner: Spawner, mock_clock: MockClock
) -> None:
    script = "trap 'echo tidied; exit 7' TERM; echo begun; sleep 600 & wait"
    pieces: list[bytes] = []
    result = await run_until_late(spawner, script, mock_clock, pieces.append)
    assert (result.exit_code, result.output) == (7, b"begun\ntidied\n")
    assert b"".join(pieces) == result.output


async def test_a_command_that_ignores_sigterm_is_killed(
    spawner: Spawner, mock_clock: MockClock
) -> None:
    script = "trap '' TERM; echo begun; while true; do sleep 600; done"
    result = await run_until_late(spawner, script, mock_clock)
    assert (result.exit_code, result.timed_out, result.left) == (137, True, None)


# Each prints the pids of what it started, one a line, then waits for ever.
FAMILIES = {
    "a grandchild": "bash -c 'echo $$; sleep 600 & echo $!; wait'",
    "a child with a session of its own": "setsid --fork bash -c 'echo $$; exec sleep 600'; wait",
    "an orphan in the session": "(bash -c 'echo $$; exec sleep 600' &); sleep 600",
    "an orphan with a session of its own": (
        "(setsid bash -c 'echo $$; sleep 600 & echo $!; wait' &); sleep 600"
    ),
    "an orphan with a session of its own that dropped its environment": (
        "(env -i setsid bash -c 'echo $$; exec sleep 600' &); sleep 600"
    ),
    "an orphan with a session of its own that dropped its output": (
        "(setsid bash -c 'echo $$; exec sleep 600 >/dev/null 2>&1' &); sleep 600"
    ),
    "a stopped child": "bash -c 'echo $$; kill -STOP $$' & sleep 600",
    "a child that ignores SIGTERM": (
        "bash -c 'trap \"\" TERM; echo $$; while :; do sleep 600; done'"
    ),
    "a child of its own session that dropped its environment": (
        "env -i setsid bash -c 'echo $$; exec sleep 600' & sleep 600"
    ),
}


@pytest.mark.parametrize("script", FAMILIES.values(), ids=FAMILIES.keys())
async def test_cancelling_leaves_no_survivor(spawner: Spawner, script: str) -> None:
    """By the time that the cancelled call raises, every process that was named is gone."""
    printed = bytearray()
    started: list[Running] = []
    expected_lines = script.count("echo")
    with trio.fail_after(PATIENCE), trio.CancelScope() as scope:

        def on_output(piece: bytes) -> None:
            printed.extend(piece)
            if printed.count(b"\n") == expected_lines:
                scope.cancel()

        await run(spawner, f"{script}; sleep 600", on_started=started.append, on_output=on_output)
    assert scope.cancelled_caught
    running = started[0]
    pids = [running.pid, *map(int, printed.split())]
    assert [pid for pid in pids if not is_gone(pid)] == []
    assert running.output() == bytes(printed)
    assert running.elapsed() > 0


async def test_cancelling_one_command_leaves_the_others_alone(spawner: Spawner) -> None:
    async with trio.open_nursery() as nursery:
        results: list[CommandResult] = []
        released, victim_runs = trio.Event(), trio.Event()
        read_end, write_end = os.pipe()

        async def other() -> None:
            # It ends when the pipe is closed; its orphan has a session of its own.
            script = f"setsid sleep 0.01 & cat /proc/{os.getpid()}/fd/{read_end}; echo whole"
            results.append(await run(spawner, script, on_started=lambda _: released.set()))

        nursery.start_soon(other)
        await released.wait()
        with trio.CancelScope() as scope:
            nursery.start_soon(_cancel_when, victim_runs, scope)
            await run(spawner, "echo; sleep 600", on_output=lambda _: victim_runs.set())
        os.close(write_end)
    os.close(read_end)
    assert [(result.exit_code, result.output) for result in results] == [(0, b"whole\n")]


async def _cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


async def test_an_error_of_a_callback_arrives_as_it_was_and_ends_the_command(
    spawner: Spawner,
) -> None:
    started: list[Running] = []

    def fail(piece: bytes) -> None:
        raise LookupError(piece.decode())

    with pytest.raises(LookupError, match="hi"):
        await run(spawner, "echo hi; sleep 600", on_started=started.append, on_output=fail)
    assert is_gone(started[0].pid)


async def test_descriptors_do_not_leak(spawner: Spawner) -> None:
    await run(spawner, "true")
    before = sorted(os.listdir("/proc/self/fd"))
    await run(spawner, "echo a", stdin=b"x")
    await run(spawner, "sleep 600", timeout_ms=20)
    with raises_code(ErrorCode.COMMAND_NOT_STARTED):
        await run_command(spawner, attended(["no-such-program"]), cwd="/", env=ENV)
    assert sorted(os.listdir("/proc/self/fd")) == before


async def test_a_child_gets_no_descriptor_but_the_three(spawner: Spawner) -> None:
    listing = "import os; print(*os.listdir('/proc/self/fd'))"
    result = await run_command(spawner, attended([sys.executable, "-c", listing]), cwd="/", env=ENV)
    assert result.output.split() == [b"0", b"1", b"2", b"3"]  # 3: the listing itself


async def test_a_command_does_not_get_the_engines_keys(spawner: Spawner) -> None:
    inherited = {**ENV, "OPENAI_API_KEY": "sk-engine", "GH_TOKEN": "gh-engine"}
    env = child_environment(ShellEnvironmentPolicy(inherit="all"), inherited)
    result = await run_command(spawner, attended(["env"]), cwd="/", env=env)
    names = {line.partition(b"=")[0].decode() for line in result.output.splitlines()}
    assert names == {*env, "TURNLOG_COMMAND_ID"}
    assert b"engine" not in result.output


@pytest.mark.parametrize(
    ("argv", "cwd", "said"),
    [
        (["no-such-program"], "/", "cannot run 'no-such-program': there is no such program"),
        (["/etc/passwd"], "/", "cannot run '/etc/passwd' in '/': permission denied"),
        (["true"], "/no/such/folder", "cannot run a command in '/no/such/folder': this is not an"),
        (["true"], "/etc/passwd", "cannot run a command in '/etc/passwd': this is not an existing"),
        (["true", "a\0b"], "/", "cannot run the command: embedded null byte."),
        (
            ["true", "a" * 3_000_000],
            "/",
            "cannot run the command in '/': Argument list too long (E2BIG)",
        ),
        ([], "/", "an empty command cannot be run"),
    ],
)
async def test_what_cannot_be_started_is_explained(
    spawner: Spawner, argv: list[str], cwd: str, said: str
) -> None:
    with raises_code(ErrorCode.COMMAND_NOT_STARTED) as caught:
        await run_command(spawner, attended(argv), cwd=cwd, env=ENV)
    assert str(caught.value).startswith(said)
    assert caught.value.code == "command_not_started"


async def test_a_start_in_a_cancelled_scope_still_gives_the_process(spawner: Spawner) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    with trio.CancelScope() as scope:
        scope.cancel()
        process, pidfd = await spawner.start(
            ["sleep", "600"], cwd="/", env=ENV, output=null, control=null
        )
        os.close(pidfd)
        process.kill()
        assert process.wait() == -9
    os.close(null)
    assert not scope.cancelled_caught


async def test_processes_start_only_inside_the_block() -> None:
    with pytest.raises(RuntimeError, match="inside its `async with` block"):
        await run_command(Spawner(), attended(["true"]), cwd="/", env=ENV)
