"""`-c`, `-p` and `-C`: one meaning on every command that opens a session."""

import json

import click
import pytest

from tests.cli.harness import Line, User
from turnlog.frontends.cli import turnlog
from turnlog.runtime.scripted_model.script import Response, message

OPENING = (
    "exec",
    "compact",
    "review",
    "shell",
    "undo",
    "redo",
    "fork",
    "rerun",
    "simulate",
    "name",
    "archive",
    "config",
)


async def settings(user: User, session: str) -> Line:
    """Return the settings that a session has now."""
    (shown,) = (await user.run("show", session, "--at", "-1", "--json")).lines
    found: Line = shown["state"]["settings"]
    return found


@pytest.mark.parametrize("name", OPENING)
def test_every_command_that_opens_a_session_has_the_three_options(name: str) -> None:
    command = turnlog.get_command(click.Context(turnlog), name)
    assert command is not None
    options = {option for parameter in command.params for option in parameter.opts}
    assert options >= {"-c", "--config", "-p", "--profile", "-C", "--cd"}


async def test_a_provider_of_the_command_line_serves_every_command(user: User) -> None:
    review = '{"findings": [], "overall_explanation": "Fine."}'
    async with user.model("Done.", "More.", message("SUMMARY"), review) as server:
        user.configure("")
        given = (
            "-c",
            "model_provider=mine",
            "-c",
            f"model_providers.mine.base_url={json.dumps(server.base_url)}",
        )
        thread = (await user.run("exec", "--json", *given, "go")).thread
        assert (await user.run("exec", "resume", thread, "more")).code == 1
        for words in (
            ("exec", "resume", thread, "more"),
            ("compact", thread),
            ("review", thread),
            ("shell", thread, "true"),
            ("undo", thread),
            ("redo", thread),
            ("name", thread, "mine"),
        ):
            outcome = await user.run(*words, *given)
            assert (words, outcome.code) == (words, 0), outcome.err


async def test_a_profile_chooses_the_model_of_a_summary_and_the_session_keeps_it(
    user: User,
) -> None:
    async with user.model("Done.", message("SUMMARY")) as server:
        with (user.home / "config.toml").open("a") as file:
            file.write('[profiles.small]\nmodel = "small"\n')
        thread = (await user.run("exec", "--json", "go")).thread
        assert (await user.run("compact", thread, "-p", "small")).code == 0
        models = [request.body["model"] for request in server.requests]
    assert models == ["scripted", "small"]
    assert (await settings(user, thread))["model"] == "small"


async def test_a_command_of_the_user_runs_in_the_chosen_folder(user: User) -> None:
    (user.root / "other").mkdir()
    async with user.model("Done."):
        thread = (await user.run("exec", "--json", "go")).thread
        ran = await user.run("shell", thread, "-C", "../other", "pwd")
    assert ran.out == f"{user.root / 'other'}\n"
    assert (await settings(user, thread))["cwd"] == str(user.root / "other")


async def test_a_branch_begins_under_what_the_command_line_names(user: User) -> None:
    async with user.model("Done."):
        thread = (await user.run("exec", "--json", "go")).thread
        one = (await user.run("fork", thread, "-c", "model=other")).out.strip()
        two = (await user.run("exec", "--json", "-m", "third", "fork", thread)).thread
    found = [(await settings(user, session))["model"] for session in (thread, one, two)]
    assert found == ["scripted", "other", "third"]


async def test_a_provider_that_a_session_cannot_take_is_told(user: User) -> None:
    other = ("-c", 'model_providers.b.base_url="http://127.0.0.1:9/v1"', "-c", "model_provider=b")
    summary = Response(items=[message("SUMMARY")])
    async with user.model("Done.", "More.", summary):
        thread = (await user.run("exec", "--json", "go")).thread
        for words in (("exec", "resume", thread, "more"), ("compact", thread), ("fork", thread)):
            outcome = await user.run(*words, *other)
            assert outcome.code == 0
            assert "Warning: the session keeps its model provider 'local'" in outcome.err


async def test_the_command_line_may_say_when_to_ask_also_as_a_key(user: User) -> None:
    async with user.model("Done.", "Done.", "Done."):
        thread = (await user.run("exec", "--json", "-c", "approval_policy=untrusted", "a")).thread
        assert (await settings(user, thread))["approval_policy"] == "never"  # nobody could answer
        await user.run("exec", "-c", "approval_policy=untrusted", "resume", thread, "a")
        assert (await settings(user, thread))["approval_policy"] == "untrusted"
        await user.run("exec", "resume", thread, "b")
        assert (await settings(user, thread))["approval_policy"] == "never"
        wrong = await user.run("exec", "--ephemeral", "-c", "approval_policy=untrusted", "c")
    assert (wrong.code, "leave out -a" in wrong.err) == (2, True)
