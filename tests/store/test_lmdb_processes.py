"""Several real processes on one store."""

import os
from base64 import b64encode
from pathlib import Path

import pytest
import trio

from tests.errors import raises_code
from tests.store.processes import running
from tests.store.support import Stream, new_session, op, start, text_of, texts, write
from turnlog.actors.ports import Refused
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import StoreError
from turnlog.protocol.ids import SessionId
from turnlog.runtime.store.lmdb.log import open_log


async def test_a_session_that_another_process_holds_is_busy_but_not_closed(tmp_path: Path) -> None:
    async with running("own", tmp_path) as owner, open_log(tmp_path) as log:
        name, pid = (await owner.line()).split()
        session = SessionId(name)
        with raises_code(ErrorCode.SESSION_BUSY, match=f"open in process {pid} on .*, since "):
            await log.claim(session)
        with raises_code(ErrorCode.SESSION_BUSY):
            await log.delete(session)
        assert texts(await log.read(session)) == ["first"]
        await log.leave(session, op("1"))
        assert await log.inbox(session) == [op("1")]
        child = new_session()
        await log.fork(session, 1, child)
        await log.claim(child)
        ticket = log.append(session, Stream(session).batch("mine"), fence=1)
        assert isinstance(await ticket.settled(), Refused)

        events = log.follow(session)
        for text in ("first", "second", "third"):
            if text != "first":
                await owner.tell(text)
            with trio.fail_after(60):
                assert text_of(await anext(events)) == text
        assert await owner.finish() == 0
        claim = await log.claim(session)
        assert (claim.fence, claim.head.sequence) == (2, 3)


async def test_a_killed_owner_is_taken_over_at_once(tmp_path: Path) -> None:
    async with running("own", tmp_path) as owner, open_log(tmp_path) as log:
        session = SessionId((await owner.line()).split()[0])
        await owner.kill()
        claim = await log.claim(session)
        assert claim.fence == 2
        await write(log, Stream(session, claim.head), claim.fence, "mine now")
        assert texts(await log.read(session)) == ["first", "mine now"]
        assert len([*(tmp_path / "engines").iterdir()]) == 2
    async with open_log(tmp_path):
        assert len([*(tmp_path / "engines").iterdir()]) == 1  # the dead one's file was swept


async def test_a_read_only_process_follows_and_writes_nothing(tmp_path: Path) -> None:
    async with open_log(tmp_path) as log:
        stream, fence = await start(log, "a")
        async with running("follow", tmp_path, stream.session) as follower:
            assert await follower.line() == "a"
            for text in ("b", "c", "end"):
                await write(log, stream, fence, text)
            assert await follower.lines() == ["b", "c", "end"]


async def test_a_read_only_log_refuses_to_write(tmp_path: Path) -> None:
    async with open_log(tmp_path) as log:
        stream, fence = await start(log, "a")
    async with open_log(tmp_path, read_only=True) as log:
        assert texts(await log.read(stream.session)) == ["a"]
        assert log.paused
        with pytest.raises(StoreError, match="read-only"):
            log.append(stream.session, stream.batch("b"), fence=fence)
        with pytest.raises(StoreError, match="read-only"):
            await log.claim(stream.session)


async def test_a_map_that_another_process_has_enlarged_is_adopted(tmp_path: Path) -> None:
    async with open_log(tmp_path, map_size=1 << 20) as log:
        mine, fence = await start(log, "mine")
        async with running("own", tmp_path) as owner:
            session = SessionId((await owner.line()).split()[0])
            for _ in range(60):
                await owner.tell(b64encode(os.urandom(30_000)).decode())
            assert await owner.finish() == 0
        assert (await log.head(session)).sequence == 61
        await write(log, mine, fence, "still mine")
        assert texts(await log.read(mine.session)) == ["mine", "still mine"]
        assert log.environment.map_size > 1 << 20


async def test_a_forked_process_cannot_use_its_parents_log(tmp_path: Path) -> None:
    async with running("fork", tmp_path) as program:
        said = await program.lines()
    assert len(said) == 2
    assert all("forked" in line for line in said)


async def test_a_process_opens_a_store_once(tmp_path: Path) -> None:
    async with open_log(tmp_path) as log:
        stream, _ = await start(log, "a")
        with raises_code(ErrorCode.STORE_UNSUITABLE, match="already open in this process"):
            async with open_log(tmp_path):
                pass
        with raises_code(ErrorCode.SESSION_BUSY):
            await log.claim(stream.session)
