"""Compaction that hangs, races, breaks pairs or passes for the user's words: it does not here."""

from pathlib import Path
from typing import Final

import attrs
import pytest
import trio
from msgspec import json, structs

from tests.engine.kit import House, house, of, play, shell, the, until
from tests.scenarios.kit import (
    Look,
    assert_valid,
    do,
    ledger,
    says,
    sent,
    summaries,
    sums_up,
    talks,
)
from turnlog.actors.core import texts
from turnlog.actors.ports import ContextLoader, ContextRequest
from turnlog.protocol.events import (
    Compacted,
    CompactionAsked,
    ContextLoaded,
    ModelFailed,
    RecordedItem,
    ToolDispatched,
    ToolFinished,
    ToolStarted,
    TurnEnded,
)
from turnlog.protocol.items import text_message
from turnlog.protocol.ops import Compact, TextInput, UserInput
from turnlog.runtime.engine.session import Session
from turnlog.runtime.scripted_model.script import call

LOOK: Final = says(call("look"))


@attrs.frozen
class Impatient:
    """A context loader whose turns wait for a model for a twentieth of a second only."""

    loader: ContextLoader

    async def load(self, request: ContextRequest) -> ContextLoaded:
        loaded = await self.loader.load(request)
        retry = structs.replace(loaded.settings.retry, stream_idle_timeout_ms=500)
        settings = structs.replace(loaded.settings, retry=retry)
        return structs.replace(loaded, settings=settings)


async def grown(h: House) -> Session:
    session = await h.start()
    await play(session, "look around")
    return session


async def test_a_summary_that_takes_too_long_gives_way_to_a_plain_cut(tmp_path: Path) -> None:
    script = (LOOK, says("seen"), sums_up(stall_after=2, repeat=9), says("on we go"))
    async with house(tmp_path, *script, more_tools=[Look()], wrap_context=Impatient) as h:
        session = await grown(h)
        events = await do(session, Compact())
        failures = [event.failure.code for event in of(ModelFailed, events)]
        assert failures == ["idle_timeout"] * 3
        assert the(Compacted, events).method == "truncation"
        assert the(TurnEnded, events).status == "completed"
        assert the(TurnEnded, await play(session)).last_agent_message == "on we go"
        assert len(summaries(h.server)) == 3


async def test_a_summariser_that_calls_tools_runs_none_and_ends_nothing(tmp_path: Path) -> None:
    look = Look()
    script = (LOOK, says("seen"), sums_up(call("look"), repeat=9), says("on we go"))
    async with house(tmp_path, *script, more_tools=[look]) as h:
        session = await grown(h)
        events = await do(session, Compact())
        assert of(ToolDispatched, events) == []
        assert look.looks == 1
        assert the(Compacted, events).method == "truncation"
        assert the(TurnEnded, await play(session)).last_agent_message == "on we go"
        for parts in sent(h.server):
            assert_valid(parts)


async def test_a_summariser_that_called_a_tool_is_asked_once_more(tmp_path: Path) -> None:
    script = (LOOK, says("seen"), sums_up(call("look")), sums_up("in short"))
    async with house(tmp_path, *script, more_tools=[Look()]) as h:
        session = await grown(h)
        assert the(Compacted, await do(session, Compact())).method == "summary"
        first, second = summaries(h.server)
        assert first == second


async def test_nothing_of_a_summary_that_was_interrupted_turns_up_later(tmp_path: Path) -> None:
    half = sums_up("half a summary, of which the rest never came", stall_after=6)
    async with house(
        tmp_path, LOOK, says("seen"), half, says("on we go"), more_tools=[Look()]
    ) as h:
        session = await grown(h)
        before = session.history()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(do, session, Compact())
            await until(session, CompactionAsked, after=0)
            await h.server.wait_request(3)
            await session.interrupt()
        assert session.history() == before
        assert the(TurnEnded, await play(session, "and now")).status == "completed"
        assert talks(h.server)[-1][: len(before)] == before
        assert "half a summary" not in "".join(session.history())


async def test_what_was_said_during_a_compaction_is_not_lost_in_it(tmp_path: Path) -> None:
    slow = sums_up("in short", delay_ms=30)
    async with house(tmp_path, LOOK, says("seen"), slow, says("heard"), more_tools=[Look()]) as h:
        session = await grown(h)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(do, session, Compact())
            await until(session, CompactionAsked, after=0)
            await session.submit(UserInput((TextInput("by the way"),)))
            await until(session, TurnEnded, after=0, number=3)
        assert talks(h.server)[-1][-1] == text_message("user", "by the way")
        assert the(Compacted, await h.events(session)).method == "summary"


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_call_and_its_output_stay_together(when: str, tmp_path: Path) -> None:
    waits = shell("until [ -e go ]; do sleep 0.02; done; echo gone")
    script = (LOOK, says("seen"), says(waits), sums_up("in short"), says("done"))
    async with house(tmp_path, *script, more_tools=[Look()]) as h:
        session = await grown(h)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session, "wait for it")
            await until(session, ToolStarted, after=0, number=2)
            await session.submit(Compact())
            if when == "before":  # the summary is there before the output
                await until(session, Compacted, after=0)
            (tmp_path / "go").touch()
            await until(session, TurnEnded, after=0, number=2)
        events = await h.events(session)
        assert of(TurnEnded, events)[-1].last_agent_message == "done"
        for parts in sent(h.server):
            assert_valid(parts)
        assert "gone" in talks(h.server)[-1][-1]
        assert "wait for it" in "".join(talks(h.server)[-1])


async def test_a_summary_does_not_pass_for_the_users_words(tmp_path: Path) -> None:
    async with house(tmp_path, LOOK, says("seen"), sums_up("in short"), more_tools=[Look()]) as h:
        session = await grown(h)
        compacted = the(Compacted, await do(session, Compact()))
        new = [part for part in compacted.parts if isinstance(part, RecordedItem)]
        summary = text_message("user", texts.SUMMARY_BEGINS + "in short")
        done = ledger("called look {} (done)")
        assert new == [RecordedItem("ledger", done), RecordedItem("summary", summary)]
        assert session.history()[-3:] == [text_message("user", "look around"), done, summary]


async def test_a_second_compaction_keeps_the_users_words_and_not_the_first_summary(
    tmp_path: Path,
) -> None:
    script = (
        *(LOOK, says("seen"), sums_up("the first")),
        *(LOOK, says("seen"), sums_up("the second")),
    )
    async with house(tmp_path, *script, more_tools=[Look()]) as h:
        session = await grown(h)
        await do(session, Compact())
        await play(session, "look again")
        await do(session, Compact())
        assert session.history()[-4:] == [
            text_message("user", "look around"),
            text_message("user", "look again"),
            ledger("called look {} (done) (2 times)"),
            text_message("user", texts.SUMMARY_BEGINS + "the second"),
        ]
        assert "the first" in "".join(summaries(h.server)[-1])


async def test_tool_results_that_were_dropped_can_still_be_read(tmp_path: Path) -> None:
    async with house(tmp_path, LOOK, says("seen"), sums_up("in short"), more_tools=[Look()]) as h:
        session = await grown(h)
        shown = json.decode(session.history()[-2])["output"]
        await do(session, Compact())
        assert shown not in "".join(session.history())
        assert the(ToolFinished, await h.events(session)).output == shown
