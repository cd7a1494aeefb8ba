"""Calls of kinds that no tool takes get an output, so that the conversation stays valid."""

from pathlib import Path
from typing import Any, Final

import pytest

from tests.engine.kit import actor_of, house, of, play, shell, the
from turnlog.actors.core.snapshot import Restoration, snapshot
from turnlog.protocol.events import CallSettled, TurnEnded
from turnlog.protocol.ops import Compact
from turnlog.runtime.scripted_model.script import Response, message
from turnlog.runtime.store.lmdb.log import open_log

Json = dict[str, Any]

ANSWERED: Final[list[tuple[Json, Json]]] = [
    (
        {"type": "local_shell_call", "call_id": "a", "status": "completed", "action": {}},
        {"type": "function_call_output", "call_id": "a", "output": "unsupported call: {type}"},
    ),
    (
        {"type": "tool_search_call", "call_id": "a", "execution": "client", "arguments": {}},
        {
            "type": "tool_search_output",
            "call_id": "a",
            "status": "completed",
            "execution": "client",
            "tools": [],
        },
    ),
    (
        {"type": "teleport_call", "call_id": "a", "to": "the moon"},
        {"type": "teleport_call_output", "call_id": "a", "output": "unsupported call: {type}"},
    ),
]
NOT_OURS: Final[list[Json]] = [
    {"type": "web_search_call", "id": "ws_1", "status": "completed"},
    {"type": "image_generation_call", "id": "ig_1", "result": "…"},
    {"type": "tool_search_call", "call_id": "a", "execution": "server", "arguments": {}},
    {"type": "tool_search_call", "call_id": None, "execution": "server", "arguments": {}},
    {"type": "compaction_summary", "encrypted_content": "…"},
]


def unanswered(body: list[Json]) -> list[str]:
    calls = [item["call_id"] for item in body if item["type"].endswith("_call")]
    outputs = [item["call_id"] for item in body if item["type"].endswith("_output")]
    assert len(outputs) == len(set(outputs))
    return [call_id for call_id in calls if call_id not in outputs]


@pytest.mark.parametrize(("item", "output"), ANSWERED, ids=lambda item: str(item["type"]))
async def test_a_call_that_no_tool_takes_is_answered_and_the_turn_continues(
    tmp_path: Path, item: Json, output: Json
) -> None:
    script = ([item], "instead I say it")
    async with open_log(tmp_path / "store") as log, house(tmp_path, *script, log=log) as h:
        session = await h.start()
        events = await play(session)
        settled = the(CallSettled, events)
        assert (settled.outcome, settled.output) == ("refused", f"unsupported call: {item['type']}")
        assert the(TurnEnded, events).last_agent_message == "instead I say it"
        said = {**output}
        if "output" in said:
            said["output"] = said["output"].format(**item)
        assert h.server.requests[-1].body["input"][-2:] == [{**item, "id": "item_0001"}, said]
        state = actor_of(session).state
        restoration = Restoration.begin(snapshot(state) or b"")
        assert restoration is not None
        restoration.take(await log.read_at(session.id, restoration.sequences()))
        again = restoration.finish()
        assert again is not None
        assert again.history.texts() == state.history.texts()


@pytest.mark.parametrize("item", NOT_OURS, ids=lambda item: str(item["type"]))
async def test_what_the_provider_itself_runs_gets_no_output(tmp_path: Path, item: Json) -> None:
    async with house(tmp_path, [item, message("done")]) as h:
        session = await h.start()
        events = await play(session)
        assert of(CallSettled, events) == []
        assert the(TurnEnded, events).last_agent_message == "done"
        assert len(h.server.requests) == 1


async def test_what_the_provider_answers_in_the_same_response_is_not_answered_again(
    tmp_path: Path,
) -> None:
    search: Json = {"type": "tool_search_call", "call_id": "s", "arguments": {}}
    found: Json = {"type": "tool_search_output", "call_id": "s", "tools": []}
    script = ([search, shell("true"), found], "done", "again")
    async with house(tmp_path, *script) as h:
        session = await h.start()
        await play(session)
        assert of(CallSettled, await h.events(session)) == []
        await play(session)
        body: list[Json] = h.server.requests[-1].body["input"]
        assert [item["type"] for item in body].count("tool_search_output") == 1
        assert unanswered(body) == []


async def test_an_output_that_answers_nothing_is_not_sent(tmp_path: Path) -> None:
    stray = {"type": "teleport_call_output", "call_id": "nobody's", "output": "there"}
    async with house(tmp_path, [stray, message("one")], "two") as h:
        session = await h.start()
        await play(session)
        await play(session)
        assert stray not in h.server.requests[-1].body["input"]


async def test_a_response_that_is_cut_off_leaves_no_call_unanswered(tmp_path: Path) -> None:
    cut = Response(items=[ANSWERED[2][0], message("half")], cut_after=2)
    async with house(tmp_path, cut, "whole", "next") as h:
        session = await h.start()
        assert the(TurnEnded, await play(session)).status == "completed"
        await play(session)
        assert unanswered(h.server.requests[-1].body["input"]) == []


async def test_such_a_call_is_named_in_the_ledger_of_a_compaction_or_left_out(
    tmp_path: Path,
) -> None:
    async with house(tmp_path, [ANSWERED[0][0]], "one", "a summary", "two") as h:
        session = await h.start()
        await play(session)
        async for _ in session.run(Compact()):
            pass
        assert the(TurnEnded, await play(session)).status == "completed"
        assert unanswered(h.server.requests[-1].body["input"]) == []
