"""Compaction loses the thread, loops, kills the session or makes its context larger: not here."""

from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest

from tests.engine.kit import house, of, play, shell, the
from tests.scenarios.kit import (
    Look,
    abandoned,
    assert_valid,
    do,
    ledger,
    says,
    sent,
    size_of,
    summaries,
    sums_up,
    talks,
)
from turnlog.actors.core import texts
from turnlog.protocol.calls import ErrorInfo
from turnlog.protocol.events import (
    Compacted,
    CompactionGivenUp,
    ModelAsked,
    ToolFinished,
    TurnEnded,
)
from turnlog.protocol.ops import Compact
from turnlog.runtime.scripted_model.script import Failure, Response, call
from turnlog.runtime.store.lmdb.log import open_log

LOOK: Final = says(call("look"))
LIMIT: Final = 3_000  # tokens
TOO_LONG: Final = Failure(code="context_length_exceeded", message="too long")


@pytest.mark.parametrize("words", [2_000, 50_000])
async def test_a_summary_that_is_larger_is_not_put_in_place(words: int, tmp_path: Path) -> None:
    script = (LOOK, says("seen"), sums_up("word " * words, deltas=False))
    async with house(tmp_path, *script, more_tools=[Look()]) as h:
        session = await h.start()
        await play(session)
        before = size_of(session.history())
        compacted = the(Compacted, await do(session, Compact()))
        assert compacted.method == "truncation"
        assert compacted.tokens_after < compacted.tokens_before
        assert size_of(session.history()) < before


async def test_a_conversation_that_cannot_become_smaller_stays_as_it_is(tmp_path: Path) -> None:
    async with house(tmp_path, "ho", sums_up("word " * 1000), "still here") as h:
        session = await h.start()
        await play(session, "hi")
        before = session.history()
        events = await do(session, Compact())
        given_up = CompactionGivenUp("manual", "nothing smaller could take its place")
        assert the(CompactionGivenUp, events) == given_up
        assert the(TurnEnded, events).status == "completed"
        assert session.history() == before
        assert the(TurnEnded, await play(session)).last_agent_message == "still here"


async def test_a_compaction_loop_is_stopped_and_said(tmp_path: Path) -> None:
    script = (
        says("tell me how", only_for="stop reading"),
        says(call("look"), repeat=1000),
        sums_up("I have read it all", repeat=1000),
    )
    look = Look()
    async with house(
        tmp_path, *script, more_tools=[look], model_auto_compact_token_limit=LIMIT
    ) as h:
        session = await h.start()
        events = await play(session, "read it")
        why = texts.NO_PROGRESS.format(times=3)
        assert the(TurnEnded, events).error == ErrorInfo("compaction_stalled", why)
        assert len(of(Compacted, events)) == 3
        assert look.looks < 20
        after = await play(session, "stop reading")
        assert the(TurnEnded, after).last_agent_message == "tell me how"


async def test_what_was_read_and_done_is_told_after_a_summary_that_forgets_it(
    tmp_path: Path,
) -> None:
    script = (
        [shell("echo first > notes.txt"), call("look")],
        [shell("cat notes.txt"), call("look")],
        shell("cat notes.txt"),
        "done",
        sums_up("We talked."),
        "I know",
    )
    async with house(tmp_path, *script, more_tools=[Look()]) as h:
        session = await h.start()
        await play(session, "look around")
        await do(session, Compact())
        await play(session, "what did you read?")
        told = talks(h.server)[-1]
        done = ledger(
            "ran echo first > notes.txt (exit 0)",
            "called look {} (done) (2 times)",
            "ran cat notes.txt (exit 0) (2 times)",
        )
        assert done in told
        assert_valid(told)


async def test_no_compaction_follows_another_without_a_request_between_them(tmp_path: Path) -> None:
    script = (says(call("look")), says("seen"), sums_up())
    async with house(
        tmp_path, *script, more_tools=[Look()], loop=True, model_auto_compact_token_limit=LIMIT
    ) as h:
        session = await h.start()
        for _ in range(12):
            assert the(TurnEnded, await play(session)).status == "completed"
        order = [
            recorded.kind
            for recorded in await h.events(session)
            if isinstance(recorded.event, Compacted | ModelAsked)
        ]
        assert order.count("compacted") >= 3
        assert ("compacted", "compacted") not in pairwise(order)


