"""The diff of a turn: one for all its patches, from what was there first to what is there now."""

from contextlib import aclosing
from pathlib import Path

import trio

from tests.engine.kit import house, play, shell, until
from turnlog.protocol.events import ToolStarted, TurnEnded
from turnlog.protocol.notices import TurnDiff
from turnlog.protocol.ops import prompt
from turnlog.runtime.engine.session import Session
from turnlog.runtime.scripted_model.script import Item, custom
from turnlog.runtime.store.memory.log import MemoryLog, MemoryStore


def patch(*lines: str) -> Item:
    text = "".join(f"{line}\n" for line in ("*** Begin Patch", *lines, "*** End Patch"))
    return custom("apply_patch", text)


def update(name: str, old: str, new: str) -> Item:
    return patch(f"*** Update File: {name}", "@@", f"-{old}", f"+{new}")


async def diff_of_turn(session: Session, *holds: str) -> TurnDiff:
    """Run a turn; return the first of its diffs that holds these texts. It may come after it."""
    async with trio.open_nursery() as nursery, aclosing(session.watch()) as publications:
        nursery.start_soon(play, session)
        async for one in publications:
            if isinstance(one, TurnDiff) and all(text in one.unified_diff for text in holds):
                return one
    raise AssertionError(f"no diff with {holds}")


async def test_it_runs_from_the_turns_first_state_to_its_last(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text("one\nrest\n")
    script = (
        update("old.txt", "one", "two"),
        patch("*** Add File: new.txt", "+hello"),
        update("old.txt", "two", "three"),
        "done",
    )
    async with house(tmp_path, *script) as h:
        diff = await diff_of_turn(await h.start(), "-one\n+three\n rest\n", "+hello\n")
        assert diff.turn == 1
        assert "two" not in diff.unified_diff


async def test_it_is_shown_while_the_turn_continues(tmp_path: Path) -> None:
    script = (patch("*** Add File: new.txt", "+hello"), shell("sleep 1000"), "next")
    async with house(tmp_path, *script) as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            diff = await until(session, TurnDiff, after=0)
            assert "+hello\n" in diff.unified_diff
            assert session.is_running
            await session.interrupt()


async def test_each_turn_has_its_own(tmp_path: Path) -> None:
    script = (
        patch("*** Add File: new.txt", "+hello"), "done", update("new.txt", "hello", "bye"), "done",
    )  # fmt: skip
    async with house(tmp_path, *script) as h:
        session = await h.start()
        assert (await diff_of_turn(session, "+hello\n")).turn == 1
        assert (await diff_of_turn(session, "-hello\n+bye\n")).turn == 2


async def test_what_is_as_it_was_is_no_change(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text("one\n")
    script = (update("old.txt", "one", "two"), update("old.txt", "two", "one"), "done")
    async with house(tmp_path, *script) as h:
        session = await h.start()
        async with trio.open_nursery() as nursery, aclosing(session.watch()) as publications:
            nursery.start_soon(play, session)
            async for one in publications:
                if isinstance(one, TurnDiff) and not one.unified_diff:
                    break


async def test_a_deleted_file_is_shown_as_such(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text("one\n")
    async with house(tmp_path, patch("*** Delete File: old.txt"), "done") as h:
        await diff_of_turn(await h.start(), "+++ /dev/null\n", "-one\n")


async def test_a_patch_that_fails_and_a_command_have_none(tmp_path: Path) -> None:
    async with house(tmp_path, update("old.txt", "one", "two"), shell("echo x > y"), "done") as h:
        session = await h.start()
        publications = session.watch_op(prompt("go"))
        assert [one async for one in publications if isinstance(one, TurnDiff)] == []


async def test_after_a_restart_it_still_has_what_came_before(tmp_path: Path) -> None:
    store = MemoryStore()
    log = MemoryLog(store, "first")
    first = (patch("*** Add File: one.txt", "+one"), shell("sleep 1000"))
    async with house(tmp_path, *first, log=log, checked=False) as h:
        session = await h.start()
        await session.submit(prompt("go"))
        await until(session, ToolStarted, after=0, number=2)
        log.kill()
    second = (patch("*** Add File: two.txt", "+two"), "done")
    async with house(tmp_path, *second, log=MemoryLog(store, "second")) as h:
        session = await h.engine.resume(session.id)
        diff = await until(session, TurnDiff, after=0)
        assert diff.turn == 1
        assert "+one\n" in diff.unified_diff
        assert "+two\n" in diff.unified_diff
        await until(session, TurnEnded, after=0)
