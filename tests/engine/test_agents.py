"""Sub-agents over real sessions: they work beside their parent, which hears of each end once."""

import json
from pathlib import Path
from typing import Any

import trio

from tests.engine.agents import (
    LONG,
    UNTIL_GO,
    WAIT,
    answers,
    child_of,
    children,
    ends,
    led,
    notifications,
    only,
    requests_of,
    spawn,
)
from tests.engine.kit import is_there, of, play, shell, the, until
from turnlog.protocol.events import (
    ApprovalAsked,
    ChildAsked,
    ChildEnded,
    InputQueued,
    ItemsRecorded,
    ModelAsked,
    ToolFinished,
    ToolStarted,
    TurnEnded,
    TurnOpened,
)
from turnlog.protocol.usage import TokenUsage
from turnlog.runtime.config.schema import Agents
from turnlog.runtime.scripted_model.script import Response, call, message


async def test_an_agent_works_beside_its_parent_and_its_end_is_told_once(tmp_path: Path) -> None:
    script = (
        spawn("count the files", nickname="counter"),
        only("count the files", "there are 7"),
        "I have sent an agent",
        "it counted 7",
    )
    async with led(tmp_path, *script) as h:
        session = await h.start()
        events = await play(session)
        (child,) = children(events)
        assert answers(events) == [{"agent_id": child, "nickname": "counter"}]
        assert ends(events) == [("completed", "there are 7")]
        (told,) = notifications(session)
        assert "there are 7" in told
        assert the(TurnEnded, events).status == "completed"
        assert h.sessions.running(child) is None
        again = await play(session, "and now")
        assert the(TurnEnded, again).status == "failed"  # the script is over
        assert notifications(session) == [told]


async def test_an_agent_knows_its_prompt_only_and_leads_no_agents(tmp_path: Path) -> None:
    script = (spawn("count"), only("count", "7"), "fine", "fine")
    async with led(tmp_path, *script) as h:
        session = await h.start()
        await play(session, "a secret of the parent's")
        (request,) = requests_of(h, "count")
        assert "secret" not in json.dumps(request)
        offered = {tool.get("name") for tool in request["tools"]}
        leading = {"spawn_agent", "send_input", "wait_agent", "close_agent", "list_agents"}
        assert "exec_command" in offered
        assert not offered & leading
        assert leading <= {tool.get("name") for tool in h.server.requests[0].body["tools"]}


async def test_an_agent_that_asks_for_an_agent_is_refused(tmp_path: Path) -> None:
    script = (spawn("count"), only("count", spawn("deeper")), only("count", "7"), "fine", "fine")
    async with led(tmp_path, *script) as h:
        session = await h.start()
        events = await play(session)
        (child,) = children(events)
        assert ends(events) == [("completed", "7")]
        assert children(await h.events(child)) == []


async def test_agents_work_at_the_same_time(tmp_path: Path) -> None:
    def meet(mine: str, other: str) -> Any:  # noqa: ANN401
        return shell(f"touch {mine}; until [ -e {other} ]; do sleep 0.02; done")

    script = (
        [spawn("first"), spawn("second")],
        only("first", meet("a", "b")),
        only("first", "met b"),
        only("second", meet("b", "a")),
        only("second", "met a"),
        Response(items=[message("sent")], repeat=3),
    )
    async with led(tmp_path, *script) as h:
        events = await play(await h.start())
        assert sorted(ends(events)) == [("completed", "met a"), ("completed", "met b")]
        assert the(TurnEnded, events).status == "completed"


async def test_waiting_returns_what_the_agent_came_to_and_it_is_not_told_again(
    tmp_path: Path,
) -> None:
    script = (spawn("count"), only("count", UNTIL_GO), only("count", "7"), WAIT, "it is 7")
    async with led(tmp_path, *script) as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            await h.server.wait_request(3)
            (tmp_path / "go").touch()
            await until(session, TurnEnded, after=0)
        records = await h.events(session)
        (child,) = children(records)
        assert answers(records)[1] == {"status": {child: {"completed": "7"}}, "timed_out": False}
        assert notifications(session) == []


