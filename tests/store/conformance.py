"""What every event log does with events, whichever store it is.

Inherit, and give the fixture `place`.
"""

from collections.abc import AsyncGenerator

import msgspec
import pytest
import trio

from tests.errors import raises_code
from tests.store.support import (
    Place,
    Stream,
    new_session,
    op,
    start,
    text_of,
    texts,
    write,
)
from turnlog.actors.ports import Batch, Claim, EventLog, Head, Refused, Stored
from turnlog.protocol.envelope import GENESIS, Record
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.ids import SessionId
from turnlog.protocol.summary import SessionSummary
from turnlog.runtime.store.contract import MAX_PAGE, MAX_RECORDS

NOBODY = SessionId("00000000-0000-7000-8000-000000000000")


class EventsConformance:
    """Appending, reading, following."""

    @pytest.fixture
    async def log(self, place: Place) -> AsyncGenerator[EventLog]:
        async with place.open() as log:
            yield log

    # --- append ---------------------------------------------------------------------------

    async def test_append_returns_before_the_batch_is_stored(self, log: EventLog) -> None:
        stream, fence = await start(log)
        ticket = log.append(stream.session, stream.batch("a", "b"), fence=fence)
        assert ticket.fate is None
        assert await ticket.settled() == Stored()
        assert ticket.fate == Stored()
        assert await log.head(stream.session) == stream.head

    async def test_what_is_stored_is_read_back_whole(self, log: EventLog) -> None:
        stream, fence = await start(log)
        batch = stream.batch("one", "two")
        await log.append(stream.session, batch, fence=fence).settled()
        events = await log.read(stream.session)
        assert texts(events) == ["one", "two"]
        assert [(event.sequence, event.digest, event.time_us) for event in events] == [
            (record.sequence, record.digest, time_us)
            for time_us, record in enumerate(batch.records, start=1)
        ]

    async def test_a_large_text_is_read_back_wherever_it_is(self, log: EventLog) -> None:
        large, many = "large " * 1000, [f"{number} " * 1500 for number in range(100)]
        written = [large, "small", *many, large, many[-1], large]
        stream, fence = await start(log)
        await write(log, stream, fence, *written)
        assert texts(await log.read(stream.session)) == written
        places = [1, 103, 102, 104, 105, 1]
        found = await log.read_at(stream.session, places)
        assert texts(found) == [written[place - 1] for place in places]

    async def test_tickets_settle_in_the_order_of_the_appends(self, log: EventLog) -> None:
        stream, fence = await start(log)
        tickets = [log.append(stream.session, stream.batch(str(n)), fence=fence) for n in range(50)]
        settled: list[int] = []
        async with trio.open_nursery() as nursery:
            for number, ticket in reversed([*enumerate(tickets)]):

                async def wait(number: int = number, ticket: object = ticket) -> None:
                    assert await tickets[number].settled() == Stored()
                    assert all(earlier.fate == Stored() for earlier in tickets[:number])
                    settled.append(number)

                nursery.start_soon(wait)
        assert sorted(settled) == [*range(50)]

    async def test_many_tasks_may_wait_for_a_ticket_at_any_time(self, log: EventLog) -> None:
        stream, fence = await start(log)
        ticket = log.append(stream.session, stream.batch("a"), fence=fence)
        fates: list[object] = []

        async def wait() -> None:
            fates.append(await ticket.settled())

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(wait)
        await wait()
        assert fates == [Stored()] * 4

    async def test_sessions_do_not_see_each_other(self, log: EventLog) -> None:
        one, fence_one = await start(log, "a")
        two, fence_two = await start(log, "b")
        await write(log, one, fence_one, "c")
        await write(log, two, fence_two, "d")
        assert texts(await log.read(one.session)) == ["a", "c"]
        assert texts(await log.read(two.session)) == ["b", "d"]

    @pytest.mark.parametrize("wrong", [-1, 1])
    async def test_a_fence_that_is_not_the_newest_is_refused(
        self, log: EventLog, wrong: int
    ) -> None:
        stream, fence = await start(log)
        ticket = log.append(stream.session, stream.batch("a"), fence=fence + wrong)
        assert isinstance(await ticket.settled(), Refused)
        assert await log.head(stream.session) == Head(0, GENESIS, 0)

    async def test_a_released_claim_can_write_no_more(self, log: EventLog) -> None:
        stream, fence = await start(log)
        await log.release(Claim(stream.session, fence, stream.head))
        ticket = log.append(stream.session, stream.batch("a"), fence=fence)
        assert isinstance(await ticket.settled(), Refused)

    async def test_a_batch_that_does_not_follow_the_head_is_refused(self, log: EventLog) -> None:
        stream, fence = await start(log, "a", "b")
        good = Stream(stream.session, stream.head).batch("c", "d").records
        before, late = Head(1, stream.head.digest, 2), Head(5, stream.head.digest, 2)
        old = Head(2, stream.head.digest, -5)
        other = SessionSummary(new_session())
        unchained = msgspec.structs.replace(good[0], digest=bytes(16))
        wrong: list[Batch] = [
            Batch(()),
            Stream(stream.session, before).batch("again"),
            Stream(stream.session, late).batch("gap"),
            Batch((good[0], good[0])),
            Batch((good[1],)),
            Batch((unchained,)),
            Batch((Record(3, good[0].digest, b"\xc1", {}),)),
            Stream(stream.session, old).batch("older"),
            Stream(stream.session, Head(2, bytes(16), 2)).batch("another history"),
            Batch(good, summary=other),
        ]
        for batch in wrong:
            fate = await log.append(stream.session, batch, fence=fence).settled()
            assert isinstance(fate, Refused), batch
            assert fate.why
        assert await log.head(stream.session) == stream.head
        assert texts(await log.read(stream.session)) == ["a", "b"]

    async def test_what_is_queued_after_a_refused_batch_is_refused(self, log: EventLog) -> None:
        one, fence_one = await start(log)
        two, fence_two = await start(log)
        good = Stream(one.session).batch("would do")
        refused = log.append(one.session, one.batch("a"), fence=fence_one - 1)
        later = log.append(one.session, good, fence=fence_one)
        other = log.append(two.session, two.batch("b"), fence=fence_two)
        assert isinstance(await refused.settled(), Refused)
        assert isinstance(await later.settled(), Refused)
        assert await other.settled() == Stored()
        again = log.append(one.session, good, fence=fence_one)
        assert await again.settled() == Stored()

    async def test_an_append_to_nobody_is_refused(self, log: EventLog) -> None:
        stream, fence = await start(log)
        for nobody in (NOBODY, SessionId("no uuid")):
            ticket = log.append(nobody, Stream(NOBODY).batch("a"), fence=1)
            beside = log.append(stream.session, stream.batch("b"), fence=fence)
            assert isinstance(await ticket.settled(), Refused)
            assert await beside.settled() == Stored()

    async def test_the_largest_batch_is_stored_and_a_larger_one_refused(
        self, log: EventLog
    ) -> None:
        stream, fence = await start(log)
        ticket = log.append(stream.session, stream.batch(*["x"] * MAX_RECORDS), fence=fence)
        assert await ticket.settled() == Stored()
        ticket = log.append(stream.session, stream.batch(*["x"] * (MAX_RECORDS + 1)), fence=fence)
        assert isinstance(await ticket.settled(), Refused)

    async def test_large_texts_come_back_as_they_were(self, log: EventLog) -> None:
        stream, fence = await start(log)
        large = ["x" * 4097, "".join(map(chr, range(300, 6000))), "y" * 3_000_000, "x" * 4097]
        await write(log, stream, fence, *large)
        assert texts(await log.read(stream.session)) == large

    async def test_room_waits_while_too_much_is_queued(self, place: Place) -> None:
        async with place.open(queue_bytes=1) as log:
            stream, fence = await start(log)
            await log.room()
            ticket = log.append(stream.session, stream.batch("a"), fence=fence)
            await log.room()
            assert ticket.fate == Stored()

    # --- reading --------------------------------------------------------------------------

    async def test_a_read_returns_the_events_between_its_bounds(self, log: EventLog) -> None:
        stream, fence = await start(log)
        await write(log, stream, fence, *"abcdef")
        session = stream.session
        assert texts(await log.read(session)) == [*"abcdef"]
        assert texts(await log.read(session, after=2)) == [*"cdef"]
        assert texts(await log.read(session, after=2, until=4)) == [*"cd"]
        assert texts(await log.read(session, after=2, until=99)) == [*"cdef"]
        assert texts(await log.read(session, after=1, limit=2)) == [*"bc"]
        assert await log.read(session, after=6) == []
        assert await log.read(session, after=99) == []
        assert await log.read(session, after=3, until=2) == []
        assert await log.read(session, limit=0) == []
        assert await log.read(session, limit=-1) == []
        assert texts(await log.read(session, after=-3, limit=1)) == ["a"]

    async def test_a_page_is_bounded_whatever_is_asked(self, log: EventLog) -> None:
        stream, fence = await start(log)
        for _ in range(3):
            await write(log, stream, fence, *["x"] * MAX_RECORDS)
        first = await log.read(stream.session, limit=10**9)
        rest = await log.read(stream.session, after=len(first), limit=10**9)
        assert len(first) == MAX_PAGE
        assert len(first) + len(rest) == 3 * MAX_RECORDS

    @pytest.mark.parametrize("nobody", [NOBODY, SessionId("x"), SessionId("")])
    async def test_a_session_that_is_not_there_is_reported(
        self, log: EventLog, nobody: SessionId
    ) -> None:
        with raises_code(ErrorCode.SESSION_NOT_FOUND):
            await log.head(nobody)
        with raises_code(ErrorCode.SESSION_NOT_FOUND):
            await log.read(nobody)
        with raises_code(ErrorCode.SESSION_NOT_FOUND):
            await log.claim(nobody)
        with raises_code(ErrorCode.SESSION_NOT_FOUND):
            await log.delete(nobody)
        with raises_code(ErrorCode.SESSION_NOT_FOUND):
            await log.fork(nobody, 1, new_session())
        with raises_code(ErrorCode.SESSION_NOT_FOUND):
            await log.leave(nobody, op("1"))
        with raises_code(ErrorCode.SESSION_NOT_FOUND):
            await log.inbox(nobody)
        with raises_code(ErrorCode.SESSION_NOT_FOUND):
            await anext(aiter(log.follow(nobody)))

    async def test_a_follower_gets_what_is_there_and_then_each_new_event(
        self, log: EventLog
    ) -> None:
        stream, fence = await start(log, "a", "b")
        seen: list[str] = []
        with trio.fail_after(60):
            async for event in log.follow(stream.session, after=1):
                seen.append(text_of(event))
                if len(seen) < 4:
                    log.append(stream.session, stream.batch(f"after {len(seen)}"), fence=fence)
                else:
                    break
        assert seen == ["b", "after 1", "after 2", "after 3"]

    async def test_many_may_follow_and_all_see_the_same(self, log: EventLog) -> None:
        stream, fence = await start(log)
        seen: list[list[str]] = [[], [], []]

        async def watch(mine: list[str]) -> None:
            async for event in log.follow(stream.session):
                mine.append(text_of(event))
                if len(mine) == 20:
                    return

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for mine in seen:
                    nursery.start_soon(watch, mine)
                for number in range(20):
                    await write(log, stream, fence, str(number))
        assert seen == [[str(number) for number in range(20)]] * 3

    async def test_following_ends_with_an_error_when_the_session_is_deleted(
        self, log: EventLog
    ) -> None:
        stream, fence = await start(log, "a")
        events = aiter(log.follow(stream.session))
        assert text_of(await anext(events)) == "a"
        await log.release(Claim(stream.session, fence, stream.head))
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(log.delete, stream.session)
                with raises_code(ErrorCode.SESSION_NOT_FOUND):
                    await anext(events)
