"""Forks: at every event of a finished session, and of one that runs; the source is untouched."""

from itertools import pairwise
from pathlib import Path

import pytest
import trio

from tests.engine.kit import house, kinds, of, play, shell, the, until
from tests.errors import raises_code
from tests.store.test_lmdb_damage import change_event
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import LogDamaged
from turnlog.protocol.events import CallSettled, SessionForked, ToolStarted, TurnEnded
from turnlog.protocol.ids import SessionId
from turnlog.protocol.ops import prompt
from turnlog.protocol.version import VERSION
from turnlog.runtime.engine.new_id import new_id
from turnlog.runtime.scripted_model.script import custom
from turnlog.runtime.store.lmdb.log import open_log

PATCH = "*** Begin Patch\n*** Add File: note.txt\n+hello\n*** End Patch\n"


async def test_a_fork_at_every_event_runs_on_and_the_source_is_untouched(tmp_path: Path) -> None:
    script = ([shell("echo a"), shell("echo b")], custom("apply_patch", PATCH), "one", "two")
    async with house(tmp_path, *script, *["more"] * 99) as h:
        session = await h.start()
        await play(session, "alpha")
        await play(session, "omega")
        source = await h.events(session)
        ends = [record.sequence for record, after in pairwise(source) if after.role == "fact"]
        ends.append(source[-1].sequence)
        for at in range(1, len(source) + 1):
            branch = await session.fork(at=at)
            cut = next(end for end in ends if end >= at)
            assert branch.cut == cut
            events = await play(branch, "continue")
            assert of(TurnEnded, events)[-1].status == "completed"
            assert branch.head > cut
            records = await h.events(branch)
            assert records[:cut] == source[:cut]
            forked = the(SessionForked, records)
            assert (forked.parent, forked.cut) == (session.id, cut)
            await branch.close()
        assert await h.events(session) == source


async def test_a_fork_of_a_session_that_runs_ends_its_turn_and_leaves_the_source_running(
    tmp_path: Path,
) -> None:
    waiting = shell("until [ -e go ]; do :; done; echo went")
    async with house(tmp_path, waiting, "from the branch", "from the source") as h:
        session = await h.start()
        await session.submit(prompt("go"))
        await until(session, ToolStarted, after=0)
        branch = await session.fork()
        assert the(TurnEnded, await h.events(branch)).status == "interrupted"
        assert [event.outcome for event in of(CallSettled, await h.events(branch))] == ["stopped"]
        events = await play(branch, "and you")
        assert the(TurnEnded, events).last_agent_message == "from the branch"
        assert len(of(TurnEnded, await h.events(session))) == 0
        (tmp_path / "go").touch()
        await until(session, TurnEnded, after=0)
        assert the(TurnEnded, await h.events(session)).last_agent_message == "from the source"


async def test_a_damaged_session_is_forked_where_the_damage_is_said_to_allow_it(
    tmp_path: Path,
) -> None:
    calls = [shell("echo a"), shell("echo b")]
    async with (
        open_log(tmp_path / "store") as log,
        house(tmp_path, calls, "one", *["more"] * 99, log=log, checked=False) as h,
    ):
        session = await h.start()
        await play(session)
        source = await h.events(session)
        await session.close()
        for damaged in range(len(source), 1, -1):
            await log.commit(change_event(session.id, damaged))
            with pytest.raises(LogDamaged, match=rf"--at {damaged - 1}`"):
                await h.events(session)
            sound = damaged - 1
            while source[sound - 1].role != "fact":
                sound -= 1
            if sound == 1:
                break
            branch = await h.engine.fork(session.id, at=damaged - 1)
            assert branch.cut == sound - 1
            await branch.close()


@pytest.mark.parametrize("within", [False, True], ids=["idle", "within a turn"])
async def test_a_fork_whose_engine_died_before_its_first_event_is_one_all_the_same(
    within: bool, tmp_path: Path
) -> None:
    async with house(tmp_path, shell("echo a"), "one", "of the fork") as h:
        session = await h.start()
        await play(session)
        source = await h.events(session)
        cut = (
            len(source)
            if not within
            else next(r.sequence for r in source if isinstance(r.event, ToolStarted))
        )
        child = SessionId(new_id())
        await h.log.fork(session.id, cut, child)
        branch = await h.engine.resume(child, on_recovery="interrupt")
        assert branch.id == child
        assert the(TurnEnded, await play(branch)).last_agent_message == "of the fork"
        forked = the(SessionForked, await h.events(branch))
        assert forked == SessionForked(
            child, session.id, cut, source[cut - 1].digest.hex(), VERSION
        )
        assert await h.events(session) == source


@pytest.mark.parametrize("at", [0, -1, 1000])
async def test_a_fork_at_no_event_is_refused(at: int, tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        session = await h.start()
        with raises_code(ErrorCode.SEQUENCE_OUT_OF_RANGE):
            await session.fork(at=at)
        assert len(await h.engine.sessions()) == 1


async def test_a_fork_of_nothing_is_refused(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        with raises_code(ErrorCode.SESSION_NOT_FOUND):
            await h.engine.fork("ffff")


async def test_a_fork_on_disk_lives_on_with_its_parents_usage_and_history(tmp_path: Path) -> None:
    async with open_log(tmp_path / "store") as log:
        async with house(tmp_path, "one", "two", log=log) as h:
            session = await h.start()
            await play(session, "alpha")
            branch = await session.fork()
            assert branch.usage == session.usage
            assert branch.history() == session.history()
            await play(branch, "omega")
            assert branch.usage.input_tokens == 2 * session.usage.input_tokens
        async with house(tmp_path, "three", log=log) as h:
            again = await h.engine.resume(branch.id)
            with trio.fail_after(60):
                await play(again, "more")
            assert again.usage.input_tokens == 3 * session.usage.input_tokens
            assert kinds(await h.events(again)).count("session_forked") == 1
