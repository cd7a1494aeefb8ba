"""Undo and redo with real files: what the turns changed is back, and nobody's work is lost."""

from pathlib import Path
from typing import Any, Final

import pytest
import trio

from tests.engine.kit import house, is_there, of, play, shell, the, until
from tests.errors import raises_code
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.events import (
    FilesSaved,
    ToolStarted,
    TurnEnded,
    TurnOpened,
    TurnsDropped,
    TurnsRestored,
    UndoAsked,
    WorkspaceScanned,
)
from turnlog.protocol.ops import Compact, Op, Redo, Undo
from turnlog.runtime.config.schema import UndoSettings
from turnlog.runtime.engine.session import Session
from turnlog.runtime.scripted_model.script import Item, Response, custom, message
from turnlog.runtime.store.memory.log import MemoryLog, MemoryStore

SCANNED: Final[dict[str, Any]] = {"undo": UndoSettings(scan_workspace=True)}
LONG: Final = "blah " * 4000


def add(name: str, text: str) -> Item:
    return custom("apply_patch", f"*** Begin Patch\n*** Add File: {name}\n+{text}\n*** End Patch\n")


def change(name: str, old: str, new: str) -> Item:
    return custom(
        "apply_patch",
        f"*** Begin Patch\n*** Update File: {name}\n@@\n-{old}\n+{new}\n*** End Patch\n",
    )


async def do(session: Session, op: Op) -> list[Recorded]:
    return [recorded async for recorded in session.run(op)]


def outcomes(events: list[Recorded]) -> dict[str, str]:
    restored = the(TurnsRestored, events)
    return {Path(file.path).name: file.outcome for file in restored.files}


def files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.glob("*.txt"))}


async def test_the_files_and_the_conversation_are_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text("one\n")
    script = ("hello", [change("old.txt", "one", "two"), add("new.txt", "hello")], "done", "next")
    async with house(tmp_path, *script) as h:
        session = await h.start()
        await play(session, "hello")
        before = session.history()
        await play(session, "change it")
        assert files(tmp_path) == {"new.txt": "hello\n", "old.txt": "two\n"}
        events = await do(session, Undo())
        assert the(TurnOpened, events).kind == "undo"
        assert outcomes(events) == {"new.txt": "deleted", "old.txt": "restored"}
        assert files(tmp_path) == {"old.txt": "one\n"}
        assert session.history() == before
        assert the(TurnEnded, await play(session, "and now?")).status == "completed"
        assert "change it" not in str(h.server.requests[-1].body)


async def test_a_redo_takes_it_back_and_another_undo_that(tmp_path: Path) -> None:
    script = (add("new.txt", "hello"), "done")
    async with house(tmp_path, *script) as h:
        session = await h.start()
        empty = session.history()
        await play(session, "change it")
        after = session.history()
        for _ in range(2):
            await do(session, Undo())
            assert (files(tmp_path), session.history()) == ({}, empty)
            events = await do(session, Redo())
            assert the(TurnsDropped, events).redo
            assert (files(tmp_path), session.history()) == ({"new.txt": "hello\n"}, after)


