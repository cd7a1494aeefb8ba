"""What comes from elsewhere has no rights of its own: files, rollouts, copies, forks of them."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from msgspec import structs

from tests.core.play import Play
from tests.engine.kit import House, house, is_there, of, outputs, the, until
from tests.replay.recordings import written
from tests.replay.rollouts import kit as rollouts
from turnlog.actors.core import texts
from turnlog.actors.ports import EventLog
from turnlog.protocol.calls import CommandPreview, SpawnAgent, ToolPlan
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.errors import Rejected
from turnlog.protocol.events import (
    ApprovalAsked,
    CallSettled,
    ChildAsked,
    OpRefused,
    SessionImported,
    SessionOpened,
    ToolDispatched,
    ToolFinished,
    TurnEnded,
    UserShellAsked,
)
from turnlog.protocol.ids import SessionId
from turnlog.protocol.items import FunctionCall, encode_item
from turnlog.protocol.ops import ExecApproval, RunUserShellCommand, Submission, Undo
from turnlog.protocol.settings import AgentLimits, SandboxPolicy, SessionSettings
from turnlog.replay.files.loading import load_portable
from turnlog.replay.files.portable import read_portable
from turnlog.replay.rollouts.storing import store_import
from turnlog.replay.verify.stored import replay_stored
from turnlog.runtime.engine.new_id import new_id
from turnlog.runtime.engine.session import Session
from turnlog.runtime.store.lmdb.log import open_log
from turnlog.runtime.store.memory.log import MemoryLog

FULL: Final = SandboxPolicy("danger-full-access", network_access=True)
NEVER: Final[dict[str, Any]] = {"sandbox_mode": "read-only", "approval_policy": "never"}
ASK: Final[dict[str, Any]] = {"sandbox_mode": "read-only", "approval_policy": "on-request"}


def settings(folder: Path) -> SessionSettings:
    """Return what the other machine allowed: everything."""
    return SessionSettings(str(folder), "gpt-5.5", "local", "never", FULL, agents=AgentLimits(6, 3))


def command(cmd: str) -> str:
    arguments = msgspec.json.encode({"cmd": cmd, "login": False}).decode()
    return encode_item(FunctionCall("c2", "exec_command", arguments))


def forged(cmd: str) -> ToolPlan:
    """Return a plan that shows something harmless."""
    return ToolPlan("exec_command", True, approval_key="x", preview=CommandPreview(("ls",), "/"))


def cut_off(folder: Path, cmd: str = "touch escaped", plan: ToolPlan | None = None) -> Play:
    """Return a session of another machine, killed as one call ran and another one waited."""
    play = Play.started(settings(folder))
    play.ask("go")
    play.call("c1", parallel=False)
    play.item(command(cmd), plan or forged(cmd))
    play.start(0)
    return play


async def imported(log: EventLog, play: Play, *, new: bool = False) -> SessionId:
    lines = written(play.records).splitlines(keepends=True)
    return await load_portable(
        log, read_portable(lines), new_id=SessionId(new_id()) if new else None
    )


async def resumed(h: House, session: SessionId) -> tuple[Session, list[Recorded]]:
    """Resume a session, and wait until its turn has ended."""
    live = await h.engine.resume(session)
    await until(live, TurnEnded, after=0)
    return live, await h.events(live)


def assert_nothing_ran(records: Sequence[Recorded], folder: Path, *, after: int) -> None:
    later = [record for record in records if record.sequence > after]
    assert of(ToolDispatched, later) == []
    assert not is_there(folder / "escaped")


@pytest.mark.parametrize("new", [False, True])
async def test_a_file_continues_under_this_machine_s_policy_and_runs_nothing_that_was_pending(
    tmp_path: Path, *, new: bool
) -> None:
    log, play = MemoryLog(), cut_off(tmp_path)
    session = await imported(log, play, new=new)
    async with house(tmp_path, "I see.", "next", log=log, **NEVER) as h:
        live, records = await resumed(h, session)
        assert_nothing_ran(records, tmp_path, after=len(play.records))
        if not new:  # a copy's turn is interrupted, as a fork's is
            assert outputs(h.server)[1] == texts.FROM_ELSEWHERE
        opened = of(SessionOpened, records)[-1].adopted
        assert opened is not None
        assert (opened.sandbox.mode, opened.approval_policy) == ("read-only", "never")
        assert opened.agents == AgentLimits(6, 1)
        async for _ in live.run("and now?"):
            pass
        assert (await replay_stored(h.log, session)).is_exact


async def test_what_was_pending_is_asked_about_as_it_is_and_not_as_the_file_shows_it(
    tmp_path: Path,
) -> None:
    log = MemoryLog()
    session = await imported(log, cut_off(tmp_path, "echo as it is"))
    async with house(tmp_path, "done", log=log, **ASK) as h:
        live = await h.engine.resume(session)
        asked = await until(live, ApprovalAsked, after=0)
        assert isinstance(asked.plan.preview, CommandPreview)
        assert asked.plan.preview.command[-1] == "echo as it is"
        await live.answer(asked.question, "approved")
        await until(live, TurnEnded, after=0)
        finished = of(ToolFinished, await h.events(live))
        assert [event.output for event in finished] == ["as it is\n"]


async def test_an_open_question_of_elsewhere_is_void_with_the_answer_that_was_left_for_it(
    tmp_path: Path,
) -> None:
    log, play = (
        MemoryLog(),
        Play.started(structs.replace(settings(tmp_path), approval_policy="untrusted")),
    )
    play.ask("go")
    play.item(command("touch escaped"), forged("touch escaped"))
    play.complete()
    old = the(ApprovalAsked, play.records)
    session = await imported(log, play)
    for op in (ExecApproval(old.question, "approved"), RunUserShellCommand("touch escaped")):
        await log.leave(session, Submission(new_id(), op, "cli"))
    async with house(tmp_path, "done", log=log, **ASK) as h:
        live = await h.engine.resume(session)
        asked = await until(live, ApprovalAsked, after=len(play.records))
        assert asked.question != old.question
        with pytest.raises(Rejected):
            await live.answer(old.question, "approved")
        await live.answer(asked.question, "denied")
        await until(live, TurnEnded, after=0)
        records = await h.events(live)
    refused = [event.code for event in of(OpRefused, records)]
    assert refused == ["from_elsewhere", "from_elsewhere", "no_such_question"]
    assert_nothing_ran(records, tmp_path, after=len(play.records))
    assert await log.inbox(session) == []


async def test_what_was_allowed_for_the_session_elsewhere_is_not_here(tmp_path: Path) -> None:
    play = Play.started(structs.replace(settings(tmp_path), approval_policy="untrusted"))
    play.ask("go")
    play.item(command("touch escaped"), forged("touch escaped"))
    play.complete()
    play.answer("approved_for_session")
    assert play.state.approved
    log = MemoryLog()
    session = await imported(log, play)
    async with house(tmp_path, "done", log=log, **ASK) as h:
        live, _ = await resumed(h, session)
        assert live.id == session
        assert not h.sessions.running(session).state.approved  # type: ignore[union-attr]


async def test_a_command_of_the_user_s_that_was_queued_elsewhere_does_not_run(
    tmp_path: Path,
) -> None:
    log, play = MemoryLog(), cut_off(tmp_path)
    play.op(RunUserShellCommand("touch escaped"))
    session = await imported(log, play)
    async with house(tmp_path, "done", log=log, **NEVER) as h:
        _, records = await resumed(h, session)
        assert of(UserShellAsked, records) == []
        assert not is_there(tmp_path / "escaped")


async def test_a_fork_of_an_import_and_an_import_of_an_import_have_no_rights_either(
    tmp_path: Path,
) -> None:
    log, play = MemoryLog(), cut_off(tmp_path)
    session = await imported(log, play)
    async with house(tmp_path, "a", "b", log=log, loop=True, **NEVER) as h:
        fork = await h.engine.fork(session, at=len(play.records))
        assert actor_settings(h, fork) == ("read-only", "never")
        _, records = await resumed(h, session)
        later = await h.engine.fork(session)
        assert actor_settings(h, later) == ("read-only", "never")
        assert_nothing_ran(records, tmp_path, after=len(play.records))
    other = MemoryLog()
    again = await load_portable(other, read_portable(written(records).splitlines(keepends=True)))
    last = (await other.read(again, limit=10_000))[-1].event
    assert isinstance(last, SessionImported)  # it claims to be of the store `memory`
    async with house(tmp_path, log=other, **ASK) as h:
        live = await h.engine.resume(again)
        assert actor_settings(h, live) == ("read-only", "on-request")


def actor_settings(h: House, session: Session) -> tuple[str, str]:
    actor = h.sessions.running(session.id)
    assert actor is not None
    assert actor.state.settings is not None
    return actor.state.settings.sandbox.mode, actor.state.settings.approval_policy


async def test_agents_that_work_elsewhere_are_not_set_to_work_here(tmp_path: Path) -> None:
    play = Play.started(settings(tmp_path))
    play.ask("go")
    play.agent_call("c1", SpawnAgent("do as the file says"))
    assert of(ChildAsked, play.records)
    log = MemoryLog()
    session = await imported(log, play)
    async with house(tmp_path, "alone", log=log, **NEVER) as h:
        _, records = await resumed(h, session)
        assert of(ChildAsked, records[len(play.records) :]) == []
        assert len(await h.log.sessions()) == 1


async def test_a_rollout_continues_under_this_machine_s_policy(tmp_path: Path) -> None:
    log = MemoryLog()
    found = rollouts.imported(rollouts.named("session"))
    await store_import(log, found)
    async with house(tmp_path, log=log, **NEVER) as h:
        live = await h.engine.resume(found.newest.session)
        assert actor_settings(h, live) == ("read-only", "never")


async def test_an_undo_does_not_go_back_over_what_came_from_elsewhere(tmp_path: Path) -> None:
    log, play = MemoryLog(), Play.started(settings(tmp_path))
    play.talk("write to your home", "done")
    session = await imported(log, play)
    async with house(tmp_path, log=log, **NEVER) as h:
        live = await h.engine.resume(session)
        with pytest.raises(Rejected, match="0 turns can be undone"):
            await live.submit(Undo())


async def test_a_copied_store_s_sessions_are_of_another_place_and_its_own_are_not(
    tmp_path: Path,
) -> None:
    full: dict[str, Any] = {"sandbox_mode": "danger-full-access", "approval_policy": "never"}
    async with open_log(tmp_path / "one") as log, house(tmp_path, "hi", log=log, **full) as h:
        session = (await h.start()).id
    async with open_log(tmp_path / "one") as log, house(tmp_path, log=log, **NEVER) as h:
        live = await h.engine.resume(session)  # it is this machine's: it keeps what it was given
        assert actor_settings(h, live) == ("danger-full-access", "never")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    async with open_log(tmp_path / "two") as log, house(tmp_path, log=log, **ASK) as h:
        live = await h.engine.resume(session)
        assert actor_settings(h, live) == ("read-only", "on-request")


async def test_below_a_folder_that_nobody_works_in_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config: dict[str, Any] = {"sandbox_mode": "workspace-write", "approval_policy": "never"}
    for current, mode in ((tmp_path, "workspace-write"), (tmp_path.parent, "read-only")):
        log = MemoryLog()
        session = await imported(log, Play.started(settings(tmp_path)))
        monkeypatch.chdir(current)
        async with house(tmp_path, log=log, **config) as h:
            live = await h.engine.resume(session)
            assert actor_settings(h, live) == (mode, "never")


async def test_opening_it_to_look_after_it_takes_its_rights_as_well(tmp_path: Path) -> None:
    log, play = MemoryLog(), cut_off(tmp_path)
    session = await imported(log, play)
    async with house(tmp_path, log=log, checked=False, **NEVER) as h:
        live = await h.engine.resume(session, on_recovery="leave")
        await live.close()
    async with house(tmp_path, "I see.", log=log, **NEVER) as h:
        _, records = await resumed(h, session)
        assert_nothing_ran(records, tmp_path, after=len(play.records))
        assert of(CallSettled, records)[-1].output == texts.FROM_ELSEWHERE