async def test_a_wait_ends_in_time_though_the_agent_works(tmp_path: Path) -> None:
    shortly = call("wait_agent", {"targets": ["AGENT1"], "timeout_ms": 1})
    close = call("close_agent", {"target": "AGENT1"})
    script = (spawn("count"), only("count", LONG), shortly, close, "enough", "enough")
    async with led(tmp_path, *script) as h:
        session = await h.start()
        before = trio.current_time()
        events = await play(session)
        assert trio.current_time() - before < 20
        answer = answers(events)
        assert answer[1] == {"status": {}, "timed_out": True}
        assert answer[2]["previous_status"] == "running"
        assert ends(events) == [("interrupted", None)]
        assert the(TurnEnded, events).status == "completed"


async def test_one_agent_too_many_is_an_answer_that_the_model_can_read(tmp_path: Path) -> None:
    script = (
        [spawn("first"), spawn("second")],
        only("first", "done"),
        Response(items=[message("ok")], repeat=2),
    )
    async with led(tmp_path, *script, agents=Agents(max_threads=1)) as h:
        events = await play(await h.start())
        first, second = answers(events)
        assert "agent_id" in first
        assert second["error"].startswith("1 agents are running, which is the most")
        assert len(children(events)) == 1
        assert the(TurnEnded, events).status == "completed"


async def test_what_is_sent_to_a_working_agent_steers_it(tmp_path: Path) -> None:
    send = call("send_input", {"target": "AGENT1", "message": "and the folders"})
    script = (
        spawn("count"),
        only("count", UNTIL_GO),
        only("count", "7 and 2", expect_any="and the folders"),
        send,
        Response(items=[message("ok")], repeat=2),
    )
    async with led(tmp_path, *script) as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            child = await child_of(h, session)
            await until(child, ToolStarted, after=0)
            queued = await until(child, InputQueued, after=0)
            assert queued.until == "request"
            (tmp_path / "go").touch()
        assert ends(await h.events(session)) == [("completed", "7 and 2")]
        assert len(of(TurnOpened, await h.events(child))) == 1


async def test_what_is_sent_to_a_resting_agent_sets_it_to_work_again(tmp_path: Path) -> None:
    send = call("send_input", {"target": "AGENT1", "message": "once more"})
    script = (
        spawn("count"), only("count", "7"), WAIT, send, only("count", "8"), WAIT, "7 and 8",
    )  # fmt: skip
    async with led(tmp_path, *script) as h:
        session = await h.start()
        events = await play(session)
        (child,) = children(events)
        assert ends(events) == [("completed", "7"), ("completed", "8")]
        assert [event.run for event in of(ChildAsked, events)] == [1, 2]
        assert answers(events)[3]["status"] == {child: {"completed": "8"}}
        assert notifications(session) == []
        assert len(of(TurnEnded, await h.events(child))) == 2
        usage = [event.usage for event in of(ChildEnded, events)]
        assert usage == [TokenUsage(100, 40, 0, 10, 3), TokenUsage(200, 80, 0, 20, 6)]


async def test_input_with_the_interrupt_flag_stops_what_the_agent_does_first(
    tmp_path: Path,
) -> None:
    send = call("send_input", {"target": "AGENT1", "message": "stop that", "interrupt": True})
    script = (spawn("count"), only("count", LONG), only("count", "stopped"), UNTIL_GO, send, WAIT,
              "ok")  # fmt: skip
    async with led(tmp_path, *script) as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            child = await child_of(h, session)
            await until(child, ToolStarted, after=0)
            (tmp_path / "go").touch()
        statuses = [event.status for event in of(TurnEnded, await h.events(child))]
        assert statuses == ["interrupted", "completed"]
        assert ends(await h.events(session)) == [("completed", "stopped")]


