"""Stopping what is done to a session: Ctrl-C once and twice, and a signal to end."""

import signal

import pytest

from tests.cli.harness import Outcome, User, is_running
from turnlog.runtime.scripted_model.script import Response, message

STOPPING = "Stopping. Ctrl-C again leaves at once.\n"

LIBRARY = """\
import sys, trio, turnlog
from turnlog.protocol.ops import RunUserShellCommand

async def main():
    async with turnlog.open_engine() as engine:
        session = await engine.resume(sys.argv[1])
        await session.submit(RunUserShellCommand(sys.argv[2]))
        await trio.sleep_forever()

trio.run(main)
"""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
async def test_a_signal_stops_a_command_of_ones_own_and_closes_the_session(
    user: User, number: int, code: int
) -> None:
    pipe = user.pipe()
    async with user.model("done"):
        thread = (await user.run("exec", "--json", "go")).thread
        started = user.start("shell", thread, f"{pipe.writes_pid}; exec sleep 600")
        pid = await pipe.read_pid()
        started.signal(number)
        assert await started.finished() == Outcome(code, "", STOPPING)
        events = await user.show(thread)
    assert not is_running(pid)
    assert events[-2]["event"]["status"] == "interrupted"
    assert events[-1]["kind"] == "session_closed"


async def test_the_second_ctrl_c_leaves_a_command_of_ones_own_at_once(user: User) -> None:
    pipe = user.pipe()
    stubborn = f"trap '' INT TERM HUP; {pipe.writes_pid}; while :; do sleep 600; done"
    async with user.model("done"):
        thread = (await user.run("exec", "--json", "go")).thread
        started = user.start("shell", thread, stubborn)
        pid = await pipe.read_pid()
        started.signal(signal.SIGINT)
        assert await started.read_note() == STOPPING
        started.signal(signal.SIGINT)
        assert await started.finished() == Outcome(130, "", "")
    assert not is_running(pid)


async def test_a_compaction_is_stopped_by_ctrl_c(user: User) -> None:
    stalls = Response(items=[message("a summary that stalls")], compaction=True, stall_after=4)
    async with user.model("word " * 400, stalls) as model:
        thread = (await user.run("exec", "--json", "go")).thread
        started = user.start("compact", thread)
        await model.wait_request(2)
        started.signal(signal.SIGINT)
        assert await started.finished() == Outcome(130, "", STOPPING)


async def test_a_second_keyboard_interrupt_does_not_leave_an_engine_hanging(user: User) -> None:
    pipe = user.pipe()
    stubborn = f"trap '' INT TERM HUP; {pipe.writes_pid}; while :; do sleep 600; done"
    async with user.model("done"):
        thread = (await user.run("exec", "--json", "go")).thread
        program = user.start_program(LIBRARY, thread, stubborn)
        pid = await pipe.read_pid()
        follower = user.start("show", thread, "--json", "--follow")
        program.signal(signal.SIGINT)
        while (await follower.read_line())["kind"] != "turn_stopping":
            pass
        program.signal(signal.SIGINT)
        outcome = await program.finished()
    assert "KeyboardInterrupt" in outcome.err
    assert not is_running(pid)
