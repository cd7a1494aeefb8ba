"""Every agent comes to exactly one end that its parent sees, whatever stops either of them."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import pytest
import trio
import trio.lowlevel

from tests.engine.agents import (
    LONG,
    UNTIL_GO,
    WAIT,
    child_of,
    children,
    ends,
    eventually,
    led,
    notifications,
    only,
    spawn,
)
from tests.engine.kill_child import config
from tests.engine.killing import start_child
from tests.engine.kit import (
    House,
    Says,
    assert_sound,
    configured,
    is_there,
    of,
    play,
    shell,
    the,
    until,
)
from turnlog.actors.ports import ChildOrder
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.errors import Rejected
from turnlog.protocol.events import (
    CallSettled,
    ChildAsked,
    ChildEnded,
    ChildStopping,
    ChildTold,
    EffectLost,
    OpReceived,
    OpRefused,
    SessionClosed,
    ToolStarted,
    TurnEnded,
)
from turnlog.protocol.ids import EffectId, SessionId
from turnlog.protocol.ops import TextInput, UserInput, prompt
from turnlog.runtime.assembly import open_assembly
from turnlog.runtime.engine.session import Session
from turnlog.runtime.processes.family import read_process
from turnlog.runtime.scripted_model.script import Response, Script, call, message
from turnlog.runtime.scripted_model.server import serve_script
from turnlog.runtime.store.memory.log import MemoryLog, MemoryStore


def texts(records: list[Recorded]) -> list[str]:
    """Return what a session was told beside its prompts, and has taken."""
    refused = {event.op_id for event in of(OpRefused, records)}
    return [
        item.text
        for event in of(OpReceived, records)
        if isinstance(event.op, UserInput) and event.op_id not in refused
        for item in event.op.items
        if isinstance(item, TextInput)
    ]


def assert_each_run_ended_once(records: list[Recorded]) -> None:
    asked = of(ChildAsked, records)
    lost = {event.effect for event in of(EffectLost, records)}
    ended = [event.effect for event in of(ChildEnded, records)]
    assert sorted(ended) == sorted({event.effect for event in asked} - lost)


async def test_an_interrupt_of_the_parent_reaps_all_agents_and_their_processes(
    tmp_path: Path,
) -> None:
    script = (
        [spawn("first"), spawn("second")],
        only("first", LONG),
        only("second", UNTIL_GO),
        call("wait_agent", {"targets": ["AGENT1", "AGENT2"]}),
    )
    async with led(tmp_path, *script) as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            for number in (1, 2):
                child = await child_of(h, session, number)
                await until(child, ToolStarted, after=0)
            await eventually(lambda: is_there(tmp_path / "pid"))
            await session.interrupt()
        records = await h.events(session)
        assert ends(records) == [("interrupted", None)] * 2
        assert the(TurnEnded, records).status == "interrupted"
        process = read_process(int((tmp_path / "pid").read_text()))
        assert process is None or not process.is_alive
        for name in children(records):
            assert h.sessions.running(name) is None
            assert the(TurnEnded, await h.events(name)).status == "interrupted"
        assert_each_run_ended_once(records)


async def test_an_agent_that_was_just_asked_for_is_stopped_with_its_parent(tmp_path: Path) -> None:
    async with led(tmp_path, spawn("count"), only("count", LONG), "next") as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            await until(session, ChildAsked, after=0)
            await session.interrupt()
        records = await h.events(session)
        assert ends(records) == [("interrupted", None)]
        assert the(TurnEnded, records).status == "interrupted"


async def test_an_engine_that_closes_sees_agents_to_their_end(tmp_path: Path) -> None:
    log = MemoryLog()
    script = (spawn("count"), only("count", LONG), WAIT)
    async with led(tmp_path, *script, log=log) as h:
        session = await h.start()
        await session.submit(prompt("go"))
        child = await child_of(h, session)
        await until(child, ToolStarted, after=0)
    for name in (session.id, child.id):
        records = await log.read(name)
        assert the(TurnEnded, records).status == "interrupted"
        assert isinstance(records[-1].event, SessionClosed)
    assert ends(await log.read(session.id)) == [("interrupted", None)]


Moment = Callable[[House, Session], Awaitable[None]]


async def killed(store: MemoryStore, folder: Path, when: Moment, *script: Says) -> SessionId:
    """Run a parent's turn; kill the engine once `when` has come."""
    log = MemoryLog(store, "the first engine")
    async with led(folder, *script, log=log, checked=False) as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            await when(h, session)
            log.kill()
            nursery.cancel_scope.cancel()
    return session.id


