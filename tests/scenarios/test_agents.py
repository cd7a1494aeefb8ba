"""Agents hang, are lost, or count though they are done: not here."""

import json
from pathlib import Path
from typing import Any, Final

import trio

from tests.engine.agents import (
    LONG,
    UNTIL_GO,
    answers,
    child_of,
    children,
    ends,
    led,
    notifications,
    only,
    spawn,
)
from tests.engine.kit import of, play, the, until
from tests.scenarios.kit import abandoned, assert_valid, sent
from turnlog.protocol.events import ChildEnded, ModelCompleted, ToolStarted, TurnEnded
from turnlog.runtime.config.schema import Agents
from turnlog.runtime.scripted_model.script import Response, call, message
from turnlog.runtime.store.lmdb.log import open_log

ONE_AT_ONCE: Final = Agents(max_threads=1)


def waits_for(number: int, timeout_ms: int = 60_000) -> Any:  # noqa: ANN401
    return call("wait_agent", {"targets": [f"AGENT{number}"], "timeout_ms": timeout_ms})


async def test_a_finished_agent_does_not_count_against_the_limit(tmp_path: Path) -> None:
    script: list[Any] = []
    for number in range(1, 6):
        mark = f"task {number}"
        script += [spawn(mark), waits_for(number), only(mark, f"result {number}")]
    async with led(tmp_path, *script, "all done", agents=ONE_AT_ONCE) as h:
        session = await h.start()
        events = await play(session)
        assert ends(events) == [("completed", f"result {number}") for number in range(1, 6)]
        assert [answer for answer in answers(events) if "error" in answer] == []
        assert the(TurnEnded, events).last_agent_message == "all done"
        assert all(h.sessions.running(child) is None for child in children(events))


async def test_one_too_many_is_told_and_there_is_room_once_another_was_closed(
    tmp_path: Path,
) -> None:
    script = (
        spawn("first"),
        spawn("second"),
        call("list_agents"),
        call("close_agent", {"target": "AGENT1"}),
        waits_for(1),
        spawn("second"),
        only("first", LONG),
        only("second", "done"),
        Response(items=[message("sent")], repeat=3),
    )
    async with led(tmp_path, *script, agents=ONE_AT_ONCE) as h:
        events = await play(await h.start())
        _, refused, listed, closed, _, spawned = answers(events)
        assert refused["error"].startswith("1 agents are running, which is the most")
        assert [agent["status"] for agent in listed["agents"]] == ["running"]
        assert closed["previous_status"] == "running"
        assert "agent_id" in spawned
        assert sorted(ends(events), key=str) == [("completed", "done"), ("interrupted", None)]


async def test_starting_an_agent_does_not_wait_for_it(tmp_path: Path) -> None:
    script = (spawn("slow"), only("slow", UNTIL_GO), only("slow", "late"), "meanwhile", "at last")
    async with led(tmp_path, *script) as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            await until(session, ModelCompleted, after=0, number=2)  # of the parent's own
            assert of(ChildEnded, await h.events(session)) == []
            (tmp_path / "go").touch()
        records = await h.events(session)
        assert ends(records) == [("completed", "late")]
        assert the(TurnEnded, records).last_agent_message == "at last"


async def test_a_wait_ends_in_its_time_whatever_the_agent_does(tmp_path: Path) -> None:
    stalled = only("stuck", "never", no_answer="stall")
    close = call("close_agent", {"target": "AGENT1"})
    script = (spawn("stuck"), waits_for(1, 1_000), close, stalled)
    async with led(tmp_path, *script, "without it", "without it") as h:
        session = await h.start()
        with trio.fail_after(60):
            events = await play(session)
        assert answers(events)[1] == {"status": {}, "timed_out": True}
        assert ends(events) == [("interrupted", None)]
        assert the(TurnEnded, events).status == "completed"


async def test_a_parent_continues_when_its_agent_is_done_though_it_did_not_wait(
    tmp_path: Path,
) -> None:
    script = (spawn("count"), only("count", "there are 7"), "sent", "so there are 7")
    async with led(tmp_path, *script) as h:
        session = await h.start()
        events = await play(session)
        assert the(TurnEnded, events).last_agent_message in ("sent", "so there are 7")
        (told,) = notifications(session)
        assert "there are 7" in told


async def test_an_agent_that_failed_is_told_as_failed_and_why(tmp_path: Path) -> None:
    refused = Response(status=400, body={"error": {"message": "no such model"}}, only_for="count")
    async with led(tmp_path, spawn("count"), refused, waits_for(1), "I see", "I see") as h:
        session = await h.start()
        events = await play(session)
        assert [status for status, _ in ends(events)] == ["failed"]
        (child,) = children(events)
        status = answers(events)[1]["status"][child]
        assert "no such model" in status["failed"]
        assert notifications(session) == []


async def test_what_an_agent_came_to_is_delivered_once_though_its_engine_was_killed(
    tmp_path: Path,
) -> None:
    script = (spawn("count"), only("count", UNTIL_GO), only("count", "there are 7"), waits_for(1))
    async with (
        open_log(tmp_path / "store") as log,
        led(tmp_path, *script, "it is 7", log=log) as h,
    ):
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            child = await child_of(h, session)
            await until(child, ToolStarted, after=0)
            rest = (only("count", "there are 7"), "it is 7", "it is 7", "it is 7")
            async with (
                abandoned(log, tmp_path / "left") as left,
                led(tmp_path, *rest, log=left) as later,
            ):
                again = await later.engine.resume(session.id)
                await until(again, TurnEnded, after=0)
                records = await later.events(again)
                assert ends(records) == [("completed", "there are 7")]
                assert children(records) == [child.id]
                told = json.dumps(sent(later.server)[-1])
                assert told.count("there are 7") == 1
                for parts in sent(later.server):
                    assert_valid(parts)
            (tmp_path / "go").touch()
            await session.interrupt()
