"""What every event log does with snapshots, and with the single events that they refer to.

Inherit, and give the fixture `place`.
"""

from collections.abc import AsyncGenerator

import pytest

from tests.errors import raises_code
from tests.store.support import Place, Stream, new_session, start, texts, write
from turnlog.actors.ports import Claim, EventLog, Stored, StoredSnapshot
from turnlog.protocol.envelope import GENESIS
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.ids import SessionId

NOBODY = SessionId("00000000-0000-7000-8000-000000000000")


async def save(log: EventLog, stream: Stream, fence: int, data: bytes) -> StoredSnapshot:
    """Store a snapshot of the stream's head; return it once it is there."""
    snapshot = StoredSnapshot(stream.head.sequence, stream.head.digest, data)
    log.save_snapshot(stream.session, snapshot, fence=fence)
    await settled(log, stream, fence)
    return snapshot


async def settled(log: EventLog, stream: Stream, fence: int) -> None:
    """Wait for what is queued: an overtaken claim's release does nothing, in its turn."""
    await log.release(Claim(stream.session, fence - 1, stream.head))


class SnapshotsConformance:
    """Snapshots are kept, and dropped; events are read one by one."""

    @pytest.fixture
    async def log(self, place: Place) -> AsyncGenerator[EventLog]:
        async with place.open() as log:
            yield log

    async def test_single_events_are_read_in_the_order_that_is_asked_for(
        self, log: EventLog
    ) -> None:
        stream, _ = await start(log, *"abcd", "large " * 1000)
        events = await log.read(stream.session)
        for wanted in ([], [1], [5], [2, 3], [1, 3, 5], [4, 2, 2, 5], [1, 2, 3, 4, 5]):
            found = await log.read_at(stream.session, wanted)
            assert found == [events[sequence - 1] for sequence in wanted]
        for wrong in (0, -1, 6):
            with raises_code(ErrorCode.SEQUENCE_OUT_OF_RANGE):
                await log.read_at(stream.session, [1, wrong])
        with raises_code(ErrorCode.SESSION_NOT_FOUND):
            await log.read_at(NOBODY, [1])

    async def test_single_events_of_a_fork_are_read_through_all_ancestors(
        self, log: EventLog
    ) -> None:
        parent, _ = await start(log, *"abc")
        child = Stream()
        await log.fork(parent.session, 2, child.session)
        claim = await log.claim(child.session)
        child.head = claim.head
        await write(log, child, claim.fence, "d", "e")
        grandchild = new_session()
        await log.fork(child.session, 3, grandchild)
        assert texts(await log.read_at(child.session, [1, 2, 3, 4])) == ["a", "b", "d", "e"]
        assert texts(await log.read_at(child.session, [3, 1])) == ["d", "a"]
        assert texts(await log.read_at(grandchild, [2, 3])) == ["b", "d"]
        with raises_code(ErrorCode.SEQUENCE_OUT_OF_RANGE):
            await log.read_at(grandchild, [4])

    async def test_the_newest_snapshot_is_kept_and_comes_after_earlier_appends(
        self, place: Place
    ) -> None:
        async with place.open() as log:
            stream, fence = await start(log, "a")
            assert await log.snapshot(stream.session) is None
            with raises_code(ErrorCode.SESSION_NOT_FOUND):
                await log.snapshot(NOBODY)
            one = await save(log, stream, fence, b"one")
            assert await log.snapshot(stream.session) == one
            ticket = log.append(stream.session, stream.batch("b"), fence=fence)
            two = StoredSnapshot(2, stream.head.digest, b"two" * 10_000)
            log.save_snapshot(stream.session, two, fence=fence)
            assert await ticket.settled() == Stored()
            await log.release(Claim(stream.session, fence, stream.head))
            assert await log.snapshot(stream.session) == two
        async with place.open() as log:
            assert await log.snapshot(stream.session) == two

    async def test_what_was_there_is_found_from_a_snapshot_not_far_before_it(
        self, log: EventLog
    ) -> None:
        stream, fence = await start(log)
        for _ in range(40):
            await write(log, stream, fence, *["x"] * 500)
            await save(log, stream, fence, b"some")
        head = stream.head.sequence
        found = dict[int, int]()
        for until in range(head, 0, -250):
            snapshot = await log.snapshot(stream.session, until=until)
            found[until] = snapshot.sequence if snapshot is not None else 0
        assert found[head] == head
        assert all(
            until - sequence <= max(1000, 4 * (head - until)) for until, sequence in found.items()
        )
        assert len(set(found.values())) <= 14
        assert await log.snapshot(stream.session, until=0) is None

    async def test_a_snapshot_that_does_not_fit_is_dropped_silently(self, log: EventLog) -> None:
        stream, fence = await start(log, "a", "b")
        digest = stream.head.digest
        good = await save(log, stream, fence, b"good")
        for wrong in (
            StoredSnapshot(1, digest, b"of another event"),
            StoredSnapshot(2, bytes(16), b"of another history"),
            StoredSnapshot(3, digest, b"of a later event"),
            StoredSnapshot(0, GENESIS, b"of no event"),
        ):
            log.save_snapshot(stream.session, wrong, fence=fence)
        log.save_snapshot(stream.session, StoredSnapshot(2, digest, b"old"), fence=fence - 1)
        log.save_snapshot(NOBODY, good, fence=fence)
        refused = Stream(stream.session).batch("not next")
        log.append(stream.session, refused, fence=fence)
        of_refused = StoredSnapshot(1, refused.records[0].digest, b"of what is not written")
        log.save_snapshot(stream.session, of_refused, fence=fence)
        await log.release(Claim(stream.session, fence, stream.head))
        log.save_snapshot(stream.session, StoredSnapshot(2, digest, b"late"), fence=fence)
        claim = await log.claim(stream.session)
        assert await log.snapshot(stream.session) == good
        assert claim.head == stream.head

    async def test_a_fork_has_its_parents_snapshot_unless_it_is_later_than_the_cut(
        self, log: EventLog
    ) -> None:
        parent, fence = await start(log, *"abc")
        parents = await save(log, parent, fence, b"of 3")
        await write(log, parent, fence, "d")
        above, below, child = new_session(), new_session(), Stream()
        await log.fork(parent.session, 4, above)
        await log.fork(parent.session, 2, below)
        await log.fork(parent.session, 3, child.session)
        assert await log.snapshot(above) == parents
        assert await log.snapshot(below) is None
        claim = await log.claim(child.session)
        child.head = claim.head
        await write(log, child, claim.fence, "e", "f")
        assert await log.snapshot(child.session) == parents
        own = await save(log, child, claim.fence, b"of 5")
        assert await log.snapshot(child.session) == own
        grandchild = new_session()
        await log.fork(child.session, 4, grandchild)
        assert await log.snapshot(grandchild) == parents
        assert await log.snapshot(child.session, until=4) == parents
        assert await log.snapshot(child.session, until=2) is None
        assert await log.snapshot(parent.session) == parents

    async def test_a_snapshot_is_deleted_with_its_session(self, log: EventLog) -> None:
        parent, fence = await start(log, *"abc")
        await save(log, parent, fence, b"of 3")
        child = new_session()
        await log.fork(parent.session, 3, child)
        await log.release(Claim(parent.session, fence, parent.head))
        await log.delete(parent.session)
        with raises_code(ErrorCode.SESSION_NOT_FOUND):
            await log.snapshot(parent.session)
        assert await log.snapshot(child) is None
        assert texts(await log.read_at(child, [3])) == ["c"]
