"""`turnlog approvals` and `turnlog approve`, from another process than the one that asks."""

import signal

from tests.cli.asks import asked, outputs, outside, questions
from tests.cli.harness import Line, User
from turnlog.runtime.scripted_model.script import Response, call, message

ASK = ("exec", "--json", "-a", "on-request", "go")


def kinds(events: list[Line]) -> list[str]:
    return [event["kind"] for event in events]


async def test_several_open_questions_are_listed_the_oldest_first(user: User) -> None:
    calls = [outside("echo 1 >> one", justification="To count."), outside("echo 2 >> two")]
    async with user.model(calls, "Both ran."):
        started = user.start(*ASK)
        thread = (await started.read_line())["thread_id"]
        first, second = await asked(started, 2)
        shown = await user.run("approvals")
        listed = await questions(user)
        for question in (first, second):
            done = await user.run("approve", question)
            assert (done.code, done.out) == (0, "")
        outcome = await started.finished()
        after = await user.run("approvals")
    expected: Line = {
        "id": first,
        "session": thread,
        "tool": "exec_command",
        "outside": True,
        "denied": False,
        "what": "/bin/bash -c 'echo 1 >> one'",
        "cwd": str(user.cwd),
        "reason": "To count.",
        "parked": False,
        "spawned_by": None,
        "changed": [],
        "answer": None,
    }
    more = {"id": second, "what": "/bin/bash -c 'echo 2 >> two'", "reason": None}
    assert listed == [expected, {**expected, **more}]
    assert shown.out.splitlines() == [
        f"{first}  may exec_command do this outside of the sandbox?",
        "    /bin/bash -c 'echo 1 >> one'",
        f"  in {user.cwd}",
        "  the model says: To count.",
        f"  session {thread}",
        f"{second}  may exec_command do this outside of the sandbox?",
        "    /bin/bash -c 'echo 2 >> two'",
        f"  in {user.cwd}",
        f"  session {thread}",
    ]
    assert (outcome.code, outcome.lines[-1]["type"]) == (0, "turn.completed")
    assert (user.cwd / "one").read_text() + (user.cwd / "two").read_text() == "1\n2\n"
    assert (after.code, after.out, after.err) == (0, "", "No question is open.\n")


async def test_questions_of_one_moment_are_listed_in_the_order_of_their_calls(user: User) -> None:
    commands = [f"echo {number}" for number in range(8)]
    async with user.model([outside(command) for command in commands]):
        started = user.start(*ASK)
        told = await asked(started, len(commands))
        listed = await questions(user)
        started.signal(signal.SIGTERM)
        await started.finished()
    assert [question["what"] for question in listed] == [f"/bin/bash -c '{c}'" for c in commands]
    assert [question["id"] for question in listed] == told


async def test_a_command_that_is_asked_about_is_shown_whole_and_does_nothing_to_the_terminal(
    user: User,
) -> None:
    command = f"echo {'x' * 300}; \033[2Jecho\nrm -rf everything"
    async with user.model([outside(command)], "Well."):
        started = user.start(*ASK)
        await asked(started)
        shown = await user.run("approvals")
        await user.run("approve", (await questions(user))[0]["id"], "--decline")
        await started.finished()
    assert "x" * 300 in shown.out
    assert "rm -rf everything" in shown.out
    assert "\033" not in shown.out


async def test_declining_tells_the_model_and_the_turn_continues(user: User) -> None:
    async with user.model([outside("touch made")], "Then not.") as server:
        started = user.start(*ASK)
        (question,) = await asked(started)
        done = await user.run("approve", question[:-3], "--decline")
        outcome = await started.finished()
        told = outputs(server.requests[1].body)
    assert (done.code, done.out) == (0, "")
    assert done.err == "Declined: /bin/bash -c 'touch made'\n"
    assert told == ["rejected by user"]
    assert (outcome.code, (user.cwd / "made").exists()) == (0, False)


async def test_aborting_stops_the_turn(user: User) -> None:
    async with user.model([outside("touch made")]) as server:
        started = user.start(*ASK)
        (question,) = await asked(started)
        done = await user.run("approve", question, "--abort")
        outcome = await started.finished()
        assert len(server.requests) == 1
    assert (done.code, outcome.code, (user.cwd / "made").exists()) == (0, 1, False)
    assert outcome.err.endswith("Error: the turn was interrupted [interrupted]\n")


async def test_an_answer_for_the_session_answers_the_same_question_for_good(user: User) -> None:
    async with user.model(
        [outside("echo 1 >> log"), outside("echo 1 >> log")], [outside("echo 1 >> log")], "Thrice."
    ):
        started = user.start(*ASK)
        thread = (await started.read_line())["thread_id"]
        first, _ = await asked(started, 2)
        done = await user.run("approve", first, "--session")
        outcome = await started.finished()
        events = await user.show(thread)
    assert (done.code, outcome.code) == (0, 0)
    assert (user.cwd / "log").read_text() == "1\n1\n1\n"
    assert kinds(events).count("approval_asked") == 2


