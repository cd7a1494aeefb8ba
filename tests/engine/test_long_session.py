"""A session of many turns and compactions, on disk: what may not grow with it does not."""

import gc
from pathlib import Path
from typing import Any, Final

import httpx

from tests.engine.kit import actor_of, house, of, play, the
from tests.scenarios.kit import Look, says, size_of, summaries, sums_up, talks
from turnlog.actors.core.rebuild import rebuild
from turnlog.protocol.events import Compacted, TurnEnded
from turnlog.runtime.engine.session import Session
from turnlog.runtime.scripted_model.script import call
from turnlog.runtime.store.lmdb.log import open_log

TURNS: Final = 60
BLOCK: Final = 20  # turns; what the last block takes is compared with what the second one took
LIMIT: Final = 3_000  # tokens, of which a turn takes some 700
SEEN: Final = 2_000  # characters
SCRIPT: Final = (
    says(call("look")),
    says("It was all as it should be."),
    sums_up("Each look was had. " * 20),
)


def prompt(number: int) -> str:
    return f"look a {number}th time, and say whether it is still as it should be"


async def run_block(session: Session, first: int, store: Path) -> tuple[int, int]:
    """Run turns; return by how many bytes the store grew, and the most parts that were live."""
    before, most = stored(store), 0
    for number in range(first, first + BLOCK):
        events = await play(session, prompt(number))
        assert the(TurnEnded, events).status == "completed"
        most = max(most, len(session.history()))
    return stored(store) - before, most


def stored(store: Path) -> int:
    return (store / "data.mdb").stat().st_size


async def test_neither_the_store_nor_the_conversation_nor_a_request_grows_with_the_turns(
    tmp_path: Path,
) -> None:
    store = tmp_path / "store"
    async with open_log(store) as log:
        options: dict[str, Any] = {"log": log, "more_tools": [Look(SEEN)], "loop": True}
        async with house(tmp_path, *SCRIPT, model_auto_compact_token_limit=LIMIT, **options) as h:
            session = await h.start()
            blocks = [await run_block(session, first, store) for first in range(0, TURNS, BLOCK)]
            grown, parts = zip(*blocks, strict=True)
            assert grown[2] <= 1.15 * grown[1]
            assert parts[2] <= parts[1]

            asked, summed_up = talks(h.server), summaries(h.server)
            assert len(asked) == 2 * TURNS
            room = 4 * LIMIT + len(prompt(TURNS)) + 100
            assert max(map(size_of, asked)) <= room
            assert max(size_of(parts[:-1]) for parts in summed_up) <= room + SEEN + 500

            compactions = of(Compacted, await h.events(session))
            assert len(summed_up) == len(compactions) > TURNS // 5
            assert {compaction.method for compaction in compactions} == {"summary"}
            assert all(one.tokens_after < one.tokens_before for one in compactions)
            history = session.history()
        async with house(tmp_path, *SCRIPT, **options) as h:
            again = await h.engine.resume(session.id)
            assert again.history() == history
            assert actor_of(again).state == rebuild(await h.events(again))


async def test_a_request_that_was_answered_does_not_wait_for_the_collector(tmp_path: Path) -> None:
    async with house(tmp_path, *SCRIPT, more_tools=[Look(SEEN)], loop=True) as h:
        session = await h.start()
        await play(session)
        gc.collect()
        gc.disable()
        try:
            await play(session)
            assert [each for each in gc.get_objects() if isinstance(each, httpx.Request)] == []
        finally:
            gc.enable()
