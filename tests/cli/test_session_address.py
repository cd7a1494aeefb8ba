"""A session is named by its id, a part of its id, its name or its place in the list."""

from collections.abc import AsyncGenerator

import pytest

from tests.cli.harness import User
from turnlog.frontends.cli import COMMANDS

# Words that are given after a session, for the commands that need them.
AFTER = {"shell": ["true"], "steer": ["more"], "name": ["new name"], "diff": ["@1"]}
WITHOUT_A_SESSION = {
    "sessions",
    "check",
    "approvals",
    "import",
    "doctor",
    "config",
    "scripted-model",
    "schema",
    "demo",
    "completion",
    "help",
}
ON_SESSIONS = [name for name in COMMANDS if name not in WITHOUT_A_SESSION and name != "exec"]


@pytest.fixture
async def two(user: User) -> AsyncGenerator[tuple[User, str, str]]:
    """Two sessions; the second is the newer one, and is named."""
    async with user.model("one", "two", "three", loop=True):
        older = (await user.run("exec", "--json", "first")).thread
        newer = (await user.run("exec", "--json", "second")).thread
        assert (await user.run("name", newer, "tidy up")).code == 0
        yield user, older, newer


async def test_each_form_finds_its_session(two: tuple[User, str, str]) -> None:
    user, older, newer = two
    forms = {
        older: (older, older[:-1], older.upper(), older[-8:], older[-8:].upper(), "@2"),
        newer: (newer, newer[:-1], "tidy up", "@1", "@last"),
    }
    for session, names in forms.items():
        expected = await user.show(session)
        for name in names:
            assert await user.show(name) == expected, name


async def test_what_fits_no_session_is_not_found(two: tuple[User, str, str]) -> None:
    user, _, newer = two
    for wrong in ("", "@0", "@3", "@first", "@99999999999", "tidy", "TIDY UP", newer + "0"):
        outcome = await user.run("show", wrong)
        assert (outcome.code, outcome.out) == (1, "")
        assert outcome.err.endswith("[session_not_found]\n"), wrong


async def test_what_fits_two_sessions_lists_them_with_titles_the_newest_first(
    two: tuple[User, str, str],
) -> None:
    user, older, newer = two
    assert (await user.run("show", "0")).err == (
        "Error: '0' could be several sessions; give more of the id:\n"
        f"  {newer}  tidy up\n"
        f"  {older}  first [ambiguous_session]\n"
    )


async def test_a_name_that_is_also_the_beginning_of_an_id_decides_nothing(
    two: tuple[User, str, str],
) -> None:
    user, older, newer = two
    await user.run("name", newer, older[:-1])
    outcome = await user.run("delete", older[:-1])
    assert (outcome.code, outcome.err.endswith("[ambiguous_session]\n")) == (1, True)
    assert (await user.run("show", older)).code == 0


async def test_archived_sessions_and_agents_have_no_place_in_the_list(
    two: tuple[User, str, str],
) -> None:
    user, older, newer = two
    await user.run("archive", newer)
    assert await user.show("@last") == await user.show(older)
    assert await user.show("tidy up") == await user.show(newer)


async def test_each_command_finds_a_session_by_its_place(two: tuple[User, str, str]) -> None:
    """A place that no session has is told as such; so the place was looked for."""
    user, _, _ = two
    for command in ON_SESSIONS:
        outcome = await user.run(command, "@9", *AFTER.get(command, []))
        code = "question_not_found" if command == "approve" else "session_not_found"
        assert "'@9'" in outcome.err, command
        assert outcome.err.endswith(f"[{code}]\n"), command


async def test_exec_resumes_and_forks_by_name(two: tuple[User, str, str]) -> None:
    user, _, newer = two
    assert (await user.run("exec", "resume", "tidy up", "more", "--json")).thread == newer
    fork = (await user.run("exec", "fork", "@last", "again", "--json")).thread
    forked = next(line for line in await user.show(fork) if line["kind"] == "session_forked")
    assert forked["event"]["parent"] == newer