async def test_the_name_of_a_session_means_its_only_question(user: User) -> None:
    async with user.model([outside("touch one"), outside("touch two")], "Well."):
        started = user.start(*ASK)
        thread = (await started.read_line())["thread_id"]
        first, second = await asked(started, 2)
        unclear = await user.run("approve", thread)
        assert (await user.run("approve", first)).code == 0
        assert (await user.run("approve", thread[:-2])).code == 0
        outcome = await started.finished()
    assert (unclear.code, unclear.out) == (1, "")
    assert f"'{thread}' may be one of 2 questions; say which:" in unclear.err
    assert f"  {first}  /bin/bash -c 'touch one'\n  {second}  " in unclear.err
    assert unclear.err.endswith("[ambiguous_question]\n")
    assert outcome.code == 0


async def test_a_question_is_answered_once(user: User) -> None:
    async with user.model([outside("echo 1 >> log")], [outside("touch more")], "Done."):
        started = user.start(*ASK)
        (question,) = await asked(started)
        assert (await user.run("approve", question)).code == 0
        (other,) = await asked(started)
        again = await user.run("approve", question, "--decline")
        assert (await user.run("approve", other)).code == 0
        outcome = await started.finished()
    assert (again.code, again.out) == (1, "")
    assert "it may have been answered already" in again.err
    assert again.err.endswith("[question_not_found]\n")
    assert (outcome.code, (user.cwd / "log").read_text()) == (0, "1\n")


async def test_two_answers_at_once_are_one_answer_and_one_error(user: User) -> None:
    async with user.model([outside("echo 1 >> log")], "Done."):
        started = user.start(*ASK)
        (question,) = await asked(started)
        both = [user.start("approve", question), user.start("approve", question)]
        outcomes = [await one.finished() for one in both]
        assert (await started.finished()).code == 0
    assert sorted(outcome.code for outcome in outcomes) == [0, 1]
    assert (user.cwd / "log").read_text() == "1\n"


async def test_wrong_words_are_told(user: User) -> None:
    assert (await user.run("approvals")).err == "No question is open.\n"
    assert (await user.run("approvals", "--json")).out == ""
    for wanted in ("x", ""):
        outcome = await user.run("approve", wanted)
        assert (outcome.code, outcome.out) == (1, "")
        assert outcome.err.endswith("[question_not_found]\n")
    wrong = ("", "x --decline --abort", "x --session --decline", "x -y", "x y")
    for words in wrong:
        outcome = await user.run("approve", *words.split())
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err.startswith("Usage: turnlog approve ")
    assert not list(user.home.iterdir())


async def test_an_agents_question_is_told_listed_and_answered(user: User) -> None:
    agent = call("spawn_agent", {"message": "AGENT, dig", "nickname": "digger"})
    async with user.model(
        [agent],
        "Waiting.",
        "It dug.",
        Response(items=[outside("touch dug")], only_for="AGENT"),
        Response(items=[message("Dug.")], only_for="AGENT"),
    ):
        started = user.start(*ASK)
        thread = (await started.read_line())["thread_id"]
        (question,) = await asked(started)
        (listed,) = await questions(user)
        shown = await user.run("approvals")
        done = await user.run("approve", listed["session"])
        outcome = await started.finished()
    assert (listed["id"], listed["spawned_by"]) == (question, thread)
    assert listed["session"] != thread
    assert f"  session {listed['session']}, an agent of {thread}\n" in shown.out
    assert (done.code, outcome.code, (user.cwd / "dug").exists()) == (0, 0, True)
    said = [line["item"]["text"] for line in outcome.lines if line["type"] == "item.completed"]
    assert said[-1] == "It dug."
    assert "Dug." not in outcome.out
    assert "command_execution" not in outcome.out


async def test_a_question_of_a_session_that_is_killed_is_still_listed(user: User) -> None:
    async with user.model([outside("touch made")]):
        started = user.start(*ASK)
        thread = (await started.read_line())["thread_id"]
        (question,) = await asked(started)
        started.signal(signal.SIGKILL)
        await started.exit_code()
        (listed,) = await questions(user)
        done = await user.run("approve", question)
        (answered,) = await questions(user)
        shown = await user.run("approvals")
        again = await user.run("approve", question, "--decline")
    assert (listed["id"], listed["answer"], listed["parked"]) == (question, None, False)
    assert done.code == 0
    assert f"Nobody runs session {thread}, so the answer waits. " in done.err
    assert f"`turnlog exec resume {thread}` continues it." in done.err
    assert answered == {**listed, "answer": "approved"}
    assert "answered (approved): taken once the session is resumed" in shown.out
    assert (again.code, again.out) == (1, "")
    assert again.err.endswith("[question_answered]\n")
