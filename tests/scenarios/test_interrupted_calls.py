"""An interrupt or a crash poisons the conversation, or tells the model what is not so: not here."""

from pathlib import Path
from typing import Final

import pytest
import trio

from tests.engine.kit import house, is_there, of, outputs, play, shell, the, told, until
from tests.scenarios.kit import abandoned, assert_valid, sent
from turnlog.actors.core import texts
from turnlog.protocol.events import (
    CallSettled,
    ModelCompleted,
    ToolDispatched,
    ToolFinished,
    ToolStarted,
    TurnEnded,
)
from turnlog.protocol.notices import ToolOutputDelta
from turnlog.runtime.scripted_model.script import custom
from turnlog.runtime.store.lmdb.log import open_log

PATCH: Final = "*** Begin Patch\n*** Add File: note.txt\n+hello\n*** End Patch\n"
ENDLESS: Final = shell("echo written > file; echo so far; sleep 1000")


async def test_an_interrupted_running_tool_is_not_told_as_rejected(tmp_path: Path) -> None:
    async with house(tmp_path, ENDLESS, "next") as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            await until(session, ToolOutputDelta, after=0)
            await session.interrupt()
        await play(session, "and now")
        finished = the(ToolFinished, await h.events(session))
        assert finished.outcome == "cancelled"
        (output,) = outputs(h.server)
        assert output == told(finished)
        assert "aborted by user" in output
        assert output.endswith("so far\n")
        assert "Wall time: " in output
        assert "reject" not in output
        assert (tmp_path / "file").read_text() == "written\n"
        assert_valid(sent(h.server)[-1])


async def test_a_call_after_it_is_told_as_never_started_and_did_nothing(tmp_path: Path) -> None:
    async with house(tmp_path, [ENDLESS, custom("apply_patch", PATCH)], "next") as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            await until(session, ModelCompleted, after=0)
            await until(session, ToolStarted, after=0)
            await session.interrupt()
        await play(session, "and now")
        assert outputs(h.server)[1] == texts.NEVER_STARTED
        assert not is_there(tmp_path / "note.txt")
        assert_valid(sent(h.server)[-1])


async def test_a_tool_that_ran_when_its_engine_was_killed_is_told_as_stopped(
    tmp_path: Path,
) -> None:
    async with (
        open_log(tmp_path / "store") as log,
        house(tmp_path, shell("echo ran | tee -a ran; sleep 1000"), log=log) as h,
    ):
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            await until(session, ToolOutputDelta, after=0)
            await until(session, ModelCompleted, after=0)
            async with (
                abandoned(log, tmp_path / "left") as left,
                house(tmp_path, "so it was", log=left) as later,
            ):
                again = await later.engine.resume(session.id)
                await until(again, TurnEnded, after=0)
                assert outputs(later.server) == [texts.STOPPED]
                assert_valid(sent(later.server)[-1])
                assert the(CallSettled, await later.events(again)).outcome == "stopped"
            await session.interrupt()
    assert (tmp_path / "ran").read_text() == "ran\n"


async def test_a_session_that_is_cut_at_any_event_continues_with_a_valid_request(
    tmp_path: Path,
) -> None:
    calls = [shell("echo a"), custom("apply_patch", PATCH), shell("echo b")]
    async with house(tmp_path, calls, shell("exit 3"), "done", *["more"] * 99) as h:
        session = await h.start()
        await play(session)
        head, outcomes = session.head, set[str]()
        for at in range(1, head + 1):
            branch = await session.fork(at=at)
            if branch.cut != at:
                continue
            ended = of(TurnEnded, await play(branch, "continue"))
            assert ended[-1].status == "completed"
            assert_valid(sent(h.server)[-1])
            outcomes |= {event.outcome for event in of(CallSettled, await h.events(branch))}
            await branch.close()
        assert outcomes <= {"never_started", "stopped", "unknown"}
        assert {"stopped", "unknown"} <= outcomes


@pytest.mark.parametrize("cut", ["dispatched", "started"])
async def test_nothing_that_may_have_run_is_run_again(cut: str, tmp_path: Path) -> None:
    async with house(tmp_path, shell("echo ran >> ran"), "done", "of the fork") as h:
        session = await h.start()
        await play(session)
        kind = ToolDispatched if cut == "dispatched" else ToolStarted
        place = next(r for r in await h.events(session) if isinstance(r.event, kind))
        branch = await session.fork(at=place.sequence)
        await play(branch, "continue")
        (told_of_it,) = outputs(h.server)
        assert told_of_it == (texts.UNKNOWN if cut == "dispatched" else texts.STOPPED)
        assert (tmp_path / "ran").read_text() == "ran\n"