async def at_the_order(h: House, session: Session) -> None:
    await until(session, ChildAsked, after=0)


async def at_work(h: House, session: Session) -> None:
    await until(await child_of(h, session), ToolStarted, after=0)


async def at_the_end_of_the_child(h: House, session: Session) -> None:
    asked = await until(session, ChildAsked, after=0)
    await child_of(h, session)
    while h.sessions.running(asked.child) is not None:
        await trio.lowlevel.checkpoint()


async def after_its_end(h: House, session: Session) -> None:
    await until(session, ChildEnded, after=0)


def _name(moment: object) -> str:
    return getattr(moment, "__name__", "")


MOMENTS: Final[list[Moment]] = [at_the_order, at_work, at_the_end_of_the_child, after_its_end]


@pytest.mark.parametrize("when", MOMENTS, ids=_name)
async def test_after_a_kill_the_parent_hears_of_one_end(when: Moment, tmp_path: Path) -> None:
    store = MemoryStore()
    works = when in (at_the_order, at_work)
    busy = [only("count", LONG)] if works else []
    name = await killed(store, tmp_path, when, spawn("count"), *busy, only("count", "7"), "sent")
    log = MemoryLog(store, "the second engine")
    rest = Response(items=[message("ok")], repeat=3)
    async with led(tmp_path, only("count", "7"), rest, log=log) as h:
        session = await h.engine.resume(name)
        await until(session, TurnEnded, after=0)
        records = await h.events(session)
        (child,) = children(records)
        assert ends(records) == [("completed", "7")]
        assert len(notifications(session)) == 1
        assert_each_run_ended_once(records)
        assert len(of(TurnEnded, await h.events(child))) == 1


@pytest.mark.parametrize("when", MOMENTS[:3], ids=_name)
async def test_after_a_kill_an_interrupting_recovery_stops_the_agent_too(
    when: Moment,
    tmp_path: Path,
) -> None:
    store = MemoryStore()
    name = await killed(store, tmp_path, when, spawn("count"), *_work(when), "sent")
    log = MemoryLog(store, "the second engine")
    async with led(tmp_path, "next", log=log) as h:
        session = await h.engine.resume(name, on_recovery="interrupt")
        await until(session, TurnEnded, after=0)
        records = await h.events(session)
        assert the(TurnEnded, records).status == "interrupted"
        status = "completed" if when is at_the_end_of_the_child else "interrupted"
        assert [status for status, _ in ends(records)] == [status]
        assert h.sessions.running(children(records)[0]) is None
        assert_each_run_ended_once(records)


def _work(when: Moment) -> list[Response]:
    return [only("count", "7") if when is at_the_end_of_the_child else only("count", LONG)]


async def test_after_a_kill_a_closed_agent_does_not_continue(tmp_path: Path) -> None:
    store = MemoryStore()

    async def when_closed(h: House, session: Session) -> None:
        await until(session, ChildStopping, after=0)

    close = call("close_agent", {"target": "AGENT1"})
    name = await killed(store, tmp_path, when_closed, spawn("count"), only("count", LONG), close)
    log = MemoryLog(store, "the second engine")
    async with led(tmp_path, Response(items=[message("ok")], repeat=2), log=log) as h:
        session = await h.engine.resume(name)
        await until(session, TurnEnded, after=0)
        assert ends(await h.events(session)) == [("interrupted", None)]


async def test_what_an_agent_was_told_before_a_kill_is_told_once(tmp_path: Path) -> None:
    store = MemoryStore()

    async def when_told(h: House, session: Session) -> None:
        await until(session, ChildTold, after=0)

    send = call("send_input", {"target": "AGENT1", "message": "more"})
    first = (spawn("count"), only("count", UNTIL_GO), send, WAIT)
    name = await killed(store, tmp_path, when_told, *first)
    log = MemoryLog(store, "the second engine")
    again = Response(items=[message("7")], only_for="count", repeat=3)
    async with led(tmp_path, again, Response(items=[message("ok")], repeat=4), log=log) as h:
        session = await h.engine.resume(name)
        await until(session, TurnEnded, after=0)
        records = await h.events(session)
        (child,) = children(records)
        said = [part for part in await _history(h, child) if '"more"' in part]
        assert len(said) == 1
        assert_each_run_ended_once(records)


async def _history(h: House, child: SessionId) -> list[str]:
    return [*(await h.engine.resume(child)).history()]


