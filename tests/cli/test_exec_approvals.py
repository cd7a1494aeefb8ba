"""`turnlog exec` that asks: each policy, kill -9 around an answer, nobody answers, its stream."""

import signal

import pytest

from tests.cli.asks import asked, outputs, outside, questions
from tests.cli.harness import Line, User
from turnlog.runtime.scripted_model.script import Response, call, message

ONCE = "echo ran >> log"
PARK = ("-c", "approval_timeout_ms=200", "-c", "unanswered.command=park")


def kinds(events: list[Line]) -> list[str]:
    return [event["kind"] for event in events]


async def killed_while_it_asks(user: User) -> tuple[str, str]:
    """Run until a question is open, and kill -9 the engine; return the session and the question."""
    started = user.start("exec", "--json", "-a", "on-request", "go")
    thread: str = (await started.read_line())["thread_id"]
    (question,) = await asked(started)
    started.signal(signal.SIGKILL)
    await started.exit_code()
    return thread, question


async def test_without_a_policy_nothing_is_asked(user: User) -> None:
    async with user.model([outside("touch made")], "Then not.") as server:
        outcome = await user.run("exec", "--json", "go")
        (told,) = outputs(server.requests[1].body)
    assert (outcome.code, (user.cwd / "made").exists()) == (0, False)
    assert "never" in told


async def test_on_request_asks_for_what_wants_out_only(user: User) -> None:
    inside = call("exec_command", {"cmd": "echo in", "login": False})
    async with user.model([inside, outside(ONCE)], "Done."):
        started = user.start("exec", "-a", "on-request", "go")
        (question,) = await asked(started)
        assert len(await questions(user)) == 1
        await user.run("approve", question)
        outcome = await started.finished()
    assert (outcome.code, outcome.out) == (0, "Done.\n")
    assert "Answered: approved.\n" in outcome.err
    assert (user.cwd / "log").read_text() == "ran\n"


async def test_untrusted_asks_for_each_command(user: User) -> None:
    async with user.model([call("exec_command", {"cmd": ONCE, "login": False})], "Done."):
        started = user.start("exec", "-a", "untrusted", "go")
        (question,) = await asked(started)
        (listed,) = await questions(user)
        await user.run("approve", question)
        assert (await started.finished()).code == 0
    assert (listed["outside"], listed["denied"]) == (False, False)
    assert (user.cwd / "log").read_text() == "ran\n"


async def test_on_failure_asks_once_the_sandbox_has_stopped_a_command(user: User) -> None:
    async with user.model([call("exec_command", {"cmd": ONCE, "login": False})], "Done."):
        started = user.start("exec", "-a", "on-failure", "-s", "read-only", "go")
        (question,) = await asked(started)
        (listed,) = await questions(user)
        shown = await user.run("approvals")
        await user.run("approve", question)
        assert (await started.finished()).code == 0
    assert (listed["outside"], listed["denied"]) == (True, True)
    assert "its sandbox seems to have stopped exec_command; again, without one?" in shown.out
    assert (user.cwd / "log").read_text() == "ran\n"


@pytest.mark.parametrize("flag", [None, "--decline", "--session"])
async def test_an_answer_to_a_killed_run_is_taken_when_it_is_resumed(
    user: User, flag: str | None
) -> None:
    async with user.model([outside(ONCE)], "Done.") as server:
        thread, question = await killed_while_it_asks(user)
        answered = await user.run("approve", question, *([flag] if flag else []))
        outcome = await user.run("exec", "--json", "resume", thread)
        events = await user.show(thread)
        (told,) = outputs(server.requests[1].body)
        assert await questions(user) == []
        assert len(server.requests) == 2
    assert (answered.code, outcome.code) == (0, 0)
    assert [line["type"] for line in outcome.lines].count("turn.completed") == 1
    declined = flag == "--decline"
    assert (user.cwd / "log").exists() != declined
    assert (told == "rejected by user") == declined
    assert kinds(events).count("tool_started") == (0 if declined else 1)
    assert kinds(events).count("turn_opened") == 1
    ids = {e["event"]["question"] for e in events if e["kind"] == "approval_asked"}
    assert ids == {question}


async def test_a_killed_run_asks_again_and_can_be_answered_then(user: User) -> None:
    async with user.model([outside(ONCE)], "Done."):
        thread, question = await killed_while_it_asks(user)
        resumed = user.start("exec", "--json", "resume", thread)
        assert await asked(resumed) == [question]
        assert (await user.run("approve", thread)).code == 0
        outcome = await resumed.finished()
    assert (outcome.code, (user.cwd / "log").read_text()) == (0, "ran\n")


