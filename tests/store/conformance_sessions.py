"""What every event log does with sessions, whichever store it is.

Inherit, and give the fixture `place`.
"""

from collections.abc import AsyncGenerator

import msgspec
import pytest

from tests.errors import raises_code
from tests.store.support import (
    Place,
    Stream,
    new_session,
    op,
    start,
    texts,
    write,
)
from turnlog.actors.ports import Claim, EventLog, Head, Stored
from turnlog.protocol.envelope import GENESIS
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import Busy, StoreError, UsageError, ambiguous_session, session_busy
from turnlog.protocol.ids import SessionId
from turnlog.protocol.summary import SessionSummary


class SessionsConformance:
    """Claims, forks, lists, deleting, the inbox."""

    @pytest.fixture
    async def log(self, place: Place) -> AsyncGenerator[EventLog]:
        async with place.open() as log:
            yield log

    # --- claims ---------------------------------------------------------------------------

    async def test_a_new_session_is_empty_claimed_and_in_no_list(self, log: EventLog) -> None:
        session = new_session()
        claim = await log.create(session)
        assert (claim.session, claim.head) == (session, Head(0, GENESIS, 0))
        assert await log.head(session) == Head(0, GENESIS, 0)
        assert await log.read(session) == []
        assert await log.sessions() == []  # its engine may go away before its first event

    async def test_an_id_is_used_once_and_is_a_uuid(self, log: EventLog) -> None:
        stream, _ = await start(log, "a")
        for wrong in (stream.session, SessionId("x"), SessionId(new_session().upper())):
            with pytest.raises(UsageError):
                await log.create(wrong)
            with pytest.raises(UsageError):
                await log.fork(stream.session, 1, wrong)
        assert await log.head(stream.session) == stream.head

    async def test_a_claimed_session_is_busy_and_names_its_owner(self, log: EventLog) -> None:
        stream, _ = await start(log)
        with pytest.raises(Busy) as caught:
            await log.claim(stream.session)
        assert caught.value.args == session_busy(stream.session, log.owner).args

    async def test_it_is_known_who_runs_a_session(self, log: EventLog) -> None:
        stream, fence = await start(log)
        assert await log.holder(stream.session) == log.owner
        await log.release(Claim(stream.session, fence, stream.head))
        assert await log.holder(stream.session) is None
        with raises_code(ErrorCode.SESSION_NOT_FOUND):
            await log.holder(new_session())

    async def test_each_claim_has_a_higher_fence_and_tells_the_head(self, log: EventLog) -> None:
        stream, fence = await start(log, "a")
        await log.release(Claim(stream.session, fence, stream.head))
        claim = await log.claim(stream.session)
        assert (claim.session, claim.head) == (stream.session, stream.head)
        assert claim.fence > fence

    async def test_an_overtaken_claim_releases_nothing(self, log: EventLog) -> None:
        stream, fence = await start(log)
        old = Claim(stream.session, fence, stream.head)
        await log.release(old)
        await log.claim(stream.session)
        await log.release(old)
        with raises_code(ErrorCode.SESSION_BUSY):
            await log.claim(stream.session)

    async def test_a_release_waits_for_the_appends_before_it(self, log: EventLog) -> None:
        stream, fence = await start(log)
        ticket = log.append(stream.session, stream.batch("last words"), fence=fence)
        await log.release(Claim(stream.session, fence, stream.head))
        assert ticket.fate == Stored()

    async def test_closing_stores_what_is_queued_and_releases_all(self, place: Place) -> None:
        async with place.open() as log:
            stream, fence = await start(log)
            ticket = log.append(stream.session, stream.batch("a"), fence=fence)
        assert ticket.fate == Stored()
        async with place.open() as again:
            claim = await again.claim(stream.session)
            assert claim.head == stream.head
            assert claim.fence > fence
            assert texts(await again.read(stream.session)) == ["a"]

    async def test_a_closed_log_says_so(self, place: Place) -> None:
        async with place.open() as log:
            stream, fence = await start(log)
        with pytest.raises(StoreError, match="closed"):
            log.append(stream.session, stream.batch("a"), fence=fence)
        with pytest.raises(StoreError, match="closed"):
            await log.claim(stream.session)

    # --- forks ----------------------------------------------------------------------------

    async def test_a_fork_has_the_parents_events_up_to_its_cut(self, log: EventLog) -> None:
        parent, fence = await start(log, *"abc")
        child = Stream()
        events = await log.read(parent.session)
        await log.fork(parent.session, 2, child.session)
        assert await log.read(child.session) == events[:2]
        assert await log.head(child.session) == Head(2, events[1].digest, events[1].time_us)
        claim = await log.claim(child.session)
        child.head = claim.head
        await write(log, child, claim.fence, "x", "y")
        await write(log, parent, fence, "d")
        assert texts(await log.read(child.session)) == [*"abxy"]
        assert texts(await log.read(parent.session)) == [*"abcd"]
        assert texts(await log.read(child.session, after=1, until=3)) == [*"bx"]

    async def test_forks_of_forks_read_through_all_ancestors(self, log: EventLog) -> None:
        stream, _ = await start(log, "0")
        expected = ["0"]
        for depth in range(1, 12):
            child = Stream()
            await log.fork(stream.session, len(expected), child.session)
            claim = await log.claim(child.session)
            child.head = claim.head
            await write(log, child, claim.fence, str(depth), f"{depth} is dropped")
            expected.append(str(depth))
            stream = child
        assert texts(await log.read(stream.session, until=len(expected))) == expected
        for cut in range(1, len(expected) + 1):
            early = new_session()
            await log.fork(stream.session, cut, early)
            assert texts(await log.read(early)) == expected[:cut]
            assert texts(await log.read(early, after=cut - 1)) == expected[cut - 1 : cut]

    @pytest.mark.parametrize("cut", [-1, 0, 3])
    async def test_a_fork_needs_an_event_to_begin_at(self, log: EventLog, cut: int) -> None:
        stream, _ = await start(log, "a", "b")
        with raises_code(ErrorCode.SEQUENCE_OUT_OF_RANGE):
            await log.fork(stream.session, cut, new_session())
        assert len(await log.sessions()) == 1

    async def test_a_fork_is_listed_as_its_parents_child_and_is_free(self, log: EventLog) -> None:
        stream, fence = await start(log)
        row = SessionSummary(stream.session, 1, 2, "title", "/src", "model", 3, "running", "tui")
        batch = stream.batch("a", summary=row)
        await log.append(stream.session, batch, fence=fence).settled()
        child = new_session()
        await log.fork(stream.session, 1, child)
        assert {summary.session: summary for summary in await log.sessions()} == {
            stream.session: row,
            child: msgspec.structs.replace(
                row, session=child, parent=stream.session, cut=1, status="idle"
            ),
        }
        await log.claim(child)

    # --- lists ----------------------------------------------------------------------------

    async def test_the_session_with_the_newest_turn_comes_first(self, log: EventLog) -> None:
        rows: dict[int, SessionSummary] = {}
        streams: list[tuple[Stream, int]] = []
        for number in range(4):
            stream, fence = await start(log)
            streams.append((stream, fence))
            rows[number] = SessionSummary(stream.session, updated_us=10 + number)
            batch = stream.batch("a", summary=rows[number])
            await log.append(stream.session, batch, fence=fence).settled()
        assert await log.sessions() == [rows[3], rows[2], rows[1], rows[0]]
        stream, fence = streams[1]
        rows[1] = SessionSummary(stream.session, updated_us=99, title="new")
        await log.append(stream.session, stream.batch("b", summary=rows[1]), fence=fence).settled()
        await write(log, *streams[0], "no summary, no change")
        assert await log.sessions() == [rows[1], rows[3], rows[2], rows[0]]
        assert await log.sessions(limit=2) == [rows[1], rows[3]]
        assert await log.sessions(limit=0) == []

    async def test_a_unique_prefix_finds_its_session(self, log: EventLog) -> None:
        ids = [
            SessionId("aaaaaaaa-0000-7000-8000-000000000001"),
            SessionId("aaaaaaaa-0000-7000-8000-000000000002"),
            SessionId("ab000000-0000-7000-8000-000000000000"),
        ]
        for session in ids:
            await log.create(session)
        assert await log.resolve("ab") == ids[2]
        assert await log.resolve("AB0") == ids[2]
        assert await log.resolve(ids[0]) == ids[0]
        with pytest.raises(UsageError) as caught:
            await log.resolve("aaaaaaaa-")
        assert caught.value.args == ambiguous_session("aaaaaaaa-", ids[:2]).args
        for wrong in ("b", "aaaaaaaa-1", "xyz", ids[0] + "0", "aaaaaaaa0"):
            with raises_code(ErrorCode.SESSION_NOT_FOUND):
                await log.resolve(wrong)

    async def test_an_empty_prefix_is_ambiguous_unless_there_is_one(self, log: EventLog) -> None:
        with raises_code(ErrorCode.SESSION_NOT_FOUND):
            await log.resolve("")
        stream, _ = await start(log)
        assert await log.resolve("") == stream.session
        for _ in range(11):
            await log.create(new_session())
        with raises_code(ErrorCode.AMBIGUOUS_SESSION) as caught:
            await log.resolve("")
        assert len(str(caught.value).split("\n  ")) == 1 + 10

    # --- deleting -------------------------------------------------------------------------

    async def test_a_deleted_session_is_gone(self, log: EventLog) -> None:
        stream, fence = await start(log, "a")
        await log.leave(stream.session, op("1"))
        with raises_code(ErrorCode.SESSION_BUSY):
            await log.delete(stream.session)
        await log.release(Claim(stream.session, fence, stream.head))
        await log.delete(stream.session)
        with raises_code(ErrorCode.SESSION_NOT_FOUND):
            await log.read(stream.session)
        with raises_code(ErrorCode.SESSION_NOT_FOUND):
            await log.resolve(stream.session)
        assert await log.sessions() == []

    async def test_a_fork_outlives_its_parents(self, log: EventLog) -> None:
        family: list[SessionId] = []
        parent, fence = await start(log, *"abcd")
        await log.release(Claim(parent.session, fence, parent.head))
        family.append(parent.session)
        for text in "xyz":
            child = Stream()
            await log.fork(family[-1], len(family) + 1, child.session)
            claim = await log.claim(child.session)
            child.head = claim.head
            await write(log, child, claim.fence, text, "dropped")
            await log.release(claim)
            family.append(child.session)
        expected = {session: await log.read(session) for session in family}
        assert texts(expected[family[3]]) == ["a", "b", "x", "y", "z", "dropped"]
        for gone in (family[1], family[0], family[3]):
            await log.delete(gone)
            del expected[gone]
            for session, events in expected.items():
                assert await log.read(session) == events
        last = new_session()
        await log.fork(family[2], 1, last)
        await log.delete(family[2])
        assert texts(await log.read(last)) == ["a"]
        await log.delete(last)
        assert await log.sessions() == []

    # --- the inbox ------------------------------------------------------------------------

    async def test_ops_wait_in_the_order_of_their_arrival(self, place: Place) -> None:
        ops = [op(name) for name in ("z", "m", "a", "ü" * 600)]
        async with place.open() as log:
            stream, fence = await start(log)
            assert await log.inbox(stream.session) == []
            await log.release(Claim(stream.session, fence, stream.head))
            for one in ops:
                await log.leave(stream.session, one)
            assert await log.inbox(stream.session) == ops
        async with place.open() as log:
            assert await log.inbox(stream.session) == ops

    async def test_equal_op_ids_are_one_op(self, log: EventLog) -> None:
        stream, _ = await start(log)
        for text in ("first", "second"):
            await log.leave(stream.session, op("same", text))
        assert await log.inbox(stream.session) == [op("same", "first")]

    async def test_an_op_is_done_with_the_batch_that_says_so(self, log: EventLog) -> None:
        stream, fence = await start(log)
        for name in "abc":
            await log.leave(stream.session, op(name))
        refused = Stream(stream.session).batch("x", done_ops=("a",))
        await log.append(stream.session, refused, fence=fence - 1).settled()
        assert await log.inbox(stream.session) == [op("a"), op("b"), op("c")]
        done = stream.batch("x", done_ops=("b", "never left"))
        await log.append(stream.session, done, fence=fence).settled()
        assert await log.inbox(stream.session) == [op("a"), op("c")]
        await log.leave(stream.session, op("d"))
        assert await log.inbox(stream.session) == [op("a"), op("c"), op("d")]

    async def test_the_sessions_with_something_in_their_inbox_are_told(self, log: EventLog) -> None:
        streams = [(await start(log))[0] for _ in range(3)]
        assert await log.waiting() == []
        for stream in streams[1:]:
            for name in "ab":
                await log.leave(stream.session, op(name))
        assert sorted(await log.waiting()) == sorted(stream.session for stream in streams[1:])