@pytest.mark.parametrize("delay_ms", [0, 5, 10, 15, 20, 30])
async def test_what_is_sent_while_an_agent_ends_reaches_it(delay_ms: int, tmp_path: Path) -> None:
    send = call("send_input", {"target": "AGENT1", "message": "one more thing"})
    script = (
        spawn("count"),
        only("count", "7", delay_ms=3),
        Response(items=[send], delay_ms=delay_ms // 5),
        Response(items=[message("7")], only_for="count", repeat=2),
        Response(items=[message("ok")], repeat=3),
    )
    async with led(tmp_path, *script) as h:
        session = await h.start()
        events = await play(session)
        (child,) = children(events)
        history = await _history(h, child)
        assert sum("one more thing" in part for part in history) == 1
        assert the(TurnEnded, events).status == "completed"
        assert {status for status, _ in ends(events)} == {"completed"}
        assert_each_run_ended_once(events)


async def test_input_that_comes_as_an_agent_closes_is_taken_or_refused_never_lost(
    tmp_path: Path,
) -> None:
    async with led(tmp_path, Response(items=[message("7")], repeat=1000)) as h:
        children = h.sessions.ports.children
        assert children is not None
        settings = configured(h.server.base_url).session_settings(tmp_path)
        taken: list[bool] = []
        for number in range(36):
            pause = max(0, number - 24)  # checkpoints; mostly it comes in the very moment
            child = SessionId(f"0198{number:04d}-0000-7000-8000-000000000000")
            asked = ChildAsked(EffectId("e"), child, "agent", "a", 1, "count", settings)
            told = ChildTold(EffectId("t"), child, "more", "more", interrupt=bool(number % 2))
            order = ChildOrder(SessionId("parent"), asked)

            async def tell(told: ChildTold = told, pause: int = pause) -> None:
                while h.sessions.running(told.child) is None:
                    await trio.lowlevel.checkpoint()
                await until(await h.engine.resume(told.child), TurnEnded, after=0)
                for _ in range(pause):
                    await trio.lowlevel.checkpoint()
                try:
                    await children.tell(told)
                except Rejected:
                    taken.append(False)
                else:
                    taken.append(True)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(tell)
                result = await children.run(order)
            records = await h.events(child)
            assert result.status == "completed"
            assert texts(records) == (["more"] if taken[-1] else [])
            assert {event.status for event in of(TurnEnded, records)} == {"completed"}
        assert set(taken) == {True, False}


async def test_an_agent_that_is_run_again_after_its_end_says_what_it_said(tmp_path: Path) -> None:
    async with led(tmp_path, "7") as h:
        children = h.sessions.ports.children
        assert children is not None
        settings = configured(h.server.base_url).session_settings(tmp_path)
        child = SessionId("01980000-0000-7000-8000-000000000000")
        asked = ChildAsked(EffectId("e"), child, "agent", "a", 1, "count", settings)
        order = ChildOrder(SessionId("parent"), asked)
        first = await children.run(order)
        head = await h.log.head(child)
        assert await children.run(order) == first
        assert await children.stop(order) == first
        assert await h.log.head(child) == head
        assert first.output == "7"


async def test_after_a_kill_9_the_agent_continues_from_disk_and_ends_once(tmp_path: Path) -> None:
    work = only("tally", shell("echo ran >> ran; until [ -e go ]; do sleep 0.02; done"))
    script = (
        spawn("tally"), work, only("tally", "7"), Response(items=[message("ok")], repeat=4),
    )  # fmt: skip
    folder, home = tmp_path / "work", tmp_path / "home"
    folder.mkdir()
    async with serve_script(Script.of(*script)) as server:
        with start_child(home, folder, server.base_url) as process:
            try:
                async with process.output() as output:
                    with trio.fail_after(60):
                        first = b""
                        while b"\n" not in first:
                            first += await output.receive_some()
                        await eventually(lambda: is_there(folder / "ran"))
            finally:
                process.kill()
        (folder / "go").touch()  # nothing confines the command, so nothing else would end it
        name = SessionId(first.decode().split("\n")[0])
        async with open_assembly(home=home, config=config(server.base_url)) as assembly:
            session = await assembly.engine.resume(name)
            with trio.fail_after(60):
                await until(session, TurnEnded, after=0)
            log = assembly.log
            records = await log.read(name, limit=10_000)
            (child,) = children(records)
            of_child = await log.read(child, limit=10_000)
    assert_sound(records)
    assert_sound(of_child)
    assert ends(records) == [("completed", "7")]
    assert_each_run_ended_once(records)
    assert the(CallSettled, of_child).outcome in ("stopped", "unknown")
    assert (folder / "ran").read_text() == "ran\n"
