"""Interrupting a turn, wherever it is: it ends once, its processes are gone, the next one works."""

import re
from pathlib import Path

import pytest
import trio

from tests.engine.kit import (
    House,
    house,
    is_there,
    kinds,
    of,
    outputs,
    play,
    shell,
    the,
    told,
    until,
)
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.events import (
    ApprovalAsked,
    CallSettled,
    EffectClosed,
    ModelCompleted,
    ModelFailed,
    OpReceived,
    RetryScheduled,
    ToolFinished,
    ToolStarted,
    TurnEnded,
)
from turnlog.protocol.notices import AgentMessageDelta, ToolOutputDelta
from turnlog.protocol.ops import Interrupt
from turnlog.runtime.engine.session import Session
from turnlog.runtime.processes.family import read_process
from turnlog.runtime.scripted_model.script import Response, custom

PATIENT = 120  # seconds that an interrupt may take here; what is interrupted would last longer


async def interrupted(h: House, session: Session) -> list[Recorded]:
    """Interrupt; return the events of the turn that ended by it, and check that all continues."""
    with trio.fail_after(PATIENT):
        await session.interrupt()
        await until(session, TurnEnded, after=0)
    records = await h.events(session)
    assert the(TurnEnded, records).status == "interrupted"
    assert sum("<turn_aborted>" in part for part in session.history()) == 1
    after = await play(session, "and now")
    assert the(TurnEnded, after).status == "completed"
    return records


def is_running(pid: int) -> bool:
    process = read_process(pid)
    return process is not None and process.is_alive


async def test_while_the_model_speaks_what_it_said_stays_in_the_log(tmp_path: Path) -> None:
    speaking = Response(
        items=[{"type": "message", "role": "assistant", "content": []}, _message("half a word")],
        stall_after=8,
    )
    async with house(tmp_path, speaking, "next") as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            await until(session, AgentMessageDelta, after=0)
            records = await interrupted(h, session)
        failed = the(ModelFailed, records)
        assert failed.failure.code == "cancelled"
        assert "half a word".startswith(failed.partial_text)
        assert failed.partial_text


def _message(text: str) -> dict[str, object]:
    part: dict[str, object] = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "role": "assistant", "content": [part]}


async def test_before_the_model_has_answered_at_all(tmp_path: Path) -> None:
    async with house(tmp_path, Response(no_answer="stall"), "next") as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            await h.server.wait_request(1)
            records = await interrupted(h, session)
        assert kinds(records)[-4:] == [
            "turn_stopping",
            "model_failed",
            "items_recorded",
            "turn_ended",
        ]


async def test_while_a_command_runs_all_its_processes_are_gone_before_the_turn_ends(
    tmp_path: Path,
) -> None:
    command = "sleep 1000 & setsid sleep 1000 & echo $! $$; wait"
    async with house(tmp_path, shell(command), "next") as h:
        session = await h.start()
        pids: list[int] = []
        running_at_the_end: list[int] = []

        async def watch() -> None:
            async for publication in session.watch(after=0):
                if isinstance(publication, ToolOutputDelta):
                    pids.extend(map(int, publication.delta.split()))
                if isinstance(publication, Recorded) and isinstance(publication.event, TurnEnded):
                    running_at_the_end.extend(filter(is_running, pids))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            nursery.start_soon(play, session)
            await until(session, ToolOutputDelta, after=0)
            records = await interrupted(h, session)
            await session.close()
        assert len(pids) == 2
        assert running_at_the_end == []
        finished = the(ToolFinished, records)
        assert finished.outcome == "cancelled"
        assert finished.output == f"{pids[0]} {pids[1]}\n"
        pattern = r"Wall time: \d+\.\d seconds\naborted by user\nOutput:\n"
        assert re.fullmatch(pattern, finished.preamble)
        assert outputs(h.server) == [told(finished)]


async def test_a_silent_command_that_is_interrupted_says_what_codex_says(tmp_path: Path) -> None:
    async with house(tmp_path, shell("sleep 1000"), "next") as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            await until(session, ToolStarted, after=0)
            records = await interrupted(h, session)
    assert re.fullmatch(
        r"Wall time: \d+\.\d seconds\naborted by user", told(the(ToolFinished, records))
    )


async def test_calls_that_wait_after_the_running_one_were_never_started(tmp_path: Path) -> None:
    patch = "*** Begin Patch\n*** Add File: note.txt\n+hello\n*** End Patch\n"
    calls = [shell("sleep 1000"), custom("apply_patch", patch), shell("touch ran")]
    async with house(tmp_path, calls, "next") as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            await until(session, ModelCompleted, after=0)
            await until(session, ToolStarted, after=0)
            records = await interrupted(h, session)
        settled = [(event.call, event.outcome) for event in of(CallSettled, records)]
        assert settled == [(1, "never_started"), (2, "never_started")]
        assert len(outputs(h.server)) == 3
        assert not is_there(tmp_path / "note.txt")
        assert not is_there(tmp_path / "ran")


async def test_while_a_retry_waits(tmp_path: Path) -> None:
    busy = Response(status=503, headers={"retry-after": "3600"})
    async with house(tmp_path, busy, "next") as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            waiting = await until(session, RetryScheduled, after=0)
            assert waiting.delay_ms >= 3_600_000
            records = await interrupted(h, session)
        assert EffectClosed(waiting.effect, "cancelled") in of(EffectClosed, records)


async def test_while_a_question_is_open(tmp_path: Path) -> None:
    escalated = shell("touch ran", sandbox_permissions="require_escalated")
    async with house(
        tmp_path, escalated, "next", approval_policy="on-request", sandbox_mode="read-only"
    ) as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            asked = await until(session, ApprovalAsked, after=0)
            records = await interrupted(h, session)
        assert EffectClosed(asked.effect, "cancelled") in of(EffectClosed, records)
        assert the(CallSettled, records).outcome == "never_started"
        assert not is_there(tmp_path / "ran")


@pytest.mark.parametrize("times", [2, 5])
async def test_interrupting_again_changes_nothing(times: int, tmp_path: Path) -> None:
    async with house(tmp_path, shell("sleep 1000"), "next") as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            await until(session, ToolStarted, after=0)
            async with trio.open_nursery() as hasty:
                for _ in range(times - 1):
                    hasty.start_soon(session.interrupt)
            records = await interrupted(h, session)
        interrupts = [op for op in of(OpReceived, records) if isinstance(op.op, Interrupt)]
        assert len(interrupts) == times
        assert kinds(records).count("turn_stopping") == 1


async def test_with_nothing_to_interrupt_nothing_happens(tmp_path: Path) -> None:
    async with house(tmp_path, "hello") as h:
        session = await h.start()
        await session.interrupt()
        events = await play(session)
        assert the(TurnEnded, events).status == "completed"
