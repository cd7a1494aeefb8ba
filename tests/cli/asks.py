"""Runs that ask: what the model wants, and where the question is read off."""

from tests.cli.harness import Line, Started, User
from turnlog.runtime.scripted_model.script import Item, call


def outside(command: str, **more: str) -> Item:
    """Return a call that wants to run without a sandbox."""
    arguments = {"cmd": command, "login": False, "sandbox_permissions": "require_escalated"}
    return call("exec_command", {**arguments, **more})


async def asked(started: Started, number: int = 1) -> list[str]:
    """Wait until a run has told of so many questions; return their ids."""
    found: list[str] = []
    while len(found) < number:
        words = (await started.read_note()).split()
        assert words, "it ended, and asked nothing"
        if words[0] == "Answer":
            found.append(words[words.index("approve") + 1])
    return found


async def questions(user: User) -> list[Line]:
    """Return the open questions, as programs read them."""
    outcome = await user.run("approvals", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    return outcome.lines


def outputs(body: Line) -> list[str]:
    """Return what a request tells the model of its calls."""
    return [item["output"] for item in body["input"] if item["type"] == "function_call_output"]
