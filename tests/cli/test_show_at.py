"""`turnlog show --at`: a session at one of its events."""

from typing import Any

import pytest
import trio

from tests.cli.harness import User
from turnlog.runtime.scripted_model.script import call


@pytest.fixture(scope="module")
def told(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[User, str, list[dict[str, Any]], list[Any]]:
    """Return a user, a session with a command, its events, and the bodies the model was sent."""
    user = User(tmp_path_factory.mktemp("show-at"))
    user.home.mkdir()
    user.cwd.mkdir()

    async def run() -> tuple[str, list[dict[str, Any]], list[Any]]:
        command = call("exec_command", {"cmd": "echo hello", "login": False})
        async with user.model([command], "All is well.") as server:
            thread = (await user.run("exec", "--json", "Look around.")).thread
            return thread, await user.show(thread), [r.body for r in server.requests]

    return user, *trio.run(run)


Told = tuple[User, str, list[dict[str, Any]], list[Any]]


async def test_the_request_at_each_question_is_what_the_model_was_sent(told: Told) -> None:
    user, thread, events, bodies = told
    asked = [event for event in events if event["kind"] == "model_asked"]
    for event, body in zip(asked, bodies, strict=True):
        [shown] = (await user.run("show", thread, "--at", str(event["sequence"]), "--json")).lines
        request = shown["request"]
        assert request["body"] == body
        assert request["input"] == body["input"]
        assert request["status"] == "sent"
        assert request["recorded_digest"] == request["input_digest"]
        assert request["parts"] == event["event"]["parts"]
        assert shown["record"] == event


async def test_an_event_is_shown_with_the_state_and_what_it_changed(told: Told) -> None:
    user, thread, events, _ = told
    place = next(event["sequence"] for event in events if event["kind"] == "tool_started")
    outcome = await user.run("show", thread, "--at", str(place))
    assert outcome.code == 0
    assert outcome.out.startswith(f"event {place} of {len(events)}  tool_started, a fact  ")
    rows = {line[:10].strip(): line[11:] for line in outcome.out.splitlines() if line[:1].strip()}
    assert rows["title"] == "Look around."
    assert rows["turn"] == "1 is open, request 1"
    assert rows["calls"] == "0 exec_command running"
    assert rows["open"].endswith(": run call 0, started")
    assert rows["request"] == "would be sent, if the turn were cut here and the model asked"
    assert outcome.out.split("Changed by this event:\n")[1].splitlines()[1:] == [
        "    - dispatched",
        "    + running",
    ]
    assert "\033" not in outcome.out


async def test_every_event_can_be_shown_in_both_forms(told: Told) -> None:
    user, thread, events, _ = told
    last = await user.run("show", thread[:20], "--at", "-1")
    assert last.out.startswith(f"event {len(events)} of {len(events)}  session_closed, a decision")
    assert "none is open; 1 so far, the session is closed" in last.out
    for number in range(1, len(events) + 1):
        text = await user.run("show", thread, "--at", str(number))
        assert (text.code, text.err) == (0, "")
    first = await user.run("show", thread, "--at", str(-len(events)), "--json")
    assert first.lines[0]["record"] == events[0]
    assert first.lines[0]["state"]["history"] == {"parts": 0}


async def test_what_cannot_be_shown_is_said(told: Told) -> None:
    user, thread, events, _ = told
    beyond = await user.run("show", thread, "--at", str(len(events) + 1))
    assert (beyond.code, beyond.out) == (1, "")
    assert beyond.err.endswith("[sequence_out_of_range]\n")
    both = await user.run("show", thread, "--at", "1", "--follow")
    assert (both.code, both.out) == (2, "")