async def test_a_closed_agent_takes_no_more_and_is_listed_as_closed(tmp_path: Path) -> None:
    close = call("close_agent", {"target": "AGENT1"})
    send = call("send_input", {"target": "AGENT1", "message": "hello?"})
    listing = call("list_agents")
    script = (spawn("count"), only("count", LONG), close, WAIT, [send, listing], "ok")
    async with led(tmp_path, *script) as h:
        session = await h.start()
        events = await play(session)
        (child,) = children(events)
        _, closed, waited, sent, listed = answers(events)
        assert closed == {"agent_id": child, "previous_status": "running"}
        assert waited == {"status": {child: "interrupted"}, "timed_out": False}
        assert sent == {"error": f"agent {child} was closed"}
        (line,) = listed["agents"]
        assert (line["agent_id"], line["nickname"], line["status"]) == (child, "agent-1", "closed")


async def test_an_agent_that_is_set_to_work_and_closed_at_once_comes_to_an_end(
    tmp_path: Path,
) -> None:
    send = call("send_input", {"target": "AGENT1", "message": "once more"})
    close = call("close_agent", {"target": "AGENT1"})
    script = (spawn("count"), only("count", "7"), WAIT, [send, close], WAIT, "ok", "ok")
    async with led(tmp_path, *script) as h:
        with trio.fail_after(60):
            events = await play(await h.start())
        assert ends(events) == [("completed", "7"), ("interrupted", None)]


async def test_unknown_agents_are_named_with_those_there_are(tmp_path: Path) -> None:
    calls = [
        call(name, {"target": "nobody", "message": "x"}) for name in ("send_input", "close_agent")
    ]
    wait = call("wait_agent", {"targets": ["nobody"]})
    async with led(tmp_path, [*calls, wait], "ok") as h:
        events = await play(await h.start())
        why = {"error": "there is no agent 'nobody' here; there are: none"}
        assert answers(events) == [why, why, why]


async def test_an_approval_that_an_agent_asks_for_is_answered_in_its_own_session(
    tmp_path: Path,
) -> None:
    escalated = shell("touch ran", sandbox_permissions="require_escalated")
    script = (spawn("do it"), only("do it", escalated), only("do it", "did it"), WAIT, "ok")
    asking: dict[str, Any] = {"approval_policy": "on-request", "sandbox_mode": "read-only"}
    async with led(tmp_path, *script, **asking) as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            child = await child_of(h, session)
            asked = await until(child, ApprovalAsked, after=0)
            await child.answer(asked.question, "approved")
        assert is_there(tmp_path / "ran")
        assert ends(await h.events(session)) == [("completed", "did it")]
        assert of(ApprovalAsked, await h.events(session)) == []


async def test_the_parents_own_usage_is_without_that_of_its_agents(tmp_path: Path) -> None:
    script = (spawn("count"), only("count", "7"), WAIT, call("list_agents"), "ok")
    async with led(tmp_path, *script) as h:
        session = await h.start()
        events = await play(session)
        assert session.usage == TokenUsage(400, 160, 0, 40, 12)
        assert the(ChildEnded, events).usage == TokenUsage(100, 40, 0, 10, 3)
        assert answers(events)[2]["agents"][0]["tokens"] == 110


async def test_an_agent_that_fails_is_told_with_its_error(tmp_path: Path) -> None:
    script = (spawn("count"), only("count", status=400), WAIT, "ok")
    async with led(tmp_path, *script) as h:
        events = await play(await h.start())
        (child,) = children(events)
        status = answers(events)[1]["status"][child]
        assert list(status) == ["failed"]
        assert "scripted status 400" in status["failed"]
        assert the(ChildEnded, events).status == "failed"


async def test_a_turn_continues_until_its_agents_rest(tmp_path: Path) -> None:
    script = (spawn("count"), only("count", UNTIL_GO), only("count", "7"), "sent", "it is 7")
    async with led(tmp_path, *script) as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            child = await child_of(h, session)
            await until(child, ToolStarted, after=0)
            await until(session, ModelAsked, after=0, number=2)
            assert of(TurnEnded, await h.events(session)) == []
            (tmp_path / "go").touch()
        assert the(ToolFinished, await h.events(child)).output == "gone\n"
        records = await h.events(session)
        assert the(TurnEnded, records).last_agent_message == "it is 7"
        assert [len(event.items) for event in of(ItemsRecorded, records)][1:] == [1]
