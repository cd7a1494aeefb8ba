"""What is said to a session through the process that runs it: steering, queueing, interrupting."""

import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from tests.cli.harness import Line, Outcome, Started, User
from turnlog.runtime.scripted_model.script import Item, call

WAITS: Item = call(
    "exec_command", {"cmd": "until [ -e go ]; do sleep 0.05; done; echo went", "login": False}
)
OPEN = """\
import sys, trio, turnlog
from turnlog.actors.core import session as core
from turnlog.protocol.events import OpReceived

async def main():
    async with turnlog.open_engine() as engine:
        await engine.resume(sys.argv[1])
        if "fails" in sys.argv:
            decide = core.decide
            def fails(state, fact):
                if isinstance(fact, OpReceived):
                    raise ValueError("planted")
                yield from decide(state, fact)
            core.decide = fails
        print("open", flush=True)
        await trio.sleep_forever()

trio.run(main)
"""
STEERED = "It goes with the next request to the model.\n"
QUEUED = "It waits for a turn of its own, after the one that runs.\n"


@asynccontextmanager
async def waiting(user: User) -> AsyncGenerator[tuple[Started, str]]:
    """Begin a turn whose command waits for a file; make the file, so that nothing is left."""
    started = user.start("exec", "--json", "begin")
    thread: str = (await started.read_line())["thread_id"]
    await started.read_until("item.started")
    try:
        yield started, thread
    finally:
        user.cwd.joinpath("go").touch()


def said(body: Line) -> list[str]:
    """Return what the user has said in a request."""
    return [
        item["content"][0]["text"]
        for item in body["input"]
        if item["type"] == "message" and item["role"] == "user"
    ]


async def test_a_word_from_another_terminal_goes_with_the_next_request(user: User) -> None:
    async with user.model(WAITS, "With emoji.") as server:
        async with waiting(user) as (started, thread):
            steered = await user.run("steer", thread[:-2], "use emoji 🎉")
        outcome = await started.finished()
    assert (steered.code, steered.out, steered.err) == (0, "", STEERED)
    assert outcome.code == 0
    assert said(server.requests[1].body)[-2:] == ["begin", "use emoji 🎉"]
    assert server.requests[1].body["input"][-1]["content"][0]["text"] == "use emoji 🎉"


async def test_one_that_is_queued_begins_a_turn_of_its_own(user: User) -> None:
    async with user.model(WAITS, "One.", "Two.", "Three.") as server:
        async with waiting(user) as (started, thread):
            queued = await user.run("steer", thread, "--queue", "then this")
        outcome = await started.finished()
        again = await user.run("exec", "resume", thread, "and that")
    assert (queued.code, queued.err, outcome.code, again.code) == (0, QUEUED, 0, 0)
    assert [said(one.body)[-1] for one in server.requests][2:] == ["then this", "and that"]


async def test_a_turn_can_be_interrupted_from_another_terminal(user: User) -> None:
    async with user.model(WAITS), waiting(user) as (started, thread):
        stopped = await user.run("interrupt", thread)
        outcome = await started.finished()
        events = await user.show(thread)
    assert (stopped.code, stopped.err) == (0, "The turn is being stopped.\n")
    assert outcome.code == 1
    assert [one["event"]["status"] for one in events if one["kind"] == "turn_ended"] == [
        "interrupted"
    ]


async def test_where_no_turn_runs_there_is_nothing_to_stop_and_a_word_begins_one(
    user: User,
) -> None:
    async with user.model("done", "Hello."):
        thread = (await user.run("exec", "--json", "go")).thread
        program = user.start_program(OPEN, thread)
        assert await program.read_text() == "open\n"
        stopped = await user.run("interrupt", thread)
        steered = await user.run("steer", thread, "hello")
    assert stopped == Outcome(0, "", "No turn is running, or it is being stopped already.\n")
    assert steered == Outcome(0, "", "A turn began with it.\n")


@pytest.mark.parametrize("words", [("steer", "hello"), ("interrupt",)])
async def test_what_the_session_fails_at_is_not_called_done(
    user: User, words: tuple[str, ...]
) -> None:
    name, *more = words
    async with user.model("done"):
        thread = (await user.run("exec", "--json", "go")).thread
        program = user.start_program(OPEN, thread, "fails")
        assert await program.read_text() == "open\n"
        outcome = await user.run(name, thread, *more)
        program.signal(signal.SIGKILL)
        await program.exit_code()
        assert (await user.run("delete", "--yes", thread)).code == 0
    why = "ValueError: planted"
    assert outcome == Outcome(1, "", f"Error: session {thread} failed at it: {why} [step_failed]\n")


@pytest.mark.parametrize("words", [("steer", "hello"), ("interrupt",)])
async def test_where_nobody_runs_the_session_nothing_is_left(
    user: User, words: tuple[str, ...]
) -> None:
    name, *more = words
    async with user.model("done"):
        thread = (await user.run("exec", "--json", "go")).thread
        before = await user.show(thread)
        outcome = await user.run(name, thread, *more)
        assert await user.show(thread) == before
        again = await user.run("exec", "resume", thread)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith(f"Error: no process runs session {thread}.")
    assert outcome.err.endswith("[not_running]\n")
    assert again.err.endswith("[nothing_to_continue]\n")


async def test_an_empty_word_is_refused(user: User) -> None:
    outcome = await user.run("steer", "any", " \n")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.endswith("Error: TEXT is empty.\n")
