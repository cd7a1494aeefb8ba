"""Simulations of what is no talk with the model: it comes again without touching the world."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from tests.engine.agents import Addressing, only, spawn
from tests.engine.kit import House, of, play, shell, until
from tests.replay.rerun.kit import Studio
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.events import (
    ChildAsked,
    ChildEnded,
    Compacted,
    ToolFinished,
    ToolStarted,
    TurnEnded,
    TurnsDropped,
    TurnsRestored,
)
from turnlog.protocol.ops import (
    Compact,
    Interrupt,
    Op,
    Redo,
    Review,
    RunUserShellCommand,
    SetName,
    Undo,
)
from turnlog.runtime.config.schema import UndoSettings
from turnlog.runtime.engine.session import Session
from turnlog.runtime.scripted_model.script import Response, call, custom, message

PATCH = "*** Begin Patch\n*** Add File: note.txt\n+hello\n*** End Patch\n"
STORY = "a long story " * 100


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path)


async def done(session: Session, op: Op) -> None:
    """Submit an op that is a turn of its own, and wait for the turn's end."""
    head = session.head
    await session.submit(op)
    await until(session, TurnEnded, after=head)


async def assert_same(studio: Studio, session: str) -> list[Recorded]:
    """Simulate a session, with all ports recorded; return the branch's events."""
    report = await studio.simulate(session, keep=True)
    assert report.misses == ()
    assert [turn.differences for turn in report.turns] == [()] * len(report.turns)
    assert report.same_conversation
    originals, events = await studio.events(session), await studio.events(report.branch)
    assert [turn.status for turn in of(TurnEnded, events)] == [
        turn.status for turn in of(TurnEnded, originals)
    ]
    return events


async def test_a_compaction_comes_again(studio: Studio) -> None:
    summary = Response(items=[message("what matters")], compaction=True)
    async with studio.open(STORY, STORY, "continues", summary) as h:
        session = await h.start()
        await play(session, "one")
        await play(session, "two")
        await done(session, Compact())
        await play(session, "three")
    events = await assert_same(studio, session.id)
    assert [made.method for made in of(Compacted, events)] == ["summary"]


async def test_a_compaction_that_falls_back_comes_again(studio: Studio) -> None:
    no = Response(status=400, body="no", compaction=True)
    async with studio.open(STORY, STORY, "continues", no) as h:
        session = await h.start()
        await play(session, "one")
        await play(session, "two")
        await done(session, Compact())
        await play(session, "three")
    events = await assert_same(studio, session.id)
    assert [made.method for made in of(Compacted, events)] == ["truncation"]


async def test_an_undo_and_a_redo_come_again_and_touch_no_file(studio: Studio) -> None:
    async with studio.open("hello", custom("apply_patch", PATCH), "made it", "and now") as h:
        session = await h.start()
        await play(session, "hi")
        await play(session, "make a note")
        await done(session, Undo())
        assert not (studio.folder / "note.txt").exists()
        await done(session, Redo())
        await done(session, Undo())
        await play(session, "again")
    (studio.folder / "note.txt").write_text("mine")
    events = await assert_same(studio, session.id)
    assert (studio.folder / "note.txt").read_text() == "mine"
    assert len(of(TurnsDropped, events)) == 3
    assert [[note.outcome for note in one.files] for one in of(TurnsRestored, events)] == [
        ["deleted"],
        ["restored"],
        ["deleted"],
    ]


async def test_a_scanned_workspace_comes_again(studio: Studio) -> None:
    keys = UndoSettings(scan_workspace=True)
    studio.folder.mkdir()
    (studio.folder / "old").write_text("old")
    async with studio.open(shell("echo new > old"), "done", undo=keys) as h:
        session = await h.start()
        await play(session, "change it")
        await done(session, Undo())
        assert (studio.folder / "old").read_text() == "old"
    (studio.folder / "old").write_text("mine")
    await assert_same(studio, session.id)
    assert (studio.folder / "old").read_text() == "mine"


async def test_the_users_own_command_comes_again_and_does_not_run(studio: Studio) -> None:
    async with studio.open("hello", "again") as h:
        session = await h.start()
        await play(session)
        await session.submit(SetName("my work"))
        await done(session, RunUserShellCommand("echo $RANDOM | tee ran"))
        await play(session)
    (studio.folder / "ran").unlink()
    events = await assert_same(studio, session.id)
    assert not (studio.folder / "ran").exists()
    recorded = of(ToolFinished, await studio.events(session.id))
    assert [one.output for one in of(ToolFinished, events)] == [one.output for one in recorded]


async def test_a_command_that_its_user_stopped_is_stopped_again(studio: Studio) -> None:
    async with studio.open("hello", "again") as h:
        session = await h.start()
        await play(session)
        await session.submit(RunUserShellCommand("echo begun; sleep 1000"))
        await until(session, ToolStarted, after=0)
        head = session.head
        await session.submit(Interrupt())
        await until(session, TurnEnded, after=head)
        await play(session)
    await assert_same(studio, session.id)


async def test_a_review_comes_again_without_its_child(studio: Studio) -> None:
    async with studio.open("hello", only("look at it", "it is fine"), "so it is") as h:
        session = await h.start()
        await play(session)
        await done(session, Review("look at it"))
        await play(session, "is it?")
    events = await assert_same(studio, session.id)
    assert [end.output for end in of(ChildEnded, events)] == ["it is fine"]


Lead = Callable[[House, Session], Awaitable[None]]


async def led(studio: Studio, *script: Response | str | object) -> str:
    """Record a session whose model leads agents; return its id."""
    async with studio.open(
        *script,  # type: ignore[arg-type]
        wrap_model=Addressing,
    ) as h:
        session = await h.start()
        await play(session)
        await play(session, "and on")
    return session.id


@pytest.mark.parametrize("count", [1, 3])
async def test_agents_come_again_under_other_ids(studio: Studio, count: int) -> None:
    marks = [f"count {number}" for number in range(count)]
    wait = call("wait_agent", {"targets": ["AGENT1"], "timeout_ms": 60_000})
    session = await led(
        studio,
        [spawn(mark) for mark in marks],
        *(only(mark, f"{mark} is done") for mark in marks),
        wait,
        call("list_agents", {}),
        Response(items=[message("so many")], repeat=6),
    )
    events = await assert_same(studio, session)
    ids = {asked.child for asked in of(ChildAsked, events)}
    assert len(ids) == count
    assert not ids & {asked.child for asked in of(ChildAsked, await studio.events(session))}


async def test_an_agent_that_is_told_something_and_closed_comes_again(studio: Studio) -> None:
    session = await led(
        studio,
        spawn("count"),
        only("count", shell("sleep 0.3; echo x")),
        only("count", Response(items=[message("7")], repeat=3).items[0]),
        call("send_input", {"target": "AGENT1", "message": "count twice"}),
        call("close_agent", {"target": "AGENT1"}),
        Response(items=[message("well")], repeat=6),
    )
    await assert_same(studio, session)


async def test_an_interrupt_stops_the_agents_again(studio: Studio) -> None:
    script = (spawn("count"), only("count", shell("sleep 1000")), "sent", "and now", "well")
    async with studio.open(*script, wrap_model=Addressing) as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            await h.server.wait_request(3)
            await session.submit(Interrupt())
            await until(session, TurnEnded, after=0)
        await play(session, "and now")
    events = await assert_same(studio, session.id)
    assert [end.status for end in of(ChildEnded, events)] == ["interrupted"]
