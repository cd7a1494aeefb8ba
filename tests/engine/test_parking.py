"""Parking: a question that nobody answers closes its session, which asks again once opened."""

from pathlib import Path
from typing import Any, Final

import trio
from msgspec import structs

from tests.engine.agents import child_of, ends, led, only, spawn
from tests.engine.kit import Says, actor_of, house, is_there, of, outputs, shell, the, until
from turnlog.protocol.events import (
    ApprovalAsked,
    CallParked,
    SessionClosed,
    ToolFinished,
    TurnEnded,
)
from turnlog.protocol.ids import SessionId
from turnlog.protocol.ops import ExecApproval, Submission, prompt
from turnlog.protocol.settings import UnansweredPolicy
from turnlog.runtime.scripted_model.script import Response, message
from turnlog.runtime.store.memory.log import MemoryLog, MemoryStore

PARKING: Final[dict[str, Any]] = {
    "approval_policy": "on-request",
    "sandbox_mode": "read-only",
    "approval_timeout_ms": 30,
    "unanswered": UnansweredPolicy(command="park", patch="park"),
}
PATIENT: Final[dict[str, Any]] = PARKING | {"approval_timeout_ms": None}
ESCALATED: Final = shell("echo ran >> ran; cat ran", sandbox_permissions="require_escalated")


async def parked(store: MemoryStore, folder: Path, *script: Says) -> SessionId:
    """Run a turn until its session closes itself."""
    log = MemoryLog(store, "first")
    async with house(folder, *script, log=log, **PARKING) as h:
        session = await h.start()
        await session.submit(prompt("go"))
        async for _ in session.watch(after=0):
            pass
        records = await h.events(session)
        assert isinstance(records[-1].event, SessionClosed)
        assert records[-1].event.reason == "parked"
        assert of(TurnEnded, records) == []
        assert h.sessions.running(session.id) is None
        return session.id


async def test_the_session_closes_with_its_question_open(tmp_path: Path) -> None:
    store = MemoryStore()
    name = await parked(store, tmp_path, ESCALATED)
    assert the(CallParked, await MemoryLog(store).read(name)).call == 0
    assert not is_there(tmp_path / "ran")


async def test_whoever_opens_it_is_asked_again_and_the_turn_continues(tmp_path: Path) -> None:
    store = MemoryStore()
    name = await parked(store, tmp_path, ESCALATED)
    async with house(tmp_path, "done", log=MemoryLog(store, "second"), **PATIENT) as h:
        session = await h.engine.resume(name)
        again = await until(session, ApprovalAsked, after=0, number=2)
        first = of(ApprovalAsked, await h.events(session))[0]
        assert again == structs.replace(first, effect=again.effect)
        await session.answer(again.question, "approved")
        ended = await until(session, TurnEnded, after=0)
        assert ended.status == "completed"
        assert outputs(h.server)[0].endswith("ran\n")
    assert (tmp_path / "ran").read_text() == "ran\n"


async def test_a_resume_in_the_moment_of_parking_returns_the_session_that_takes_the_answer(
    tmp_path: Path,
) -> None:
    config: dict[str, Any] = PARKING | {"approval_timeout_ms": 300}
    async with house(tmp_path, ESCALATED, "done", **config) as h:
        first = await h.start()
        await first.submit(prompt("go"))
        while not actor_of(first).state.closed:  # decided, and not yet over
            await trio.lowlevel.checkpoint()
        assert h.sessions.running(first.id) is None
        session = await h.engine.resume(first.id)
        asked = await until(session, ApprovalAsked, after=0, number=2)
        await session.answer(asked.question, "approved")
        assert (await until(session, TurnEnded, after=0)).status == "completed"


async def test_an_answer_that_was_left_meanwhile_counts(tmp_path: Path) -> None:
    store = MemoryStore()
    name = await parked(store, tmp_path, ESCALATED)
    elsewhere = MemoryLog(store, "elsewhere")
    asked = the(ApprovalAsked, await elsewhere.read(name))
    await elsewhere.leave(name, Submission("mine", ExecApproval(asked.question, "approved"), "cli"))
    async with house(tmp_path, "done", log=MemoryLog(store, "second"), **PATIENT) as h:
        session = await h.engine.resume(name)
        await until(session, TurnEnded, after=0)
        assert outputs(h.server)[0].endswith("ran\n")
        assert await elsewhere.inbox(name) == []


async def test_it_parks_again_if_nobody_answers_again(tmp_path: Path) -> None:
    store = MemoryStore()
    name = await parked(store, tmp_path, ESCALATED)
    async with house(tmp_path, log=MemoryLog(store, "second"), **PARKING) as h:
        session = await h.engine.resume(name)
        async for _ in session.watch(after=0):
            pass
        closed = of(SessionClosed, await h.events(session))
        assert [event.reason for event in closed] == ["parked", "parked"]


async def test_it_waits_for_what_runs_beside_the_question(tmp_path: Path) -> None:
    store = MemoryStore()
    beside = shell("sleep 0.3; echo beside", sandbox_permissions="use_default")
    name = await parked(store, tmp_path, [beside, ESCALATED])
    records = await MemoryLog(store).read(name)
    assert the(ToolFinished, records).output == "beside\n"
    async with house(tmp_path, "done", log=MemoryLog(store, "second"), **PATIENT) as h:
        session = await h.engine.resume(name)
        again = await until(session, ApprovalAsked, after=0, number=2)
        await session.answer(again.question, "denied")
        await until(session, TurnEnded, after=0)
        first, second = outputs(h.server)
        assert first.endswith("beside\n")
        assert second == "rejected by user"


async def test_an_agent_that_parks_is_told_as_one_that_waits_for_an_answer(tmp_path: Path) -> None:
    script = (spawn("do it"), only("do it", ESCALATED), Response(items=[message("ok")], repeat=3))
    async with led(tmp_path, *script, **PARKING) as h:
        session = await h.start()
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(session.submit, prompt("go"))
                child = await child_of(h, session)
                await until(session, TurnEnded, after=0)
        records = await h.events(session)
        assert [status for status, _ in ends(records)] == ["failed"]
        assert "waits for an answer" in session.history()[-2]
        assert len(of(CallParked, await h.events(child))) == 1