async def test_a_kill_after_the_answer_runs_nothing_twice(user: User) -> None:
    pipe = user.pipe()
    command = f"{ONCE}; {pipe.writes_pid}; exec sleep 600"
    async with user.model([outside(command)], "It was stopped.") as server:
        started = user.start("exec", "--json", "-a", "on-request", "go")
        thread = (await started.read_line())["thread_id"]
        (question,) = await asked(started)
        await user.run("approve", question)
        pid = await pipe.read_pid()
        started.signal(signal.SIGKILL)
        await started.exit_code()
        again = await user.run("approve", question)
        outcome = await user.run("exec", "resume", thread)
        (told,) = outputs(server.requests[1].body)
    assert pid
    assert (again.code, outcome.code, outcome.out) == (1, 0, "It was stopped.\n")
    assert again.err.endswith("[question_not_found]\n")
    assert (user.cwd / "log").read_text() == "ran\n"
    assert "stopped while it was running" in told


async def test_an_agents_question_survives_the_kill_of_all(user: User) -> None:
    agent = call("spawn_agent", {"message": "AGENT, dig"})
    async with user.model(
        [agent],
        "Waiting.",
        "It dug.",
        Response(items=[outside(ONCE)], only_for="AGENT"),
        Response(items=[message("Dug.")], only_for="AGENT"),
    ):
        thread, question = await killed_while_it_asks(user)
        answered = await user.run("approve", question)
        outcome = await user.run("exec", "--json", "resume", thread)
        assert await questions(user) == []
        (child,) = (await user.run("show", "--tree", "--json", thread)).lines[1:]
        events = await user.show(child["id"])
    assert answered.code == 0
    assert f"Nobody runs session {child['id']}, so the answer waits." in answered.err
    assert f"`turnlog exec resume {thread}` continues it." in answered.err
    assert (outcome.code, (user.cwd / "log").read_text()) == (0, "ran\n")
    assert kinds(events).count("tool_started") == 1
    said = [line["item"]["text"] for line in outcome.lines if line["type"] == "item.completed"]
    assert said[-1] == "It dug."


async def test_looking_after_a_killed_session_takes_its_answer_along(user: User) -> None:
    async with user.model([outside(ONCE)], "Done."):
        thread, question = await killed_while_it_asks(user)
        await user.run("approve", question)
        assert (await user.run("name", thread, "waits")).code == 0
        assert await questions(user) == []
        assert not (user.cwd / "log").exists()
        again = await user.run("approve", question)
        outcome = await user.run("exec", "resume", thread)
    assert again.err.endswith("[question_not_found]\n")
    assert (outcome.code, outcome.out) == (0, "Done.\n")
    assert (user.cwd / "log").read_text() == "ran\n"


async def test_a_parked_session_says_how_to_continue_and_does(user: User) -> None:
    async with user.model([outside(ONCE)], "Done."):
        parked = await user.run("exec", "--json", "-a", "on-request", *PARK, "go")
        thread = parked.thread
        (listed,) = await questions(user)
        named = await user.run("name", thread, "waits")
        (still,) = await questions(user)
        shown = await user.run("approvals")
        answered = await user.run("approve", listed["id"])
        outcome = await user.run("exec", "--json", "resume", thread)
        events = await user.show(thread)
    assert parked.code == 1
    assert f"session {thread} waits, closed. `turnlog approvals` lists its questions" in parked.err
    assert f"`turnlog exec resume {thread}` continues it. [parked]\n" in parked.err
    assert (parked.lines[-1]["type"], parked.lines[-1]["code"]) == ("error", "parked")
    assert "turn.failed" not in parked.out
    assert (listed["parked"], named.code) == (True, 0)
    assert still == listed
    assert "parked: resume the session once it is answered" in shown.out
    assert f"`turnlog exec resume {thread}` continues it." in answered.err
    assert (outcome.code, (user.cwd / "log").read_text()) == (0, "ran\n")
    assert kinds(events).count("turn_opened") == 1


async def test_all_questions_of_a_parked_session_are_listed_as_parked(user: User) -> None:
    async with user.model([outside("touch one"), outside("touch two")]):
        assert (await user.run("exec", "-a", "on-request", *PARK, "go")).code == 1
        listed = await questions(user)
    assert [question["parked"] for question in listed] == [True, True]


async def test_by_default_a_question_that_nobody_answers_in_time_is_declined(user: User) -> None:
    async with user.model([outside(ONCE)], "Then not.") as server:
        outcome = await user.run("exec", "-a", "on-request", "-c", "approval_timeout_ms=200", "go")
        (told,) = outputs(server.requests[1].body)
    assert (outcome.code, outcome.out, (user.cwd / "log").exists()) == (0, "Then not.\n", False)
    assert told


async def test_an_ephemeral_session_cannot_ask(user: User) -> None:
    outcome = await user.run("exec", "--ephemeral", "-a", "untrusted", "go")
    assert (outcome.code, outcome.out) == (2, "")
    assert "leave out -a" in outcome.err
