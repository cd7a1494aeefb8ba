"""Turns through real actors, a real client and real tools: what is logged, in which order."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.engine.kit import (
    Shadow,
    actor_of,
    house,
    kinds,
    of,
    outputs,
    play,
    shell,
    the,
    told,
    until,
)
from tests.errors import raises_code
from turnlog.actors.core.model_input import model_input
from turnlog.actors.core.rebuild import rebuild
from turnlog.actors.ports import EventLog
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.events import (
    ModelAsked,
    OpReceived,
    ToolDispatched,
    ToolFinished,
    ToolStarted,
    TurnEnded,
    TurnOpened,
)
from turnlog.protocol.notices import AgentMessageDelta, ToolOutputDelta
from turnlog.protocol.ops import ListMcpTools, TextInput, UserInput, prompt
from turnlog.runtime.scripted_model.script import Response, custom
from turnlog.runtime.store.lmdb.log import open_log
from turnlog.runtime.store.memory.log import MemoryLog

PATCH = "*** Begin Patch\n*** Add File: note.txt\n+hello\n*** End Patch\n"


@asynccontextmanager
async def a_log(kind: str, folder: Path) -> AsyncGenerator[EventLog]:
    if kind == "memory":
        yield MemoryLog()
    else:
        async with open_log(folder / "store") as log:
            yield log


@pytest.mark.parametrize("store", ["memory", "lmdb"])
async def test_a_turn_with_one_call_gives_exactly_these_events(store: str, tmp_path: Path) -> None:
    async with (
        a_log(store, tmp_path) as log,
        house(tmp_path, shell("echo hi"), "done", log=log) as h,
    ):
        session = await h.start()
        shadow = Shadow(session)
        async with trio.open_nursery() as nursery:
            await nursery.start(shadow.follow)
            events = await play(session)
            await session.close()
        asked = [
            *("op_received", "turn_opened", "context_asked"),
            *("context_loaded", "items_recorded", "model_asked"),
        ]
        worked = ["model_completed", "tool_started", "tool_finished", "model_asked"]
        answered = ["model_item_received", "model_completed", "turn_ended"]
        expected = [*asked, "model_item_received", "tool_dispatched", *worked, *answered]
        # A tool may start, and even end, before the response that called it is whole.
        assert sorted(kinds(events)) == sorted(expected)
        assert kinds(events)[:8] == expected[:8]
        assert kinds(events)[-3:] == expected[-3:]
        records = await h.events(session)
        assert kinds(records)[:2] == ["session_started", "session_opened"]
        assert kinds(records)[-2:] == ["op_received", "session_closed"]
        assert the(TurnEnded, records).last_agent_message == "done"
        assert [r for r in shadow.seen if isinstance(r, Recorded)] == records
        assert shadow.compared
        assert rebuild(records) == actor_of(session).state


async def test_what_a_model_and_a_tool_say_meanwhile_is_shown_in_its_place(tmp_path: Path) -> None:
    async with house(tmp_path, shell("printf 'hé'"), "some words to be cut") as h:
        session = await h.start()
        shadow = Shadow(session)
        async with trio.open_nursery() as nursery:
            await nursery.start(shadow.follow)
            await play(session)
            await session.close()
    deltas = [seen.delta for seen in shadow.seen if isinstance(seen, AgentMessageDelta)]
    assert "".join(deltas) == "some words to be cut"
    shown = [seen.delta for seen in shadow.seen if isinstance(seen, ToolOutputDelta)]
    assert "".join(shown) == "hé"
    order = [p.kind if isinstance(p, Recorded) else type(p).__name__ for p in shadow.seen]
    assert order.index("tool_started") < order.index("ToolOutputDelta")
    assert order.index("ToolOutputDelta") < order.index("tool_finished")


async def test_parallel_calls_start_together_and_answer_in_call_order(tmp_path: Path) -> None:
    # Each waits for the other's file: they end only if both run at once, the second one first.
    first = "touch a; until [ -e b ]; do :; done; until [ -e b.done ]; do :; done; echo first"
    second = "until [ -e a ]; do :; done; touch b; echo second; touch b.done"
    async with house(tmp_path, [shell(first), shell(second)], "done") as h:
        events = await play(await h.start())
        assert len(of(ToolStarted, events)) == 2
        assert [text.splitlines()[-1] for text in outputs(h.server)] == ["first", "second"]
        ends = [event.output for event in of(ToolFinished, events)]
        assert sorted(ends) == ["first\n", "second\n"]


async def test_a_patch_waits_for_what_runs_and_holds_back_what_comes(tmp_path: Path) -> None:
    calls = [
        shell("test ! -e note.txt && echo absent"),
        custom("apply_patch", PATCH),
        shell("cat note.txt"),
    ]
    async with house(tmp_path, calls, "done") as h:
        events = await play(await h.start())
        assert [text.splitlines()[-1] for text in outputs(h.server)] == [
            "absent",
            "A note.txt",
            "hello",
        ]
    order = [
        (kind, event.effect)
        for r in events
        if isinstance(event := r.event, ToolDispatched | ToolFinished)
        for kind in [r.kind]
    ]
    assert [kind for kind, _ in order] == ["tool_dispatched", "tool_finished"] * 3


async def test_what_is_said_while_a_turn_runs_goes_with_the_next_request(tmp_path: Path) -> None:
    waiting = shell("until [ -e go ]; do :; done")
    async with house(tmp_path, waiting, "done") as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            await until(session, ToolStarted)
            step = await session.submit(UserInput((TextInput("and be brief"),)))
            assert kinds(step) == ["op_received", "input_queued"]
            (tmp_path / "go").touch()
        texts = [str(item.get("content", item)) for item in h.server.requests[1].body["input"]]
        assert sum("and be brief" in text for text in texts) == 1
        assert len(h.server.requests) == 2
        assert len(of(TurnOpened, await h.events(session))) == 1


async def test_a_word_after_the_last_answer_began_gets_an_answer_too(tmp_path: Path) -> None:
    async with house(tmp_path, Response(items=[], delay_ms=300), "again") as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            await h.server.wait_request(1)
            await session.submit(UserInput((TextInput("one more thing"),)))
        assert len(h.server.requests) == 2
        assert the(TurnEnded, await h.events(session)).last_agent_message == "again"


async def test_two_prompts_at_once_become_two_turns_or_one_steered(tmp_path: Path) -> None:
    async with house(tmp_path, "one", "two") as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session, "alpha")
            nursery.start_soon(play, session, "omega")
        records = await h.events(session)
        assert all(event.status == "completed" for event in of(TurnEnded, records))
        assert sum("alpha" in part for part in session.history()) == 1
        assert sum("omega" in part for part in session.history()) == 1


async def test_input_that_cannot_go_with_a_request_becomes_the_next_turn(tmp_path: Path) -> None:
    """A turn that is being stopped takes nothing more; what is said then is not lost."""
    async with house(tmp_path, shell("sleep 60"), "second") as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session, "first")
            await until(session, ToolStarted)
            nursery.start_soon(session.interrupt)
            await wait_all_tasks_blocked()
            events = await play(session, "second")
        assert of(TurnEnded, events)[-1].last_agent_message == "second"
        ends = of(TurnEnded, await h.events(session))
        assert [event.status for event in ends] == ["interrupted", "completed"]


async def test_each_turn_sends_the_whole_conversation_and_adds_only_news(tmp_path: Path) -> None:
    async with house(tmp_path, "one", shell("echo x"), "two") as h:
        session = await h.start()
        await play(session, "first")
        await play(session, "second")
        inputs = [request.body["input"] for request in h.server.requests]
        assert inputs[1][: len(inputs[0])] == inputs[0]
        assert inputs[2][: len(inputs[1])] == inputs[1]
        records = await h.events(session)
        asked = of(ModelAsked, records)
        assert [event.parts for event in asked] == [len(sent) for sent in inputs]
        assert session.usage.input_tokens == 300


async def test_the_same_op_id_is_done_once(tmp_path: Path) -> None:
    async with house(tmp_path, "one") as h:
        session = await h.start()
        await session.submit(prompt("go"), op_id="mine")
        await until(session, TurnEnded, after=0)
        with raises_code(ErrorCode.DUPLICATE_OP):
            await session.submit(prompt("go"), op_id="mine")
        assert len(h.server.requests) == 1
        assert len(of(OpReceived, await h.events(session))) == 2


async def test_history_is_what_the_model_would_be_sent(tmp_path: Path) -> None:
    async with house(tmp_path, shell("echo x"), "two") as h:
        session = await h.start()
        await play(session)
        state = rebuild(await h.events(session))
        assert session.history() == model_input(state)
        assert told(the(ToolFinished, await h.events(session))).endswith("Output:\nx\n")


async def test_an_empty_prompt_and_an_op_of_the_future_are_refused(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        session = await h.start()
        with raises_code(ErrorCode.EMPTY_INPUT):
            await session.submit(UserInput(()))
        with raises_code(ErrorCode.NOT_SUPPORTED):
            await session.submit(ListMcpTools())
