"""`turnlog rerun` and `turnlog simulate`, as a user calls them."""

import json
from pathlib import Path

import pytest

from tests.cli.harness import User
from turnlog.runtime.scripted_model.script import Response, call

SHELL = call("exec_command", {"cmd": "cat data", "login": False})


async def recorded(user: User) -> str:
    (user.cwd / "data").write_text("old\n")
    async with user.model([SHELL], "All is well."):
        return (await user.run("exec", "--json", "Look around.")).thread


async def test_a_simulation_of_what_was_recorded_is_the_same_without_any_server(
    user: User,
) -> None:
    thread = await recorded(user)
    people = await user.run("simulate", thread[:20])
    assert (people.code, people.err) == (0, "")
    assert people.out.splitlines()[0].startswith(f"Session {thread} from event ")
    assert people.out.splitlines()[1] == "turn 1 same    Look around."
    assert people.out.endswith("The conversation is the same, byte for byte.\n")
    report = json.loads((await user.run("simulate", thread, "--json")).out)
    assert (report["same"], report["same_conversation"], report["misses"]) == (True, True, [])
    assert len((await user.run("sessions", "--json")).lines) == 1


async def test_a_file_that_changed_is_told_and_is_the_exit_code(user: User) -> None:
    thread = await recorded(user)
    (user.cwd / "data").write_text("new\n")
    outcome = await user.run("simulate", thread, "--tools", "live")
    assert outcome.code == 4
    assert "call output (1):\n      original: old\n      branch:   new\n" in outcome.out
    assert "Not in the recording: the recording holds no such request" in outcome.out
    tolerant = await user.run(
        "simulate", thread, "--tools", "live", "--tolerate", "outputs,measurements", "--json"
    )
    report = json.loads(tolerant.out)
    assert (tolerant.code, report["misses"]) == (4, [])
    assert [d["what"] for d in report["turns"][0]["differences"]] == ["call output"]


async def test_a_rerun_is_a_session_with_other_settings(user: User) -> None:
    thread = await recorded(user)
    (instructions := Path(user.root / "brief.md")).write_text("Be brief.")
    words = ("-m", "other", "--base-instructions", str(instructions), "-c", "model_verbosity=low")
    async with user.model([SHELL], "All is not well.") as server:
        outcome = await user.run("rerun", thread, *words, "--json")
        body = server.requests[0].body
    report = json.loads(outcome.out)
    assert (outcome.code, report["same"]) == (0, False)
    assert (body["model"], body["text"]["verbosity"]) == ("other", "low")
    assert body["input"][0]["content"][0]["text"] == "Be brief."
    [turn] = report["turns"]
    assert (turn["original"]["answer"], turn["branch"]["answer"]) == (
        "All is well.",
        "All is not well.",
    )
    rows = (await user.run("sessions", "--json")).lines
    assert {row["model"] for row in rows} == {"scripted", "other"}
    ids = {row["id"] for row in rows}
    assert ids == {thread, report["branch"]}


async def test_a_rerun_takes_each_setting_of_the_command_line(user: User) -> None:
    thread = await recorded(user)
    words = ("review_model=critic", "agents.max_threads=2", "undo.scan_workspace=true")
    async with user.model([SHELL], "All is well."):
        outcome = await user.run(
            "rerun", thread, *(w for word in words for w in ("-c", word)), "--json"
        )
    branch = json.loads(outcome.out)["branch"]
    [at_end] = (await user.run("show", branch, "--at", "-1", "--json")).lines
    settings = at_end["state"]["settings"]
    assert (settings["review_model"], settings["agents"]["most_running"]) == ("critic", 2)
    assert settings["scan_workspace"] is True


async def test_a_changed_prompt_misses_and_nothing_is_called(user: User) -> None:
    thread = await recorded(user)
    outcome = await user.run("rerun", thread, "--record", "model", "--prompt", "Look away.")
    assert outcome.code == 4
    assert "Not in the recording: " in outcome.out
    assert "Look around." in outcome.out.partition("recorded:")[2]
    assert "Look away." in outcome.out.partition("asked:")[2]
    assert "1 request, 0 calls, " in outcome.out
    assert outcome.out.endswith("Allow what does not matter with --tolerate or --replace.\n")


async def test_of_another_prompt_a_rerun_says_what_was_asked(user: User) -> None:
    thread = await recorded(user)
    async with user.model([SHELL], "All is well."):
        outcome = await user.run("rerun", thread, "--prompt", "Look away.")
    assert outcome.code == 0
    assert [line.strip() for line in outcome.out.splitlines()[1:5]] == [
        "turn 1 same    Look around.",
        "original  completed, 2 requests, 1 call, 200 tokens in, 20 out",
        "branch    completed, 2 requests, 1 call, 200 tokens in, 20 out",
        "asked: Look away.",
    ]


async def test_a_rerun_whose_turn_fails_leaves_as_exec_does(user: User) -> None:
    thread = await recorded(user)
    async with user.model(Response(status=500, repeat=2)):
        outcome = await user.run("rerun", thread, "--json")
    report, error = outcome.lines
    assert (outcome.code, error["type"], error["code"]) == (1, "error", "server_error")
    assert report["turns"][0]["branch"]["status"] == "failed"
    assert outcome.err.endswith(f"Error: {error['message']} [server_error]\n")


async def test_what_cannot_be_rerun_is_told(user: User) -> None:
    assert (await user.run("rerun", "x")).err.endswith("[session_not_found]\n")
    thread = await recorded(user)
    head = str(len(await user.show(thread)))
    assert (await user.run("rerun", thread, "--at", head)).err.endswith("[nothing_to_rerun]\n")
    assert (await user.run("simulate", thread, "--at", "999")).err.endswith(
        "[sequence_out_of_range]\n"
    )
    unknown = await user.run("simulate", thread, "--tolerate", "weather")
    assert (unknown.code, "there is no tolerance 'weather'" in unknown.err) == (2, True)
    wrong = await user.run("rerun", thread, "--replace", "[", "x")
    assert (wrong.code, wrong.err.startswith("Usage: turnlog rerun ")) == (2, True)


@pytest.mark.parametrize("words", [(), ("Continue, please.",)])
async def test_a_session_that_was_killed_and_continued_is_simulated(
    user: User, words: tuple[str, ...]
) -> None:
    endless = call("exec_command", {"cmd": "echo here; sleep 60", "login": False})
    async with user.model([SHELL], [endless], "All is well.", "Still.", "Still."):
        started = user.start("exec", "--json", "Look around.")
        thread = (await started.read_line())["thread_id"]
        for _ in range(2):
            await started.read_until("item.started")
        started.process.kill()
        await started.exit_code()
        assert (await user.run("exec", "resume", thread, *words)).code == 0
    report = json.loads((await user.run("simulate", thread, "--json")).out)
    assert (report["misses"], report["same_conversation"], report["same"]) == ([], True, True)
