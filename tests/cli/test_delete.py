"""`turnlog delete`, asked for at a terminal."""

import os
import pty

import pytest

from tests.cli.harness import User


@pytest.mark.parametrize(
    ("answer", "code", "told"),
    [("n", 1, "Nothing was deleted.\n"), ("y", 0, "Deleted session {}.\n")],
)
async def test_a_session_is_deleted_only_if_its_user_says_yes(
    user: User, answer: str, code: int, told: str
) -> None:
    async with user.model("done"):
        thread = (await user.run("exec", "--json", "go")).thread
    ours, theirs = pty.openpty()
    try:
        started = user.start("delete", thread, stdin=theirs)
        os.write(ours, f"{answer}\n".encode())
        outcome = await started.finished()
    finally:
        os.close(theirs)
        os.close(ours)
    assert (outcome.code, outcome.out) == (code, "")
    assert outcome.err.startswith(f"Delete session {thread} (go)? ")
    assert outcome.err.endswith(told.format(thread))
    assert (await user.run("show", thread)).code == code ^ 1


async def test_where_nobody_can_be_asked_nothing_is_deleted_without_a_word(user: User) -> None:
    async with user.model("done"):
        thread = (await user.run("exec", "--json", "go")).thread
    refused = await user.run("delete", thread)
    assert (refused.code, "give --yes" in refused.err) == (2, True)
    assert (await user.run("show", thread)).code == 0
    assert (await user.run("delete", thread, "--yes")).err == f"Deleted session {thread}.\n"
