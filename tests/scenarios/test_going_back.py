"""Branching at a message and going back with files harm the source or somebody's work: not here."""

import hashlib
from pathlib import Path
from typing import Final

import trio

from tests.engine.kit import house, of, play, shell, the, until
from tests.scenarios.kit import assert_valid, do, sent, talks
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.events import (
    ModelItemReceived,
    OpReceived,
    ToolDispatched,
    ToolFinished,
    TurnEnded,
    TurnsRestored,
)
from turnlog.protocol.items import text_message
from turnlog.protocol.ops import Redo, Undo, UserTurn
from turnlog.runtime.scripted_model.script import Item, custom
from turnlog.runtime.store.lmdb.log import open_log


def patch(file: str, old: str, new: str) -> Item:
    text = f"*** Begin Patch\n*** Update File: {file}\n@@\n-{old}\n+{new}\n*** End Patch\n"
    return custom("apply_patch", text)


EDIT: Final = patch("note.txt", "mine", "the model's")


def prompts(records: list[Recorded]) -> list[Recorded]:
    """Return the events of all prompts."""
    return [
        recorded
        for recorded in records
        if isinstance(recorded.event, OpReceived) and isinstance(recorded.event.op, UserTurn)
    ]


def contents(folder: Path) -> dict[str, str]:
    """Return what each file below `folder` holds, by digest."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


async def test_a_fork_at_an_assistants_message_keeps_that_message(tmp_path: Path) -> None:
    async with house(tmp_path, "the first", "the second", "of the fork") as h:
        session = await h.start()
        await play(session, "one")
        kept = session.history()
        await play(session, "two")
        source = await h.events(session)
        first = next(r for r in source if isinstance(r.event, ModelItemReceived))
        branch = await session.fork(at=first.sequence)
        await play(branch, "otherwise")
        marker, prompt = talks(h.server)[-1][len(kept) :]
        assert talks(h.server)[-1][: len(kept)] == kept
        assert "the first" in kept[-1]
        assert "turn_aborted" in marker  # the cut is before the turn's end
        assert prompt == text_message("user", "otherwise")
        assert await h.events(session) == source


async def test_an_edited_prompt_leaves_the_source_as_it_was(tmp_path: Path) -> None:
    script = ("one", "two", "three", "of the fork")
    async with open_log(tmp_path / "store") as log, house(tmp_path, *script, log=log) as h:
        session = await h.start()
        for words in ("a", "b", "c"):
            await play(session, words)
        source, history = await h.events(session), session.history()
        before_b = prompts(source)[1].sequence - 1
        branch = await session.fork(at=before_b)
        await play(branch, "b, but better")
        assert await h.events(session) == source
        assert session.history() == history
        of_b, of_fork = talks(h.server)[1], talks(h.server)[3]
        assert of_fork == [*of_b[:-1], text_message("user", "b, but better")]


async def test_a_fork_between_parallel_results_is_told_the_truth_of_each_call(
    tmp_path: Path,
) -> None:
    slow = "until [ -e go ]; do sleep 0.02; done; echo slow"
    calls = [shell("echo quick"), shell(slow)]
    async with house(tmp_path, calls, "done", "of the fork") as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            await until(session, ToolFinished, after=0)
            (tmp_path / "go").touch()
        records = await h.events(session)
        quick = next(r.sequence for r in records if isinstance(r.event, ToolFinished))
        _, slow_call = (r.sequence for r in records if isinstance(r.event, ToolDispatched))
        branch = await session.fork(at=max(quick, slow_call))
        await play(branch, "and now")
        *_, marker, _prompt = parts = talks(h.server)[-1]
        assert_valid(parts)
        assert "quick" in parts[-4]
        assert "slow" not in parts[-3]
        assert "stopped while it was running" in parts[-3] or "outcome is unknown" in parts[-3]
        assert "turn_aborted" in marker
        assert "slow" in talks(h.server)[1][-1]


async def test_an_undo_leaves_alone_what_somebody_else_has_changed_since(tmp_path: Path) -> None:
    note, other = tmp_path / "note.txt", tmp_path / "other.txt"
    both = [EDIT, patch("other.txt", "mine", "the model's")]
    async with house(tmp_path, both, "done") as h:
        note.write_text("mine\n")
        other.write_text("mine\n")
        session = await h.start()
        before = session.history()
        await play(session)
        note.write_text("changed by hand\n")
        restored = the(TurnsRestored, await do(session, Undo()))
        assert note.read_text() == "changed by hand\n"
        assert other.read_text() == "mine\n"
        outcomes = {Path(file.path).name: file.outcome for file in restored.files}
        assert outcomes["note.txt"] == "conflict"
        assert outcomes["other.txt"] == "restored"
        assert session.history() == before


async def test_an_undo_can_be_taken_back(tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    async with house(tmp_path, EDIT, "done") as h:
        note.write_text("mine\n")
        session = await h.start()
        await play(session)
        after = session.history()
        await do(session, Undo())
        assert note.read_text() == "mine\n"
        await do(session, Redo())
        assert note.read_text() == "the model's\n"
        assert session.history() == after


async def test_what_was_undone_does_not_reach_the_model(tmp_path: Path) -> None:
    async with house(tmp_path, "one", "a secret", "two") as h:
        session = await h.start()
        await play(session, "a")
        await play(session, "tell me a secret")
        await do(session, Undo())
        await play(session, "b")
        assert "secret" not in "".join(sent(h.server)[-1])
        assert talks(h.server)[-1][: len(talks(h.server)[0])] == talks(h.server)[0]


async def test_files_alone_go_back_and_the_turns_that_are_shown_stay(tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    again = patch("note.txt", "the model's", "the model's second")
    async with house(tmp_path, EDIT, "one", again, "two") as h:
        note.write_text("mine\n")
        session = await h.start()
        await play(session, "a")
        await play(session, "b")
        shown = session.history()
        await do(session, Undo(conversation=False))
        assert note.read_text() == "the model's\n"
        assert session.history() == shown
        assert the(TurnEnded, await do(session, Redo())).status == "completed"
        assert note.read_text() == "the model's second\n"


async def test_the_conversation_alone_goes_back_and_the_files_stay(tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    async with house(tmp_path, EDIT, "one") as h:
        note.write_text("mine\n")
        session = await h.start()
        before = session.history()
        await play(session, "a")
        await do(session, Undo(files=False))
        assert note.read_text() == "the model's\n"
        assert session.history() == before


async def test_the_users_repository_is_not_touched(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "note.txt").write_text("mine\n")
    git = ["git", "-C", str(work), "-c", "user.name=me", "-c", "user.email=me@example.com"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        await trio.run_process([*git, *arguments])
    before = contents(work / ".git")
    assert before
    async with house(tmp_path, EDIT, "done") as h:
        session = await h.engine.start(cwd=work)
        await play(session)
        await do(session, Undo())
        await do(session, Redo())
        await do(session, Undo())
    assert (work / "note.txt").read_text() == "mine\n"
    assert contents(work / ".git") == before
    assert [event.status for event in of(TurnEnded, await h.events(session))] == ["completed"] * 4
