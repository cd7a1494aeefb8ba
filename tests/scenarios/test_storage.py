"""Each step writes the whole conversation again, and stores grow with its square: not here."""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

from tests.engine.kit import House, house, of, play, the
from tests.scenarios.kit import Look, do, says, sums_up, talks
from turnlog.protocol.events import Compacted, TurnEnded
from turnlog.protocol.ops import Compact, LocalImageInput, TextInput, UserTurn
from turnlog.runtime.engine.session import Session
from turnlog.runtime.scripted_model.script import Response, call
from turnlog.runtime.store.lmdb.log import open_log

PIXELS: Final = b"\x89PNG\r\n\x1a\n" + Random(0).randbytes(300_000)  # which nothing can pack
LOOK: Final = says(call("look"))


def size_of(folder: Path) -> int:
    return (folder / "store" / "data.mdb").stat().st_size


async def show(session: Session, picture: Path, words: str = "what is this?") -> None:
    events = await do(session, UserTurn((TextInput(words), LocalImageInput(str(picture)))))
    assert the(TurnEnded, events).status == "completed"


def images(parts: Sequence[str]) -> int:
    return "".join(parts).count("data:image/png")


async def test_the_same_message_with_the_same_image_is_stored_once(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(PIXELS)
    async with (
        open_log(tmp_path / "store") as log,
        house(tmp_path, "a picture", loop=True, log=log) as h,
    ):
        session = await h.start()
        await show(session, picture)
        before = size_of(tmp_path)
        assert before < 1.5 * len(PIXELS)
        for _ in range(5):
            await show(session, picture)
        await show(await h.start(), picture)
        assert images(talks(h.server)[5]) == 6
        assert size_of(tmp_path) - before < 0.3 * len(PIXELS)


async def test_an_image_that_is_sent_with_every_request_is_stored_once(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(PIXELS)
    name = ""
    async with open_log(tmp_path / "store") as log:
        before = 0
        for _ in range(3):
            async with house(tmp_path, "a picture", loop=True, log=log) as h:
                session = await (h.engine.resume(name) if name else h.start())
                if not name:
                    await show(session, picture)
                    before = size_of(tmp_path)
                name = session.id
                for _ in range(3):
                    await play(session, "look closer")
                branch = await session.fork()
                await play(branch, "another thing")
                requests = talks(h.server)
                assert {images(parts) for parts in requests} == {1}
        assert size_of(tmp_path) - before < 0.6 * len(PIXELS)


async def test_a_compaction_does_not_write_what_it_keeps_again(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    pixels = PIXELS[:50_000]  # a larger one would not stay
    picture.write_bytes(pixels)
    script = (says("a picture"), LOOK, says("seen"), sums_up("in short"))
    options: dict[str, Any] = {"more_tools": [Look(200_000)], "loop": True}
    async with (
        open_log(tmp_path / "store") as log,
        house(tmp_path, *script, log=log, **options) as h,
    ):
        session = await h.start()
        await show(session, picture)
        await play(session, "and look around")
        before = size_of(tmp_path)
        compacted = the(Compacted, await do(session, Compact()))
        assert compacted.method == "summary"
        assert images(session.history()) == 1
        assert size_of(tmp_path) - before < 0.6 * len(pixels)


async def turn_sizes(h: House, session: Session, folder: Path, turns: int) -> list[int]:
    sizes = [size_of(folder)]
    for number in range(turns):
        await play(session, f"{number} look")
        sizes.append(size_of(folder))
    return sizes


async def test_a_turn_takes_as_much_store_late_as_early(tmp_path: Path) -> None:
    async with open_log(tmp_path / "store") as log:
        script = (LOOK, says("seen"))
        async with house(tmp_path, *script, more_tools=[Look()], loop=True, log=log) as h:
            session = await h.start()
            sizes = await turn_sizes(h, session, tmp_path, 45)
            early, late = sizes[20] - sizes[5], sizes[45] - sizes[30]
            assert late <= 1.2 * early
            asked = [sum(map(len, parts)) for parts in talks(h.server)]
            assert asked[-1] > 10 * asked[0]  # what is sent does grow


async def test_a_fork_takes_no_store_for_what_it_shares(tmp_path: Path) -> None:
    async with open_log(tmp_path / "store") as log:
        script = (LOOK, says("seen"))
        async with house(tmp_path, *script, more_tools=[Look(100_000)], loop=True, log=log) as h:
            session = await h.start()
            await turn_sizes(h, session, tmp_path, 8)
            before = size_of(tmp_path)
            for _ in range(5):
                branch = await session.fork()
                assert branch.history() == session.history()
            assert size_of(tmp_path) - before < 100_000


async def test_a_request_that_is_too_large_for_the_provider_ends_and_says_so(
    tmp_path: Path,
) -> None:
    too_large = Response(status=413, body={"error": {"message": "request too large"}}, repeat=99)
    async with house(tmp_path, LOOK, too_large, more_tools=[Look()]) as h:
        events = await play(await h.start())
        ended = the(TurnEnded, events)
        assert ended.status == "failed"
        assert ended.error is not None
        assert "request too large" in ended.error.message
        assert len(h.server.requests) <= 4  # the retries that a request has
        assert of(Compacted, events) == []