async def test_several_turns_at_once(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text("one\n")
    script = (
        change("old.txt", "one", "two"), "done", change("old.txt", "two", "three"), "done",
    )  # fmt: skip
    async with house(tmp_path, *script) as h:
        session = await h.start()
        await play(session)
        await play(session)
        assert files(tmp_path) == {"old.txt": "three\n"}
        await do(session, Undo(2))
        assert files(tmp_path) == {"old.txt": "one\n"}
        assert session.history() == []
        await do(session, Redo())
        assert files(tmp_path) == {"old.txt": "three\n"}


async def test_what_somebody_else_changed_stays_unless_forced(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text("one\n")
    async with house(tmp_path, change("old.txt", "one", "two"), "done") as h:
        session = await h.start()
        await play(session)
        (tmp_path / "old.txt").write_text("mine\n")
        events = await do(session, Undo())
        assert outcomes(events) == {"old.txt": "conflict"}
        assert files(tmp_path) == {"old.txt": "mine\n"}
        assert session.history() == []
        await do(session, Redo())
        events = await do(session, Undo(force=True))
        assert outcomes(events) == {"old.txt": "restored"}
        assert files(tmp_path) == {"old.txt": "one\n"}
        await do(session, Redo())
        assert files(tmp_path) == {"old.txt": "mine\n"}


async def test_files_or_the_conversation_alone(tmp_path: Path) -> None:
    async with house(tmp_path, add("new.txt", "hello"), "done") as h:
        session = await h.start()
        await play(session)
        after = session.history()
        await do(session, Undo(conversation=False))
        assert (files(tmp_path), session.history()) == ({}, after)
        await do(session, Redo())
        assert (files(tmp_path), session.history()) == ({"new.txt": "hello\n"}, after)
        await do(session, Undo(files=False))
        assert (files(tmp_path), session.history()) == ({"new.txt": "hello\n"}, [])


async def test_over_a_compaction_the_old_conversation_comes_from_the_log(tmp_path: Path) -> None:
    summary = Response(items=[message("sorted")], compaction=True)
    async with house(tmp_path, LONG, add("new.txt", "hello"), "done", summary, "next") as h:
        session = await h.start()
        await play(session, "sort")
        before = session.history()
        await play(session, "change it")
        await do(session, Compact())
        compacted = session.history()
        events = await do(session, Undo())
        assert the(UndoAsked, events).parts is None
        assert (files(tmp_path), session.history()) == ({}, before)
        await do(session, Redo())
        assert (files(tmp_path), session.history()) == ({"new.txt": "hello\n"}, compacted)
        await do(session, Undo())
        await play(session, "and now?")
        sent = [part["role"] for part in h.server.requests[-1].body["input"] if "role" in part]
        assert sent[-1] == "user"
        assert LONG in str(h.server.requests[-1].body)


@pytest.mark.parametrize(("op", "code"), [
    (Undo(), ErrorCode.NOTHING_TO_UNDO),
    (Undo(3), ErrorCode.NOTHING_TO_UNDO),
    (Redo(), ErrorCode.NOTHING_TO_REDO),
])  # fmt: skip
async def test_what_cannot_be_undone_is_refused(op: Op, code: ErrorCode, tmp_path: Path) -> None:
    async with house(tmp_path, "hello") as h:
        session = await h.start()
        with raises_code(code):
            await session.submit(op)


async def test_while_a_turn_runs_it_is_refused(tmp_path: Path) -> None:
    async with house(tmp_path, "hello", shell("sleep 1000")) as h:
        session = await h.start()
        await play(session)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            await until(session, ToolStarted, after=0)
            with raises_code(ErrorCode.TURN_RUNNING):
                await session.submit(Undo())
            await session.interrupt()


async def test_what_an_interrupted_turn_changed_is_brought_back(tmp_path: Path) -> None:
    async with house(tmp_path, add("new.txt", "hello"), shell("sleep 1000")) as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            await until(session, ToolStarted, after=0, number=2)
            await session.interrupt()
        await do(session, Undo())
        assert (files(tmp_path), session.history()) == ({}, [])


# --- what commands change -------------------------------------------------------------------------


async def test_without_a_scan_what_a_command_changed_stays(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text("one\n")
    async with house(tmp_path, shell("echo two > old.txt"), "done") as h:
        session = await h.start()
        await play(session)
        await do(session, Undo())
        assert files(tmp_path) == {"old.txt": "two\n"}


async def test_without_a_scan_what_commands_changed_is_named(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text("one\n")
    (tmp_path / "untouched.txt").write_text("one\n")
    script = ([shell("echo two > old.txt; echo made > made.txt"), add("new.txt", "hi")], "done")
    async with house(tmp_path, *script) as h:
        session = await h.start()
        await play(session)
        (tmp_path / "mine.txt").write_text("the user's own\n")
        events = await do(session, Undo())
        named = outcomes(events)
        assert {name: what for name, what in named.items() if name.endswith(".txt")} == {
            "new.txt": "deleted",
            "old.txt": "not_covered",
            "made.txt": "not_covered",
        }


async def test_with_a_scan_a_file_that_a_command_made_is_removed_and_the_user_s_own_stays(
    tmp_path: Path,
) -> None:
    (tmp_path / "old.txt").write_text("one\n")
    made = shell("mkdir sub; echo made > sub/made.txt; echo shared > shared.txt")
    async with house(tmp_path, made, "done", **SCANNED) as h:
        session = await h.start()
        await play(session)
        (tmp_path / "mine.txt").write_text("the user's own\n")
        (tmp_path / "shared.txt").write_text("changed by the user\n")
        events = await do(session, Undo())
        assert outcomes(events)["made.txt"] == "deleted"
        assert outcomes(events)["shared.txt"] == "conflict"
        assert files(tmp_path) == {
            "mine.txt": "the user's own\n",
            "old.txt": "one\n",
            "shared.txt": "changed by the user\n",
        }
        assert not is_there(tmp_path / "sub" / "made.txt")
        await do(session, Redo())
        assert (tmp_path / "sub" / "made.txt").read_text() == "made\n"


async def test_with_a_scan_what_a_command_changed_is_brought_back(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text("one\n")
    (tmp_path / "gone.txt").write_text("here\n")
    async with house(tmp_path, shell("echo two > old.txt; rm gone.txt"), "done", **SCANNED) as h:
        session = await h.start()
        events = await play(session)
        kinds = [recorded.kind for recorded in events]
        assert kinds.index("workspace_scanned") < kinds.index("tool_started")
        assert the(WorkspaceScanned, events).files >= 2
        await do(session, Undo())
        assert files(tmp_path) == {"gone.txt": "here\n", "old.txt": "one\n"}
        await do(session, Redo())
        assert files(tmp_path) == {"old.txt": "two\n"}


async def test_an_undo_of_the_second_turn_leaves_what_the_first_one_changed(
    tmp_path: Path,
) -> None:
    for name in ("a", "b", "c", "gone"):
        (tmp_path / f"{name}.txt").write_text("one\n")
    script = (
        shell("echo two > a.txt; echo two > b.txt; rm gone.txt"), "done",
        shell("echo three > b.txt; echo three > c.txt"), "done",
    )  # fmt: skip
    async with house(tmp_path, *script, **SCANNED) as h:
        session = await h.start()
        await play(session)
        after_first = files(tmp_path)
        events = await play(session)
        assert len(of(FilesSaved, events)) == 1
        await do(session, Undo())
        assert files(tmp_path) == after_first
        await do(session, Redo())
        assert files(tmp_path) == {"a.txt": "two\n", "b.txt": "three\n", "c.txt": "three\n"}
        await do(session, Undo(2))
        assert files(tmp_path) == dict.fromkeys(("a.txt", "b.txt", "c.txt", "gone.txt"), "one\n")


async def test_an_undo_of_mere_talk_touches_no_files_though_others_were_scanned(
    tmp_path: Path,
) -> None:
    (tmp_path / "old.txt").write_text("one\n")
    async with house(tmp_path, shell("echo two > old.txt"), "done", "talk", **SCANNED) as h:
        session = await h.start()
        await play(session)
        await play(session)
        await do(session, Undo())
        assert files(tmp_path) == {"old.txt": "two\n"}
        await do(session, Redo())
        assert files(tmp_path) == {"old.txt": "two\n"}


async def test_a_patch_and_a_command_on_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text("one\n")
    script = (
        "hello", shell("echo two > old.txt"), change("old.txt", "two", "three"), "done",
    )  # fmt: skip
    async with house(tmp_path, *script, **SCANNED) as h:
        session = await h.start()
        await play(session)
        await play(session)
        assert files(tmp_path) == {"old.txt": "three\n"}
        await do(session, Undo())
        assert files(tmp_path) == {"old.txt": "one\n"}


# --- a kill between -------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", [UndoAsked, FilesSaved, TurnsRestored])
async def test_a_kill_on_the_way_back_is_gone_on_from(moment: type[Any], tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text("one\n")
    store = MemoryStore()
    log = MemoryLog(store, "first")
    async with house(
        tmp_path, change("old.txt", "one", "two"), "done", log=log, checked=False
    ) as h:
        session = await h.start()
        await play(session)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.submit, Undo())
            await until(session, moment, after=session.head)
            log.kill()
            nursery.cancel_scope.cancel()
    async with house(tmp_path, "next", log=MemoryLog(store, "second")) as h:
        session = await h.engine.resume(session.id)
        if session.is_running:
            await until(session, TurnEnded, after=0, number=2)
        assert (files(tmp_path), session.history()) == ({"old.txt": "one\n"}, [])
        records = await h.events(session)
        assert [event.status for event in of(TurnEnded, records)] == ["completed", "completed"]
        await do(session, Redo())
        assert files(tmp_path) == {"old.txt": "two\n"}


async def test_an_undo_that_is_interrupted_is_whole_or_not_at_all(tmp_path: Path) -> None:
    async with house(tmp_path, add("new.txt", "hello"), "done") as h:
        session = await h.start()
        await play(session)
        after = session.history()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.submit, Undo())
            await until(session, UndoAsked, after=session.head)
            await session.interrupt()
        if session.is_running:
            await until(session, TurnEnded, after=0, number=2)
        state = (is_there(tmp_path / "new.txt"), session.history())
        assert state in [(True, after), (False, [])]
