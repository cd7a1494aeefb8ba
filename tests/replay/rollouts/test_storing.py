"""Imported sessions in a store."""

import attrs
import pytest

from tests.errors import raises_code
from tests.replay.rollouts import kit
from turnlog.actors.ports import Batch, EventLog
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import UsageError, WriteLost
from turnlog.protocol.ids import SessionId
from turnlog.replay.rollouts.importing import import_rollout
from turnlog.replay.rollouts.storing import store_import
from turnlog.runtime.store.memory.log import MemoryLog
from turnlog.runtime.store.waiting import PendingTicket


async def stored(log: EventLog, session: SessionId) -> list[Recorded]:
    records: list[Recorded] = []
    while page := await log.read(session, after=len(records)):
        records += page
    return records


async def test_what_is_stored_is_what_was_imported() -> None:
    log = MemoryLog()
    found = kit.imported(kit.named("compact-fork-child"))
    await store_import(log, found)
    for made in found.sessions:
        assert await stored(log, made.session) == list(made.records)
    listed = {one.session: one for one in await log.sessions()}
    assert listed.keys() == {made.session for made in found.sessions}
    assert listed[found.newest.session] == found.newest.summary
    assert listed[found.newest.session].turns == 2
    claim = await log.claim(found.newest.session)  # it is nobody's any more
    assert claim.head.sequence == len(found.newest.records)


async def test_an_id_that_is_taken_is_refused_and_nothing_is_written() -> None:
    log = MemoryLog()
    found = kit.imported(kit.named("compact-parent"))
    taken = await log.create(found.newest.session)
    await log.release(taken)
    with raises_code(ErrorCode.SESSION_EXISTS) as caught:
        await store_import(log, found)
    assert caught.value.code == "session_exists"
    for earlier in found.report.earlier:
        with raises_code(ErrorCode.SESSION_NOT_FOUND):
            await log.head(earlier)


async def test_an_id_that_is_no_uuid_leaves_nothing_after() -> None:
    log = MemoryLog()
    found = import_rollout(kit.read_whole(kit.named("text")), session=SessionId("no-uuid"))
    with pytest.raises(UsageError):
        await store_import(log, found)
    assert await log.sessions() == []


@attrs.define(eq=False)
class Filling(MemoryLog):
    """A log whose disk is full at the first append."""

    def append(self, session: SessionId, batch: Batch, *, fence: int) -> PendingTicket:
        self.pause("no space left on the device")
        return super().append(session, batch, fence=fence)


async def test_on_a_full_disk_what_could_not_be_removed_is_named_with_what_went_wrong() -> None:
    log = Filling()
    found = kit.imported(kit.named("text"))
    left = found.newest.session
    with pytest.raises(WriteLost) as caught:
        await store_import(log, found)
    assert "no space left on the device" in str(caught.value)
    assert f"`turnlog delete {left}`" in str(caught.value)
    log.resume()
    await log.delete(left)
    assert await log.sessions() == []
