"""Sessions come, stay, go and come back: starting, resuming, closing, and who may write."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from tests.engine.kit import Shadow, actor_of, house, is_there, kinds, of, play, shell, the, until
from tests.errors import raises_code
from turnlog.actors.core.rebuild import rebuild
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import Rejected, UsageError
from turnlog.protocol.events import (
    CallSettled,
    EffectLost,
    ModelAsked,
    ModelCompleted,
    SessionOpened,
    ToolStarted,
    TurnEnded,
)
from turnlog.protocol.notices import ToolOutputDelta
from turnlog.protocol.ops import SetName, Shutdown, Submission, prompt
from turnlog.runtime.engine.engine import Engine
from turnlog.runtime.engine.session import Session
from turnlog.runtime.scripted_model.script import Response
from turnlog.runtime.store.lmdb.log import open_log
from turnlog.runtime.store.memory.log import MemoryLog, MemoryStore

HOLDER = """
import sys, trio
from pathlib import Path
from turnlog.protocol.ids import SessionId
from turnlog.runtime.store.lmdb.log import open_log

async def main():
    async with open_log(Path(sys.argv[1])) as log:
        await log.claim(SessionId(sys.argv[2]))
        print(log.owner, flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)

trio.run(main)
"""


async def test_a_session_that_is_resumed_while_it_lives_is_the_same_one(tmp_path: Path) -> None:
    async with house(tmp_path, "one", "two") as h:
        session = await h.start()
        again = await h.engine.resume(session.id[:20])
        assert actor_of(again) is actor_of(session)
        await play(session)
        await play(again)
        assert len(of(SessionOpened, await h.events(session))) == 1


async def test_many_who_resume_at_once_get_one_session(tmp_path: Path) -> None:
    async with house(tmp_path, "one") as h:
        session = await h.start()
        await session.close()
        got: list[Session] = []

        async def resume() -> None:
            got.append(await h.engine.resume(session.id))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(resume)
        assert len({id(actor_of(each)) for each in got}) == 1
        assert len(of(SessionOpened, await h.events(session))) == 2


async def test_a_session_that_is_being_closed_is_resumed_once_it_is_closed(tmp_path: Path) -> None:
    async with house(tmp_path, shell("sleep 1000"), "two") as h:
        session = await h.start()
        await session.submit(prompt("go"))
        await until(session, ToolStarted, after=0)
        await session.submit(Shutdown())
        again = await h.engine.resume(session.id)
        assert actor_of(again) is not actor_of(session)
        assert the(TurnEnded, await play(again)).status == "completed"


async def test_what_is_unknown_or_unclear_is_not_resumed(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        await h.start()
        await h.start()
        with raises_code(ErrorCode.SESSION_NOT_FOUND):
            await h.engine.resume("ffff")
        with raises_code(ErrorCode.AMBIGUOUS_SESSION):
            await h.engine.resume("0")
        with raises_code(ErrorCode.INPUT_UNREADABLE, match="is not a folder"):
            await h.engine.start(cwd=tmp_path / "nowhere")


async def test_a_closed_session_takes_nothing_and_closing_again_is_nothing(tmp_path: Path) -> None:
    async with house(tmp_path, "one") as h:
        session = await h.start()
        await session.close()
        await session.close()
        with trio.fail_after(60), pytest.raises(Rejected, match="has been closed"):
            await play(session)
        assert kinds(await h.events(session))[-2:] == ["op_received", "session_closed"]


async def test_shutting_down_stops_the_turn_first_and_closes_last(tmp_path: Path) -> None:
    async with house(tmp_path, shell("sleep 1000")) as h:
        session = await h.start()
        shadow = Shadow(session)
        async with trio.open_nursery() as nursery:
            await nursery.start(shadow.follow)
            await session.submit(prompt("go"))
            await until(session, ModelCompleted, after=0)
            await until(session, ToolStarted, after=0)
            await session.close()
    ending = [seen.kind for seen in shadow.seen if isinstance(seen, Recorded)][-6:]
    assert ending == [
        *("op_received", "turn_stopping", "tool_finished"),
        *("items_recorded", "turn_ended", "session_closed"),
    ]


async def test_leaving_the_engine_closes_every_session_and_kills_its_processes(
    tmp_path: Path,
) -> None:
    log = MemoryLog()
    async with house(tmp_path, shell("echo $$; sleep 1000"), loop=True, log=log) as h:
        sessions = [await h.start() for _ in range(3)]
        pids: list[str] = []
        for session in sessions:
            await session.submit(prompt("go"))
            pids.append((await until(session, ToolOutputDelta, after=0)).delta.strip())
        assert all(is_there(f"/proc/{pid}") for pid in pids)
    assert len(set(pids)) == 3
    assert not any(is_there(f"/proc/{pid}") for pid in pids)
    for session in sessions:
        assert kinds(await log.read(session.id))[-2:] == ["turn_ended", "session_closed"]


async def test_a_block_that_is_cancelled_still_closes_its_sessions(tmp_path: Path) -> None:
    log = MemoryLog()
    session: Session | None = None
    with trio.CancelScope() as scope:
        async with house(tmp_path, shell("sleep 1000"), log=log) as h:
            session = await h.start()
            await session.submit(prompt("go"))
            await until(session, ToolStarted, after=0)
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert session is not None
    assert kinds(await log.read(session.id))[-2:] == ["turn_ended", "session_closed"]


async def test_a_block_that_raises_raises_just_that(tmp_path: Path) -> None:
    log = MemoryLog()

    async def broken() -> None:
        async with house(tmp_path, log=log) as h:
            await h.start()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await broken()
    (summary,) = await log.sessions()
    assert kinds(await log.read(summary.session))[-1] == "session_closed"


async def test_a_shutdown_that_the_disk_refuses_is_asked_for_again(tmp_path: Path) -> None:
    log = MemoryLog()
    async with house(tmp_path, log=log) as h:
        session = await h.start()
        log.refuse_next()
    assert kinds(await log.read(session.id))[-1] == "session_closed"


async def test_an_engine_that_is_closed_starts_nothing_more(tmp_path: Path) -> None:
    engine: Engine | None = None
    async with house(tmp_path) as h:
        engine = h.engine
    with pytest.raises(UsageError, match="being closed"):
        await engine.start(cwd=tmp_path)


async def test_a_session_of_another_process_is_busy_and_the_error_names_it(tmp_path: Path) -> None:
    store = tmp_path / "store"
    async with open_log(store) as log, house(tmp_path, "one", log=log) as h:
        session = await h.start()
        await session.close()
        holder = await trio.to_thread.run_sync(
            lambda: subprocess.Popen(
                [sys.executable, "-c", HOLDER, str(store), session.id],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        with holder:
            assert holder.stdout is not None
            owner = (await trio.to_thread.run_sync(holder.stdout.readline)).strip()
            assert str(holder.pid) in owner
            with raises_code(ErrorCode.SESSION_BUSY, match=f"open in {re.escape(owner)}\\. "):
                await h.engine.resume(session.id)
            holder.kill()
            await trio.to_thread.run_sync(holder.wait)
        again = await h.engine.resume(session.id)
        assert the(TurnEnded, await play(again)).status == "completed"


async def test_two_engines_on_one_store_do_not_share_a_session(tmp_path: Path) -> None:
    store = MemoryStore()
    async with (
        house(tmp_path, "one", log=MemoryLog(store, "the first")) as first,
        house(tmp_path, "two", log=MemoryLog(store, "the second")) as second,
    ):
        session = await first.start()
        with raises_code(ErrorCode.SESSION_BUSY, match="is open in the first"):
            await second.engine.resume(session.id)
        await session.close()
        again = await second.engine.resume(session.id)
        assert the(TurnEnded, await play(again)).last_agent_message == "two"


async def killed(store: MemoryStore, folder: Path, *script: Response | dict[str, object]) -> str:
    """Return the id of a session whose engine was killed while a tool ran.

    The tool says so through the pipe `runs`.
    """
    os.mkfifo(folder / "runs")
    log = MemoryLog(store, "the first")
    async with house(folder, *script, log=log, checked=False) as h:
        session = await h.start()
        await session.submit(prompt("go"))
        await until(session, ModelCompleted, after=0)
        await until(session, ToolStarted, after=0)
        await trio.to_thread.run_sync((folder / "runs").read_bytes)
        log.kill()
    return session.id


async def test_a_turn_that_was_cut_off_is_continued_and_nothing_runs_twice(tmp_path: Path) -> None:
    store = MemoryStore()
    name = await killed(store, tmp_path, shell("echo ran >> ran; echo > runs; sleep 1000"))
    log = MemoryLog(store, "the second")
    async with house(tmp_path, "so it was", log=log) as h:
        session = await h.engine.resume(name)
        await until(session, TurnEnded, after=0)
        records = await h.events(session)
        assert the(CallSettled, records).outcome == "stopped"
        assert len(of(EffectLost, records)) == 1
        assert the(TurnEnded, records).last_agent_message == "so it was"
        assert len(of(ModelAsked, records)) == 2
    assert (tmp_path / "ran").read_text() == "ran\n"


async def test_or_it_is_interrupted_if_that_is_wanted(tmp_path: Path) -> None:
    store = MemoryStore()
    name = await killed(store, tmp_path, shell("echo > runs; sleep 1000"))
    log = MemoryLog(store, "the second")
    async with house(tmp_path, "next", log=log) as h:
        session = await h.engine.resume(name, on_recovery="interrupt")
        ended = the(TurnEnded, await h.events(session))
        assert ended.status == "interrupted"
        assert the(TurnEnded, await play(session)).status == "completed"


async def test_what_was_left_for_a_session_waits_until_somebody_continues_with_it(
    tmp_path: Path,
) -> None:
    store = MemoryStore()
    async with house(tmp_path, "one", "two", log=MemoryLog(store, "the first")) as h:
        session = await h.start()
        await play(session)
        await session.close()
        log = h.log
        await log.leave(session.id, Submission("left", prompt("and this")))
        looked_after = await h.engine.resume(session.id, on_recovery="leave")
        await looked_after.submit(SetName("mine"))
        await looked_after.close()
        assert [one.op_id for one in await log.inbox(session.id)] == ["left"]
        again = await h.engine.resume(session.id)
        await until(again, TurnEnded, after=looked_after.head)
        assert await log.inbox(session.id) == []
        assert of(TurnEnded, await h.events(again))[-1].last_agent_message == "two"


async def test_a_session_resumed_from_disk_is_the_one_that_was_closed(tmp_path: Path) -> None:
    async with open_log(tmp_path / "store") as log:
        async with house(tmp_path, shell("echo x"), "one", log=log) as h:
            session = await h.start()
            await play(session, "alpha")
            history = session.history()
        async with house(tmp_path, "two", log=log) as h:
            again = await h.engine.resume(session.id)
            assert again.history() == history
            await play(again, "omega")
            sent = h.server.requests[0].body["input"]
            assert len(sent) == len(history) + 1
            assert rebuild(await h.events(again)) == actor_of(again).state


async def test_watching_from_the_beginning_shows_every_event_once(tmp_path: Path) -> None:
    async with house(tmp_path, "one", "two") as h:
        session = await h.start()
        await play(session)
        seen: list[Recorded] = []

        async def watch() -> None:
            seen.extend([p async for p in session.watch(after=0) if isinstance(p, Recorded)])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await play(session)
            await session.close()
        assert seen == await h.events(session)
