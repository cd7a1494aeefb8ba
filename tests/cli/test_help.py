"""The help: commands by task, and the help of one command in either order of the words."""

from tests.cli.harness import User
from turnlog.frontends.cli import COMMANDS, GROUPS


async def test_the_help_lists_each_command_once_below_its_task(user: User) -> None:
    told = (await user.run("help")).out
    assert told == (await user.run("--help")).out
    listed = [line.split()[0] for line in told.splitlines() if line.startswith("  ")]
    assert [name for name in listed if name in COMMANDS] == list(COMMANDS)
    assert all(f"{task}:\n" in told for task in GROUPS)


async def test_the_help_of_a_command_is_the_same_in_either_order(user: User) -> None:
    asked = await user.run("help", "sessions")
    assert (asked.code, asked.out) == (0, (await user.run("sessions", "--help")).out)
    assert asked.out.startswith("Usage: turnlog sessions [OPTIONS]\n")


async def test_help_for_a_command_that_is_not_there_names_the_ones_that_are_near(
    user: User,
) -> None:
    wrong = await user.run("help", "sesions")
    assert (wrong.code, wrong.out) == (2, "")
    assert "Did you mean" in wrong.err
    assert "sessions" in wrong.err
