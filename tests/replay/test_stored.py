"""Replaying what is in a store, alone and by several processes."""

from pathlib import Path

import trio

import turnlog
from tests.errors import raises_code
from tests.replay.recordings import FILES, records_of
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.ids import SessionId
from turnlog.replay.files.loading import load_portable
from turnlog.replay.files.portable import read_portable
from turnlog.replay.verify.stored import replay_session, replay_store, replay_stored
from turnlog.runtime.engine.new_id import new_id
from turnlog.runtime.store.lmdb.doctor import examine_path
from turnlog.runtime.store.lmdb.log import open_log


async def filled(store: Path) -> dict[SessionId, int]:
    """Load the recorded sessions into a store; return how many events each has."""
    loaded: dict[SessionId, int] = {}
    async with open_log(store) as log:
        for path in FILES:
            with path.open("rb") as stream:
                session = await load_portable(log, read_portable(stream, name=path.name))
            loaded[session] = len(records_of(path))
            assert await log.read(session, limit=10_000) == records_of(path)
    return loaded


async def test_recorded_sessions_are_stored_as_they_were_and_replay_from_there(
    tmp_path: Path,
) -> None:
    loaded = await filled(tmp_path / "store")
    assert examine_path(tmp_path / "store").is_healthy
    for session, events in loaded.items():
        report = turnlog.replay_session(session, home=tmp_path)
        assert (report.session, report.events, report.is_exact) == (session, events, True)


async def test_other_tasks_run_while_a_trio_program_replays(tmp_path: Path) -> None:
    loaded = await filled(tmp_path / "store")
    session = max(loaded, key=lambda one: loaded[one])
    passes = 0

    async def count() -> None:
        nonlocal passes
        while True:
            await trio.lowlevel.checkpoint()
            passes += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        report = await turnlog.replay_session_async(session, home=tmp_path)
        nursery.cancel_scope.cancel()
    assert report == turnlog.replay_session(session, home=tmp_path)
    assert passes > 0


async def test_a_copy_under_a_new_id_replays_too(tmp_path: Path) -> None:
    for path in FILES:
        async with open_log(tmp_path / "store") as log:
            with path.open("rb") as stream:
                session = await load_portable(
                    log, read_portable(stream), new_id=SessionId(new_id())
                )
        report = replay_session(session, home=tmp_path)
        assert report.is_exact
        assert report.events > len(records_of(path))
    assert examine_path(tmp_path / "store").is_healthy


def test_processes_share_a_store(tmp_path: Path) -> None:
    loaded = trio.run(filled, tmp_path / "store")
    missing = SessionId("01900000-0000-7000-8000-000000000000")
    sessions = [*loaded.items(), (missing, 0)]
    alone = list(replay_store(tmp_path / "store", sessions, jobs=1))
    assert list(replay_store(tmp_path / "store", sessions, jobs=2)) == alone
    assert [(verdict.name, verdict.events) for verdict in alone] == sessions
    assert {verdict.status for verdict in alone[:-1]} == {"same"}
    assert (alone[-1].status, alone[-1].code) == ("error", "session_not_found")


async def test_how_far_it_is_can_be_seen(tmp_path: Path) -> None:
    loaded = await filled(tmp_path / "store")
    session, events = next(iter(loaded.items()))
    seen: list[tuple[int, int]] = []
    async with open_log(tmp_path / "store", read_only=True) as log:
        await replay_stored(log, session, seen=lambda done, of: seen.append((done, of)))
        with raises_code(ErrorCode.SEQUENCE_OUT_OF_RANGE):
            await replay_stored(log, session, start=events + 1)
        with raises_code(ErrorCode.SESSION_NOT_FOUND):
            await replay_stored(log, SessionId(new_id()))
    assert seen[-1] == (events, events)
