"""Simulations: recorded ports give the same conversation; what is live may differ, and is shown."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import attrs
import pytest
import trio

from tests.engine.kit import of, shell, until
from tests.replay.rerun.kit import Studio
from turnlog.actors.ports import ItemDone, ModelClient, ModelRequest, ModelSignal
from turnlog.protocol.events import (
    ApprovalAsked,
    InputQueued,
    ModelItemReceived,
    ToolStarted,
    TurnEnded,
    TurnOpened,
)
from turnlog.protocol.items import FunctionCall, Message, encode_item
from turnlog.protocol.ops import Interrupt, LocalImageInput, TextInput, UserInput
from turnlog.replay.rerun.comparison import TurnDifference
from turnlog.runtime.scripted_model.script import Response, custom, message, reasoning

PATCH = "*** Begin Patch\n*** Add File: note.txt\n+hello\n*** End Patch\n"


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path)


async def assert_same(studio: Studio, session: str) -> None:
    report = await studio.simulate(session, keep=True)
    assert report.misses == ()
    assert [turn.differences for turn in report.turns] == [()] * len(report.turns)
    assert await studio.parts(report.branch) == await studio.parts(session)
    assert report.same_conversation


async def test_a_call_and_its_output_come_again_without_a_model_or_a_process(
    studio: Studio,
) -> None:
    session = await studio.record(
        [reasoning("think"), shell("echo $RANDOM >> ran; cat ran")],
        "done",
        "again",
        prompts=("go", "and on"),
    )
    ran = (studio.folder / "ran").read_text()
    await assert_same(studio, session)
    assert (studio.folder / "ran").read_text() == ran


async def test_parallel_calls_come_again_in_the_recorded_order(studio: Studio) -> None:
    calls = [shell(f"sleep 0.{3 - n}; echo {n}") for n in range(3)]
    session = await studio.record([*calls, custom("apply_patch", PATCH)], "done")
    await assert_same(studio, session)


async def test_retries_and_cut_streams_come_again(studio: Studio) -> None:
    session = await studio.record(
        Response(status=500),
        Response(items=[message("a longer message that is cut off")], cut_after=5),
        Response(items=[shell("echo one"), message("cut, too")], cut_after=8),
        "done",
    )
    await assert_same(studio, session)


async def test_a_turn_that_failed_fails_again(studio: Studio) -> None:
    session = await studio.record(Response(status=400, body="no"), "fine", prompts=("a", "b"))
    await assert_same(studio, session)


async def test_steering_comes_again_where_it_came(studio: Studio) -> None:
    async with studio.open([shell("echo x > here; sleep 0.5")], "done") as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(until, session, TurnEnded)
            await session.submit(UserInput((TextInput("go"),)))
            await until(session, ToolStarted, after=0)
            await session.submit(UserInput((TextInput("rather that"),)))
            await until(session, InputQueued, after=0)
    await assert_same(studio, session.id)


async def test_an_interrupt_comes_again_where_it_came(studio: Studio) -> None:
    async with studio.open([shell("echo x; sleep 60")], "later") as h:
        session = await h.start()
        await session.submit(UserInput((TextInput("go"),)))
        await until(session, ToolStarted, after=0)
        await session.submit(Interrupt())
        await until(session, TurnEnded, after=0)
        async for _ in session.run("again"):
            pass
    await assert_same(studio, session.id)


@attrs.define(eq=False)
class Stubborn:
    """A model whose first answer continues after it was stopped."""

    model: ModelClient
    stopped: trio.Event = attrs.field(factory=trio.Event)
    asked: int = 0

    async def call(
        self, request: ModelRequest, emit: Callable[[ModelSignal], Awaitable[None]]
    ) -> None:
        self.asked += 1
        if self.asked > 1:
            await self.model.call(request, emit)
            return
        with trio.CancelScope(shield=True):
            await emit(ItemDone(encode_item(Message("assistant", []))))
            await self.stopped.wait()
            await emit(ItemDone(encode_item(FunctionCall("late", "exec_command", "{}"))))


async def test_what_came_after_an_interrupt_comes_again_after_it(studio: Studio) -> None:
    stubborn: list[Stubborn] = []

    def wrap(model: ModelClient) -> ModelClient:
        stubborn.append(Stubborn(model))
        return stubborn[0]

    async with studio.open("later", wrap_model=wrap) as h:
        session = await h.start()
        await session.submit(UserInput((TextInput("go"),)))
        await until(session, ModelItemReceived, after=0)
        await session.submit(Interrupt())
        stubborn[0].stopped.set()
        await until(session, TurnEnded, after=0)
        async for _ in session.run("again"):
            pass
    assert len(of(ModelItemReceived, await studio.events(session.id))) == 3
    await assert_same(studio, session.id)


@pytest.mark.parametrize("answer", ["approved", "denied", "abort"])
async def test_answers_come_again(studio: Studio, answer: str) -> None:
    call = shell("echo ran", sandbox_permissions="require_escalated")
    ask = {"approval_policy": "on-request", "sandbox_mode": "read-only"}
    async with studio.open([call, call], "done", **ask) as h:
        session = await h.start()
        await session.submit(UserInput((TextInput("go"),)))
        for number in (1, 2) if answer != "abort" else (1,):
            asked = await until(session, ApprovalAsked, after=0, number=number)
            await session.answer(asked.question, answer)  # type: ignore[arg-type]
        await until(session, TurnEnded, after=0)
    await assert_same(studio, session.id)


async def test_a_changed_file_is_shown_as_the_output_that_differs(studio: Studio) -> None:
    studio.folder.mkdir()
    (studio.folder / "data").write_text("the old text\n")
    session = await studio.record([shell("cat data")], "done")
    (studio.folder / "data").write_text("the new text\n")
    report = await studio.simulate(session, tools="live")
    [turn] = report.turns
    first = turn.differences[0]
    assert first == TurnDifference(
        "call output", "the old text\n", "the new text\n", 0, first.call_id
    )
    [miss] = report.misses
    assert (miss.kind, miss.common, miss.what) == ("model", 5, "part 6")
    assert "old text" in miss.recorded
    assert "new text" in miss.asked


async def test_live_tools_that_do_the_same_are_no_difference(studio: Studio) -> None:
    session = await studio.record([shell("echo same")], "done")
    report = await studio.simulate(session, tools="live")
    assert report.same


async def test_a_simulation_may_begin_with_the_turn_of_an_event(studio: Studio) -> None:
    session = await studio.record("one", [shell("echo two")], "two", prompts=("a", "b"))
    records = await studio.events(session)
    ends = [r.sequence for r in records if isinstance(r.event, TurnEnded)]
    for at in range(ends[0] + 2, ends[1] + 1):
        report = await studio.simulate(session, at=at)
        assert (report.cut, report.same, report.same_conversation) == (ends[0], True, True)
        assert [turn.original and turn.original.turn for turn in report.turns] == [2]


async def test_what_waited_for_its_turn_begins_with_the_turn_that_it_waited_for(
    studio: Studio,
) -> None:
    async with studio.open([shell("echo x; sleep 60")], "second") as h:
        session = await h.start()
        await session.submit(UserInput((TextInput("go"),)))
        await until(session, ToolStarted, after=0)
        image = studio.folder / "dot.png"  # to be read, which a turn does at its beginning
        image.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(8))
        await session.submit(UserInput((LocalImageInput(str(image)),)))
        await session.submit(Interrupt())
        await until(session, TurnEnded, after=0, number=2)
    records = await studio.events(session.id)
    image.unlink()
    second = next(r.sequence for r in reversed(records) if isinstance(r.event, TurnOpened))
    report = await studio.simulate(session.id, at=second)
    assert (report.same, report.same_conversation, len(report.turns)) == (True, True, 2)
