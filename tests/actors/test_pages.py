"""Reading a session page by page: where it begins and ends, and what damage leaves."""

from typing import Any

import attrs
import pytest

from tests.core.play import Play
from tests.replay.views.kit import keep, session_id
from turnlog.actors.stored_state.pages import Pages, read_whole
from turnlog.protocol.errors import LogDamaged
from turnlog.runtime.store.memory.log import MemoryLog

SESSION = session_id(1)


@attrs.define(eq=False)
class DamagedLog(MemoryLog):
    """A log whose event `damaged` cannot be read."""

    damaged: int = attrs.field(kw_only=True)

    async def read(self, *words: Any, **options: Any) -> Any:  # noqa: ANN401
        page = await MemoryLog.read(self, *words, **options)
        if any(recorded.sequence == self.damaged for recorded in page):
            raise LogDamaged(SESSION, self.damaged, "flipped")
        return page


async def kept() -> tuple[MemoryLog, Play]:
    play = Play.started()
    play.ask("one")
    play.complete()
    log = MemoryLog()
    await keep(log, SESSION, play)
    return log, play


async def test_pages_hold_the_events_between_two_places_in_order() -> None:
    log, play = await kept()
    found = [page async for page in Pages(log, SESSION, after=1, until=6, at_once=2)]
    assert found == [play.records[1:3], play.records[3:5], play.records[5:6]]
    assert await read_whole(log, SESSION) == play.records


async def test_nothing_is_read_if_the_end_is_reached_already() -> None:
    log, _ = await kept()
    assert [page async for page in Pages(log, SESSION, after=4, until=4)] == []


@pytest.mark.parametrize("damaged", [1, 4])
async def test_all_events_before_damage_come_first(damaged: int) -> None:
    log, play = await kept()
    pages = Pages(DamagedLog(log.store, damaged=damaged), SESSION)
    found = [await anext(pages)] if damaged > 1 else []
    with pytest.raises(LogDamaged):
        await anext(pages)
    assert found == ([play.records[: damaged - 1]] if damaged > 1 else [])