async def test_the_users_own_words_do_not_fill_what_a_compaction_has_freed(tmp_path: Path) -> None:
    script = (says(call("look")), says("seen"), sums_up())
    async with house(
        tmp_path, *script, more_tools=[Look()], loop=True, model_auto_compact_token_limit=LIMIT
    ) as h:
        session = await h.start()
        for number in range(12):
            events = await play(session, f"{number} " + "word " * 400)
            assert the(TurnEnded, events).status == "completed"
        for compacted in of(Compacted, await h.events(session)):
            assert compacted.tokens_after < 0.7 * LIMIT


async def test_a_summary_that_fails_does_not_end_the_session(tmp_path: Path) -> None:
    script = (LOOK, says("seen"), Response(status=500, compaction=True, repeat=9))
    async with house(
        tmp_path, *script, more_tools=[Look(8_000)], model_auto_compact_token_limit=LIMIT
    ) as h:
        session = await h.start()
        events = await play(session)
        assert the(TurnEnded, events).status == "completed"
        assert [event.method for event in of(Compacted, events)] == ["truncation"]
        assert len(summaries(h.server)) == 3
        for parts in sent(h.server):
            assert_valid(parts)


async def test_a_request_for_a_summary_that_is_too_long_itself_is_shortened(
    tmp_path: Path,
) -> None:
    script = (
        *(LOOK, says("seen"), LOOK, says("seen"), LOOK, says("seen")),
        Response(failed=TOO_LONG, compaction=True),
        sums_up("in short"),
        says("on we go"),
    )
    async with house(tmp_path, *script, more_tools=[Look()]) as h:
        session = await h.start()
        for _ in range(3):
            await play(session)
        events = await do(session, Compact())
        assert the(Compacted, events).method == "summary"
        first, second = summaries(h.server)
        assert size_of(second) < 0.7 * size_of(first)
        assert_valid(second)
        assert the(TurnEnded, await play(session)).last_agent_message == "on we go"


async def test_a_conversation_that_the_provider_finds_too_long_is_shortened_and_continues(
    tmp_path: Path,
) -> None:
    script = (LOOK, says("seen"), Response(failed=TOO_LONG), sums_up("in short"), says("done"))
    async with house(tmp_path, *script, more_tools=[Look()]) as h:
        session = await h.start()
        await play(session)
        events = await play(session, "and now")
        compacted = the(Compacted, events)
        assert (compacted.trigger, compacted.method) == ("overflow", "summary")
        assert the(TurnEnded, events).last_agent_message == "done"
        *_, before, after = talks(h.server)
        assert size_of(after) < size_of(before)
        assert "in short" in "".join(after)
        assert "and now" in "".join(after)


async def test_there_is_room_left_for_the_summary_itself(tmp_path: Path) -> None:
    window = 6_000  # tokens, which are less than what two looks show
    script = (LOOK, LOOK, says("seen"), sums_up())
    async with house(
        tmp_path, *script, more_tools=[Look(12_000)], model_context_window=window
    ) as h:
        events = await play(await h.start())
        assert the(TurnEnded, events).status == "completed"
        (asked,) = summaries(h.server)
        assert size_of(asked[:-1]) <= 4 * window * 9 // 10
        assert_valid(asked)


async def test_the_un_compacted_history_can_be_read_and_forked_from(tmp_path: Path) -> None:
    options: dict[str, Any] = {"more_tools": [Look()]}
    async with open_log(tmp_path / "store") as log:
        script = (LOOK, says("seen"), sums_up(), says("of the source"), says("of the fork"))
        async with house(tmp_path, *script, log=log, **options) as h:
            session = await h.start()
            before = await play(session)
            told = session.history()
            await do(session, Compact())
            shorter = session.history()
            await play(session, "continue")
            source = await h.events(session)
            assert before == source[before[0].sequence - 1 :][: len(before)]
            assert the(ToolFinished, source).output in "".join(told)
            assert the(ToolFinished, source).output not in "".join(shorter)

            branch = await session.fork(at=before[-1].sequence)
            assert branch.history() == told
            await play(branch, "continue")
            of_source, of_fork = talks(h.server)[-2:]
            assert of_source[: len(shorter)] == shorter
            assert of_fork[: len(told)] == told
            assert await h.events(session) == source
        async with abandoned(log, tmp_path / "left") as left:
            assert (await left.read(session.id))[: len(source)] == source
