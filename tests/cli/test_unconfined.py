"""Where commands cannot be confined the person is told, before the model is asked and after."""

import json
from pathlib import Path

import pytest

from tests.cli.harness import Outcome, User
from tests.surroundings.without import LANDLOCK, NAMESPACES
from turnlog.runtime.scripted_model.script import Item, call, custom

LOOK: Item = call("exec_command", {"cmd": "ls", "login": False})
PATCH: Item = custom("apply_patch", "*** Begin Patch\n*** Add File: new\n+text\n*** End Patch")
EXPECTED = "commands cannot be confined here, and will be refused: "
WRITE = ("--sandbox", "workspace-write")


async def run(user: User, *words: str) -> Outcome:
    """Run a command on a machine where no sandbox works."""
    return await user.run_program(user.program(*words)._replace(without=(LANDLOCK, NAMESPACES)))


async def test_a_person_is_warned_before_the_first_request_and_told_at_the_end(user: User) -> None:
    async with user.model([LOOK, PATCH], "All done."):
        outcome = await run(user, "exec", *WRITE, "look")
    lines, last = outcome.err.splitlines(), outcome.err.splitlines()[-1]
    warned = lines[lines.index("--------", 3) + 1]
    assert warned.startswith(f"Warning: {EXPECTED}")
    assert "landlock is missing" in warned
    assert warned.endswith("(`turnlog doctor` tells more)")
    assert "exec_command failed: " in outcome.err
    assert "apply_patch failed: " in outcome.err
    assert last.startswith("Error: all 2 commands of this run could not be confined here")
    assert last.endswith("[sandbox_unavailable]")
    assert (outcome.code, outcome.out) == (3, "All done.\n")
    assert list(user.cwd.iterdir()) == []


async def test_the_warning_is_an_item_that_comes_before_the_turn(user: User) -> None:
    async with user.model([LOOK], "All done."):
        outcome = await run(user, "exec", "--json", *WRITE, "look")
    kinds = [line["type"] for line in outcome.lines]
    assert kinds[:3] == ["thread.started", "item.completed", "turn.started"]
    item = outcome.lines[1]["item"]
    assert (item["id"], item["type"]) == ("item_0", "error")
    assert item["message"].startswith(EXPECTED)
    assert outcome.code == 3


async def test_a_run_without_commands_is_warned_all_the_same_and_succeeds(user: User) -> None:
    async with user.model("Nothing to do."):
        outcome = await run(user, "exec", *WRITE, "look")
    assert (outcome.code, outcome.out) == (0, "Nothing to do.\n")
    assert outcome.err.count(f"Warning: {EXPECTED}") == 1


async def test_without_a_sandbox_that_was_asked_for_nobody_is_warned(user: User) -> None:
    async with user.model([LOOK], "All done."):
        outcome = await run(user, "exec", "look")
    assert (outcome.code, "Warning" in outcome.err) == (0, False)


async def test_a_session_that_continues_is_warned_by_what_holds_then(user: User) -> None:
    async with user.model([LOOK], "First.", [LOOK], "Second.", [LOOK], "Third."):
        started = await run(user, "exec", "--json", *WRITE, "look")
        resume = ("exec", "resume", started.thread)
        again = await run(user, *resume, "look")
        freed = await run(user, *resume, "look", "-s", "danger-full-access")
    assert (again.code, again.err.count(f"Warning: {EXPECTED}")) == (3, 1)
    assert (freed.code, "Warning" in freed.err) == (0, False)


async def test_a_failed_turn_is_told_as_that(user: User) -> None:
    async with user.model([LOOK]):
        outcome = await run(user, "exec", *WRITE, "look")
    assert outcome.code == 1


@pytest.mark.parametrize("has_store", [True, False], ids=["a store", "no store"])
async def test_doctor_says_what_each_sandbox_lacks_here(user: User, has_store: bool) -> None:
    if has_store:
        async with user.model("Hello."):
            await user.run("exec", "hello")
    told = await run(user, "doctor")
    shown = await run(user, "doctor", "--json")
    assert (told.code, shown.code) == (0, 0)
    report = json.loads(shown.out)
    assert (report["store"] is not None, report["findings"]) == (has_store, [])
    sandbox = report["sandbox"]
    assert sandbox["used"] is None
    assert Path(sandbox["folder"]) == user.cwd
    for mechanism in sandbox["mechanisms"]:
        assert not mechanism["works"]
        assert mechanism["why_not"]
        assert f"- {mechanism['mechanism']} does not work: " in told.out
    assert "Sandbox: none works here, so commands are refused." in told.out


async def test_doctor_says_what_a_sandbox_that_works_does_not_keep(user: User) -> None:
    sandbox = json.loads((await user.run("doctor", "--json")).out)["sandbox"]
    told = (await user.run("doctor")).out
    working = [mechanism for mechanism in sandbox["mechanisms"] if mechanism["works"]]
    if not working:
        pytest.skip("no sandbox works here")
    assert sandbox["used"] == working[0]["mechanism"]
    assert f"Sandbox: commands are confined by {sandbox['used']}." in told
    for mechanism in working:
        assert mechanism["limits"]
        assert all(f"\n    {limit}\n" in told for limit in mechanism["limits"])
