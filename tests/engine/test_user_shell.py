"""The user's own commands: they run at once and plainly, and the model never hears of them."""

import json
from pathlib import Path

import trio

from tests.engine.agents import eventually
from tests.engine.kit import house, is_there, of, play, shell, the, until
from tests.errors import raises_code
from turnlog.protocol.calls import CommandReport
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.events import (
    InputQueued,
    ModelAsked,
    ToolFinished,
    ToolStarted,
    TurnEnded,
    TurnOpened,
    UserShellAsked,
)
from turnlog.protocol.notices import ToolOutputDelta
from turnlog.protocol.ops import RunUserShellCommand
from turnlog.runtime.engine.session import Session
from turnlog.runtime.processes.family import read_process
from turnlog.runtime.store.memory.log import MemoryLog, MemoryStore


async def run(session: Session, command: str) -> list[Recorded]:
    return [recorded async for recorded in session.run(RunUserShellCommand(command))]


async def test_a_command_runs_and_the_model_is_told_nothing(tmp_path: Path) -> None:
    async with house(tmp_path, "hello", "next") as h:
        session = await h.start()
        await play(session)
        before = session.history()
        events = await run(session, "echo out of sight; exit 3")
        assert the(TurnOpened, events).kind == "shell"
        finished = the(ToolFinished, events)
        assert finished.output == "out of sight\n"
        assert isinstance(finished.report, CommandReport)
        assert finished.report.exit_code == 3
        assert the(TurnEnded, events).status == "completed"
        assert of(ModelAsked, events) == []
        assert session.history() == before
        await play(session, "and now?")
        assert "out of sight" not in json.dumps([request.body for request in h.server.requests])


async def test_it_is_neither_confined_nor_asked_about(tmp_path: Path) -> None:
    async with house(tmp_path, sandbox_mode="read-only", approval_policy="untrusted") as h:
        session = await h.start()
        events = await run(session, "echo ran > ran")
        assert the(ToolFinished, events).outcome == "done"
        assert (tmp_path / "ran").read_text() == "ran\n"


async def test_its_output_is_shown_as_it_comes_and_an_interrupt_ends_it(tmp_path: Path) -> None:
    async with house(tmp_path, "next") as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, session, "echo $$ | tee pid; sleep 1000 & wait")
            shown = await until(session, ToolOutputDelta, after=0)
            await eventually(lambda: is_there(tmp_path / "pid"))
            await session.interrupt()
        records = await h.events(session)
        assert the(ToolFinished, records).outcome == "cancelled"
        assert the(TurnEnded, records).status == "interrupted"
        process = read_process(int(shown.delta))
        assert process is None or not process.is_alive
        assert session.history() == []
        assert the(TurnEnded, await play(session)).status == "completed"


async def test_one_that_is_asked_for_while_a_turn_runs_comes_after_it(tmp_path: Path) -> None:
    waits = shell("until [ -e go ]; do sleep 0.02; done")
    async with house(tmp_path, waits, "done") as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            await until(session, ToolStarted, after=0)
            step = await session.submit(RunUserShellCommand("echo mine"))
            assert the(InputQueued, step).until == "turn"
            (tmp_path / "go").touch()
            await until(session, TurnEnded, after=0, number=2)
        records = await h.events(session)
        assert [event.kind for event in of(TurnOpened, records)] == ["regular", "shell"]
        assert of(ToolFinished, records)[1].output == "mine\n"


async def test_an_empty_one_is_refused(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        session = await h.start()
        with raises_code(ErrorCode.EMPTY_INPUT):
            await session.submit(RunUserShellCommand(" "))


async def test_one_that_a_kill_cut_off_is_not_run_again(tmp_path: Path) -> None:
    store = MemoryStore()
    log = MemoryLog(store, "first")
    async with house(tmp_path, log=log, checked=False) as h:
        session = await h.start()
        await session.submit(RunUserShellCommand("echo ran >> ran; sleep 1000"))
        await eventually(lambda: is_there(tmp_path / "ran"))
        log.kill()
    async with house(tmp_path, "next", log=MemoryLog(store, "second")) as h:
        session = await h.engine.resume(session.id)
        if session.is_running:
            await until(session, TurnEnded, after=0)
        records = await h.events(session)
        assert the(TurnEnded, records).status == "interrupted"
        assert len(of(UserShellAsked, records)) == 1
        assert (tmp_path / "ran").read_text() == "ran\n"
        assert the(TurnEnded, await play(session)).status == "completed"
