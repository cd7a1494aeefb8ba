"""A question is answered in the terminal that asked it."""

import json
import os
import pty
from collections.abc import Generator
from contextlib import contextmanager

import attrs
import pytest

from tests.cli.asks import outside, questions
from tests.cli.harness import User, in_thread
from tests.warm.client import Fork, start
from turnlog.frontends.cli.running.answers import PROMPT
from turnlog.runtime.scripted_model.script import Response, call, message

ONCE = "echo ran >> log"


@attrs.define
class Terminal:
    """A command that runs in a terminal of its own, and the person who sits there."""

    process: Fork
    ours: int
    seen: str = ""

    async def read_until(self, text: str) -> str:
        """Return what is shown up to and with `text`; what follows is kept for the next time."""
        while text not in self.seen:
            self.seen += (await in_thread(lambda: os.read(self.ours, 65536))).decode()
        shown, found, self.seen = self.seen.partition(text)
        return shown + found

    def type(self, text: str) -> None:
        os.write(self.ours, text.encode())

    async def finished(self) -> tuple[int, str]:
        """Return the exit code, and what was shown that was not read yet."""
        try:
            while piece := await in_thread(lambda: os.read(self.ours, 65536)):
                self.seen += piece.decode()
        except OSError:  # its other end is closed
            pass
        return await in_thread(self.process.wait), self.seen


@contextmanager
def sitting_at(user: User, *words: str, **env: str) -> Generator[Terminal]:
    """Run a command in a terminal that is its controlling one, as a shell does."""
    ours, theirs = pty.openpty()
    program = user.program(*words, env={"TERM": "xterm-256color", **env})
    program = program._replace(in_terminal=True)
    with start(program, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        try:
            yield Terminal(process, ours)
        finally:
            process.kill()
            os.close(ours)


@pytest.mark.parametrize(
    ("typed", "ran", "told"),
    [("y\n", True, "approved"), ("NO\n", False, "denied")],
)
async def test_a_typed_answer_decides(user: User, typed: str, ran: bool, told: str) -> None:
    async with user.model([outside(ONCE)], "Done."):
        with sitting_at(user, "exec", "-a", "on-request", "go") as terminal:
            asked = await terminal.read_until(PROMPT)
            terminal.type(typed)
            code, rest = await terminal.finished()
    assert "may exec_command do this outside of the sandbox?" in asked
    assert ONCE in asked
    assert "turnlog approve" not in asked
    assert (code, (user.cwd / "log").exists()) == (0, ran)
    assert f"Answered: {told}." in rest


async def test_what_is_no_answer_is_asked_again_and_an_abort_stops_the_turn(user: User) -> None:
    async with user.model([outside(ONCE)], "Done."):
        with sitting_at(user, "exec", "-a", "on-request", "go") as terminal:
            await terminal.read_until(PROMPT)
            terminal.type("what?\n")
            await terminal.read_until(PROMPT)
            terminal.type("a\n")
            code, _ = await terminal.finished()
    assert (code, (user.cwd / "log").exists()) == (1, False)


async def test_one_answer_for_the_session_answers_the_same_again(user: User) -> None:
    async with user.model([outside(ONCE)], [outside(ONCE)], "Done."):
        with sitting_at(user, "exec", "-a", "on-request", "go") as terminal:
            await terminal.read_until(PROMPT)
            terminal.type("s\n")
            code, rest = await terminal.finished()
    assert (code, PROMPT in rest) == (0, False)
    assert (user.cwd / "log").read_text() == "ran\nran\n"


async def test_questions_that_come_together_are_asked_one_after_the_other(user: User) -> None:
    async with user.model([outside("echo 1 > one"), outside("echo 2 > two")], "Done."):
        with sitting_at(user, "exec", "-a", "on-request", "go") as terminal:
            first = await terminal.read_until(PROMPT)
            terminal.type("y\n")
            second = await terminal.read_until(PROMPT)
            terminal.type("n\n")
            code, _ = await terminal.finished()
    assert ("echo 1 > one" in first, "echo 2 > two" in first) == (True, False)
    assert "echo 2 > two" in second
    assert (code, sorted(path.name for path in user.cwd.iterdir())) == (0, ["one"])


async def test_an_answer_from_elsewhere_ends_the_question_here(user: User) -> None:
    async with user.model([outside(ONCE)], "Done."):
        with sitting_at(user, "exec", "-a", "on-request", "go") as terminal:
            await terminal.read_until(PROMPT)
            (question,) = await questions(user)
            assert (await user.run("approve", question["id"])).code == 0
            code, rest = await terminal.finished()
    assert (code, "Answered: approved." in rest) == (0, True)
    assert (user.cwd / "log").read_text() == "ran\n"


async def test_where_nobody_types_any_more_another_terminal_answers(user: User) -> None:
    async with user.model([outside(ONCE)], "Done."):
        with sitting_at(user, "exec", "-a", "on-request", "go") as terminal:
            await terminal.read_until(PROMPT)
            terminal.type("\x04")
            told = await terminal.read_until("Answer from another terminal: turnlog approve")
            (question,) = await questions(user)
            assert (await user.run("approve", question["id"])).code == 0
            code, _ = await terminal.finished()
    assert (code, told.count(PROMPT)) == (0, 0)


async def test_a_session_that_keeps_nothing_is_answered_in_its_terminal(user: User) -> None:
    async with user.model([outside(ONCE)], "Done."):
        with sitting_at(user, "exec", "--ephemeral", "-a", "on-request", "go") as terminal:
            await terminal.read_until(PROMPT)
            terminal.type("y\n")
            code, _ = await terminal.finished()
    assert (code, (user.cwd / "log").read_text()) == (0, "ran\n")


async def test_a_question_of_an_agent_is_asked_here_too(user: User) -> None:
    agent = call("spawn_agent", {"message": "AGENT, dig"})
    async with user.model(
        [agent],
        "Waiting.",
        "It dug.",
        Response(items=[outside(ONCE)], only_for="AGENT"),
        Response(items=[message("Dug.")], only_for="AGENT"),
    ):
        with sitting_at(user, "exec", "-a", "on-request", "go") as terminal:
            asked = await terminal.read_until(PROMPT)
            terminal.type("y\n")
            code, _ = await terminal.finished()
    assert (code, "(of agent " in asked) == (0, True)
    assert (user.cwd / "log").read_text() == "ran\n"


async def test_what_was_typed_before_a_question_does_not_answer_it(user: User) -> None:
    gate = user.pipe("gate")
    wait = call("exec_command", {"cmd": f"echo here; cat {gate.path}", "login": False})
    async with user.model([wait], [outside(ONCE)], "Done."):
        with sitting_at(user, "exec", "-a", "on-request", "go") as terminal:
            await terminal.read_until("here")
            terminal.type("y\n")
            gate.path.write_text("")
            await terminal.read_until(PROMPT)
            terminal.type("n\n")
            code, _ = await terminal.finished()
    assert (code, (user.cwd / "log").exists()) == (0, False)


async def test_programs_are_not_asked(user: User) -> None:
    async with user.model([outside(ONCE)], "Done."):
        with sitting_at(user, "exec", "--json", "-a", "on-request", "go") as terminal:
            told = await terminal.read_until("Answer from another terminal: turnlog approve")
            (question,) = await questions(user)
            assert (await user.run("approve", question["id"], "--decline")).code == 0
            code, rest = await terminal.finished()
    assert (code, PROMPT in told + rest) == (0, False)
    assert json.loads(rest.splitlines()[-1])["type"] == "turn.completed"
