"""The memory log fails on request, as a disk and an engine do."""

import pytest
import trio
import trio.testing

from tests.errors import raises_code
from tests.store.support import Stream, new_session, op, start, texts, write
from turnlog.actors.ports import Refused, Stored, Unknown
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import StoreError, StorePaused
from turnlog.runtime.store.memory.log import MemoryLog


async def test_a_refused_batch_is_not_written_and_dooms_what_comes_after_it() -> None:
    log = MemoryLog()
    stream, fence = await start(log, "a")
    before = stream.head
    log.refuse_next("no")
    tickets = [log.append(stream.session, stream.batch(text), fence=fence) for text in "bc"]
    assert await tickets[0].settled() == Refused("no")
    assert isinstance(await tickets[1].settled(), Refused)
    stream.head = before
    await write(log, stream, fence, "d")
    assert texts(await log.read(stream.session)) == ["a", "d"]


@pytest.mark.parametrize("written", [True, False])
async def test_a_lost_answer_is_settled_by_the_heads_digest(written: bool) -> None:
    log = MemoryLog()
    stream, fence = await start(log, "a")
    before = stream.head
    log.lose_next(written=written)
    tickets = [log.append(stream.session, stream.batch("b"), fence=fence)]
    after = stream.head
    tickets.append(log.append(stream.session, stream.batch("c"), fence=fence))
    assert isinstance(await tickets[0].settled(), Unknown)
    assert isinstance(await tickets[1].settled(), Refused)
    assert await log.head(stream.session) == (after if written else before)


async def test_a_paused_log_takes_no_writes_until_it_is_resumed() -> None:
    log = MemoryLog()
    stream, fence = await start(log, "a")
    ticket = log.append(stream.session, stream.batch("b"), fence=fence)
    log.pause("full")
    assert isinstance(await ticket.settled(), Refused)
    with pytest.raises(StorePaused, match="full"):
        log.append(stream.session, stream.batch("c"), fence=fence)
    with pytest.raises(StorePaused, match="full"):
        await log.leave(stream.session, op("1"))
    assert texts(await log.read(stream.session)) == ["a"]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.room)
        await trio.testing.wait_all_tasks_blocked()
        log.resume()
    stream.head = await log.head(stream.session)
    await write(log, stream, fence, "d")


async def test_a_disk_that_stops_settles_nothing_until_it_continues() -> None:
    log = MemoryLog()
    stream, fence = await start(log, "a")
    log.hold()
    ticket = log.append(stream.session, stream.batch("b"), fence=fence)
    await trio.testing.wait_all_tasks_blocked()
    assert ticket.fate is None
    log.let_go()
    assert await ticket.settled() == Stored()


async def test_a_killed_engine_writes_nothing_more_and_loses_its_claims() -> None:
    log = MemoryLog(owner="the first")
    stream, fence = await start(log, "a")
    other = MemoryLog(log.store)
    with raises_code(ErrorCode.SESSION_BUSY, match="the first"):
        await other.claim(stream.session)
    ticket = log.append(stream.session, stream.batch("b"), fence=fence)
    log.kill()
    claim = await other.claim(stream.session)
    assert claim.fence > fence
    assert ticket.fate is None
    assert texts(await other.read(stream.session)) == ["a"]
    with pytest.raises(StoreError):
        await log.create(new_session())


async def test_a_write_that_waits_when_the_engine_is_killed_fails() -> None:
    log = MemoryLog()
    log.hold()
    errors: list[StoreError] = []

    async def create() -> None:
        try:
            await log.create(new_session())
        except StoreError as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(create)
        await trio.testing.wait_all_tasks_blocked()
        log.kill()
    assert len(errors) == 1
    assert log.store.sessions == {}


async def test_two_engines_on_one_store_see_each_others_events() -> None:
    log = MemoryLog()
    other = MemoryLog(log.store)
    stream, fence = await start(log)
    follower = other.follow(stream.session)
    with trio.move_on_after(0):
        await anext(follower)
    await write(log, stream, fence, "a")
    assert (await anext(follower)).sequence == 1
    assert Stream(stream.session, await other.head(stream.session)) == stream
