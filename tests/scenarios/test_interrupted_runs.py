"""One bad pair or one lost answer makes a conversation unusable for good: not here."""

import json
from pathlib import Path
from typing import Any, Final

import trio

from tests.engine.kit import house, of, outputs, play, shell, the, until
from tests.scenarios.kit import assert_valid, sent, talks
from turnlog.protocol.events import (
    ApprovalAsked,
    CallSettled,
    InputQueued,
    ToolFinished,
    ToolStarted,
    TurnEnded,
)
from turnlog.protocol.items import text_message
from turnlog.protocol.ops import TextInput, UserInput
from turnlog.runtime.scripted_model.script import Response, call, message

ASK: Final[dict[str, Any]] = {"approval_policy": "on-request", "sandbox_mode": "read-only"}
ESCALATED: Final = shell("touch ran", sandbox_permissions="require_escalated")


async def test_a_plain_message_while_an_approval_is_open_is_used(tmp_path: Path) -> None:
    async with house(tmp_path, ESCALATED, "as you wish", "next", **ASK) as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            asked = await until(session, ApprovalAsked, after=0)
            step = await session.submit(UserInput((TextInput("rather not"),)), op_id="mine")
            assert of(InputQueued, step) == [InputQueued("mine", "request")]
            await session.answer(asked.question, "denied")
        output, words = talks(h.server)[-1][-2:]
        assert json.loads(output)["output"] == "rejected by user"
        assert words == text_message("user", "rather not")
        assert the(TurnEnded, await h.events(session)).last_agent_message == "as you wish"
        assert the(TurnEnded, await play(session, "and now")).last_agent_message == "next"


async def test_or_it_waits_for_a_turn_of_its_own(tmp_path: Path) -> None:
    async with house(tmp_path, ESCALATED, "as you wish", "next", **ASK) as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            asked = await until(session, ApprovalAsked, after=0)
            await session.submit(UserInput((TextInput("later"),), queue=True))
            await session.answer(asked.question, "denied")
            await until(session, TurnEnded, after=0, number=2)
        assert "later" not in "".join(talks(h.server)[1])
        assert talks(h.server)[2][-1] == text_message("user", "later")


async def test_a_message_is_not_lost_when_the_open_question_is_interrupted(tmp_path: Path) -> None:
    async with house(tmp_path, ESCALATED, "next", **ASK) as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            await until(session, ApprovalAsked, after=0)
            await session.submit(UserInput((TextInput("rather not"),)))
            await session.interrupt()
        await play(session, "and now")
        assert text_message("user", "rather not") in talks(h.server)[-1]
        assert_valid(talks(h.server)[-1])


async def test_an_output_that_the_model_made_up_poisons_nothing(tmp_path: Path) -> None:
    made_up = {"type": "function_call_output", "call_id": "call_9", "output": "I say so"}
    async with house(tmp_path, [made_up, shell("echo real")], "done", "next") as h:
        session = await h.start()
        await play(session)
        await play(session, "and now")
        for parts in sent(h.server):
            assert_valid(parts)
            assert "I say so" not in "".join(parts)
        assert len(outputs(h.server)) == 1


async def test_arguments_that_are_no_json_are_an_answer_and_not_an_end(tmp_path: Path) -> None:
    broken = call("exec_command", '{"cmd": ')
    async with house(tmp_path, broken, "I see", "next") as h:
        session = await h.start()
        await play(session)
        assert outputs(h.server)[0].startswith("failed to parse function arguments")
        assert the(TurnEnded, await play(session, "and now")).last_agent_message == "next"
        for parts in sent(h.server):
            assert_valid(parts)


async def test_what_had_finished_is_kept_when_the_call_beside_it_is_cancelled(
    tmp_path: Path,
) -> None:
    async with house(tmp_path, [shell("sleep 1000"), shell("echo quick")], "next") as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            await until(session, ToolFinished, after=0)
            await session.interrupt()
        await play(session, "and now")
        cancelled, quick = outputs(h.server)
        assert "aborted by user" in cancelled
        assert quick.endswith("quick\n")
        assert_valid(sent(h.server)[-1])


async def test_a_cancel_before_anything_has_finished_leaves_a_history_that_continues(
    tmp_path: Path,
) -> None:
    calls = [shell("sleep 1000"), shell("sleep 1000")]
    async with house(tmp_path, calls, "next", "more") as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            await until(session, ToolStarted, after=0)
            await session.interrupt()
        for expected in ("next", "more"):
            assert the(TurnEnded, await play(session, "on")).last_agent_message == expected
            assert_valid(sent(h.server)[-1])
        assert len(outputs(h.server)) == len(calls)


async def test_results_are_kept_when_the_request_after_them_fails(tmp_path: Path) -> None:
    refused = Response(status=400, body={"error": {"message": "no", "code": "bad"}})
    async with house(tmp_path, shell("echo kept"), refused, "next") as h:
        session = await h.start()
        assert the(TurnEnded, await play(session)).status == "failed"
        assert the(TurnEnded, await play(session, "and now")).last_agent_message == "next"
        (output,) = outputs(h.server)
        assert output.endswith("kept\n")
        assert_valid(sent(h.server)[-1])


async def test_a_response_that_is_cut_after_a_call_leaves_a_valid_pair(tmp_path: Path) -> None:
    cut = Response(items=[shell("echo once >> once"), message("and then")], cut_after=12)
    async with house(tmp_path, cut, "done") as h:
        session = await h.start()
        events = await play(session)
        assert the(TurnEnded, events).last_agent_message == "done"
        for parts in sent(h.server):
            assert_valid(parts)
        assert (tmp_path / "once").read_text() == "once\n"
        assert of(CallSettled, events) == []
