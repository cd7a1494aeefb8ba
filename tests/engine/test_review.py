"""Reviews: a session of its own reads the work, and the conversation gets its findings only."""

import json
from pathlib import Path

import trio

from tests.engine.agents import child_of, children, only, requests_of
from tests.engine.kit import house, of, play, shell, the, until
from tests.errors import raises_code
from turnlog.actors.core import texts
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.events import (
    ChildAsked,
    ChildEnded,
    InputQueued,
    OpRefused,
    SessionStarted,
    ToolStarted,
    TurnEnded,
    TurnOpened,
)
from turnlog.protocol.ops import Review, TextInput, UserInput
from turnlog.runtime.scripted_model.script import Response, message

ASKED = "look at the last change"
SECRET = "the reviewer read this"
FINDINGS = {
    "findings": [
        {
            "title": "Close the file",
            "body": "It stays open\nwhen reading fails.",
            "confidence_score": 0.9,
            "priority": 1,
            "code_location": {
                "absolute_file_path": "/w/a.py",
                "line_range": {"start": 3, "end": 4},
            },
        },
        {"title": "Say why"},
    ],
    "overall_correctness": "patch is incorrect",
    "overall_explanation": "It leaks.",
    "overall_confidence_score": 0.8,
}
LONG = shell("sleep 1000")


async def test_the_findings_are_all_that_the_conversation_gets(tmp_path: Path) -> None:
    script = (
        "hello",
        only(ASKED, f"first {SECRET}", shell(f"echo {SECRET}")),
        only(ASKED, json.dumps(FINDINGS)),
        "what it found",
    )
    async with house(tmp_path, *script) as h:
        session = await h.start()
        await play(session, "say hello")
        before = session.history()
        events = [recorded async for recorded in session.run(Review(ASKED))]
        assert the(TurnOpened, events).kind == "review"
        assert the(TurnEnded, events).status == "completed"
        assert the(ChildEnded, events).output == json.dumps(FINDINGS)
        assert session.history()[: len(before)] == before
        (note,) = session.history()[len(before) :]
        assert json.loads(note)["role"] == "user"
        text = json.loads(note)["content"][0]["text"]
        assert text.startswith("<user_action>\n  <action>review</action>\n")
        assert "It leaks.\n- Close the file — /w/a.py:3-4\n  It stays open\n  when reading" in text
        assert "\n- Say why\n" in text
        await play(session, "and now?")
        assert SECRET not in json.dumps(h.server.requests[-1].body)
        assert text in json.dumps(h.server.requests[-1].body, ensure_ascii=False).replace(
            "\\n", "\n"
        )
        assert h.sessions.running(the(ChildAsked, events).child) is None


async def test_the_reviewer_has_its_own_prompt_model_and_surroundings(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "AGENTS.md").write_text("Always sing.")
    script = ("hello", only(ASKED, json.dumps(FINDINGS)))
    async with house(tmp_path, *script, review_model="reviewer-1", model="worker-1") as h:
        session = await h.start()
        await play(session, "say hello")
        assert "Always sing." in json.dumps(h.server.requests[0].body)
        await session.submit(Review(ASKED))
        await until(session, TurnEnded, after=0, number=2)
        (request,) = requests_of(h, ASKED)
        said = json.dumps(request)
        assert request["model"] == "reviewer-1"
        assert "say hello" not in said
        assert "Always sing." not in said
        instructions = [item for item in request["input"] if item["role"] == "developer"]
        assert instructions[0]["content"][0]["text"] == texts.REVIEW
        assert "spawn_agent" not in {tool.get("name") for tool in request["tools"]}
        (child,) = children(await h.events(session))
        started = the(SessionStarted, await h.events(child))
        assert (started.originator, started.spawned_by) == ("review", session.id)


async def test_a_review_that_is_no_json_is_its_explanation(tmp_path: Path) -> None:
    async with house(tmp_path, only(ASKED, "Looks good to me.")) as h:
        session = await h.start()
        await session.submit(Review(ASKED))
        await until(session, TurnEnded, after=0)
        assert "Looks good to me." in session.history()[-1]


async def test_an_interrupted_review_says_so_and_its_processes_are_gone(tmp_path: Path) -> None:
    async with house(tmp_path, only(ASKED, LONG), "next") as h:
        session = await h.start()
        await session.submit(Review(ASKED))
        child = await child_of(h, session)
        await until(child, ToolStarted, after=0)
        await session.interrupt()
        ended = await until(session, TurnEnded, after=0)
        assert ended.status == "interrupted"
        records = await h.events(session)
        assert the(ChildEnded, records).status == "interrupted"
        assert the(TurnEnded, await h.events(child)).status == "interrupted"
        (note,) = session.history()
        assert "None." in note
        assert "it was interrupted" in note
        assert sum("<turn_aborted>" in part for part in session.history()) == 0
        after = await play(session, "and now")
        assert the(TurnEnded, after).status == "completed"


async def test_a_review_that_fails_fails_its_turn(tmp_path: Path) -> None:
    broken = Response(status=400, only_for=ASKED)
    async with house(tmp_path, broken, "next") as h:
        session = await h.start()
        events = [recorded async for recorded in session.run(Review(ASKED))]
        ended = the(TurnEnded, events)
        assert ended.status == "failed"
        assert ended.error is not None
        assert ended.error.code == "bad_request"
        assert "it was interrupted" in session.history()[-1]


async def test_what_is_said_during_a_review_waits_for_the_next_turn(tmp_path: Path) -> None:
    waits = shell("until [ -e go ]; do sleep 0.02; done")
    script = (only(ASKED, waits), only(ASKED, json.dumps(FINDINGS)), "next")
    async with house(tmp_path, *script) as h:
        session = await h.start()
        await session.submit(Review(ASKED))
        child = await child_of(h, session)
        await until(child, ToolStarted, after=0)
        step = await session.submit(UserInput((TextInput("hurry"),)))
        assert the(InputQueued, step).until == "turn"
        (tmp_path / "go").touch()
        await until(session, TurnEnded, after=0, number=2)
        ended = of(TurnEnded, await h.events(session))
        assert [event.status for event in ended] == ["completed", "completed"]
        assert "hurry" not in json.dumps(requests_of(h, ASKED))
        assert "hurry" in json.dumps(h.server.requests[-1].body)


async def test_a_review_of_nothing_is_refused(tmp_path: Path) -> None:
    async with house(tmp_path, Response(items=[message("x")])) as h:
        session = await h.start()
        with raises_code(ErrorCode.EMPTY_INPUT):
            await session.submit(Review("  "))
        assert the(OpRefused, await h.events(session)).code == "empty_input"


async def test_an_engine_that_closes_during_a_review_ends_it(tmp_path: Path) -> None:
    async with house(tmp_path, only(ASKED, LONG)) as h:
        session = await h.start()
        await session.submit(Review(ASKED))
        child = await child_of(h, session)
        await until(child, ToolStarted, after=0)
        with trio.fail_after(60):
            await session.close()
        records = await h.events(session)
        assert the(ChildEnded, records).status == "interrupted"
        assert the(TurnEnded, records).status == "interrupted"
        assert h.sessions.running(child.id) is None
