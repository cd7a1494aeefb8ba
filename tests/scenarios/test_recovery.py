"""A death, a late result or a smaller window leaves a session that cannot continue: not here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
import trio
from msgspec import json, structs

from tests.engine.agents import child_of, ends, led, only, spawn
from tests.engine.kit import house, of, outputs, play, shell, the, until
from tests.scenarios.kit import (
    Look,
    abandoned,
    assert_valid,
    says,
    sent,
    size_of,
    summaries,
    sums_up,
    talks,
)
from turnlog.actors.ports import ContextLoader, ContextRequest
from turnlog.protocol.events import (
    ApprovalAsked,
    Compacted,
    ContextLoaded,
    ToolFinished,
    TurnEnded,
)
from turnlog.protocol.ops import ApprovalAnswer, Compact, OverrideTurnContext
from turnlog.protocol.settings import CompactionLimits, SettingsUpdate
from turnlog.runtime.scripted_model.script import Failure, Response, call
from turnlog.runtime.store.lmdb.log import open_log

ASK: Final[dict[str, Any]] = {"approval_policy": "on-request", "sandbox_mode": "read-only"}
ESCALATED: Final = shell("echo ran >> ran; cat ran", sandbox_permissions="require_escalated")
WAIT: Final = call("wait_agent", {"targets": ["AGENT1"], "timeout_ms": 60_000})
LOOK: Final = says(call("look"))
TEXT: Final = "this is too long"


@attrs.frozen
class Windows:
    """A context loader that knows how much each model takes."""

    loader: ContextLoader
    windows: Mapping[str, int]

    async def load(self, request: ContextRequest) -> ContextLoaded:
        loaded = await self.loader.load(request)
        window = self.windows[loaded.settings.session.model]
        limits = CompactionLimits(window * 9 // 10, window // 10)
        settings = structs.replace(loaded.settings, context_window=window, compaction=limits)
        return structs.replace(loaded, settings=settings)


async def test_an_agents_open_question_is_asked_again_once_and_its_parent_continues(
    tmp_path: Path,
) -> None:
    script = (spawn("count"), only("count", ESCALATED), WAIT)
    rest = (only("count", "there are 7"), "it is 7", "it is 7", "it is 7")
    async with (
        open_log(tmp_path / "store") as log,
        led(tmp_path, *script, *rest, log=log, **ASK) as h,
    ):
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            first = await until(await child_of(h, session), ApprovalAsked, after=0)
            async with (
                abandoned(log, tmp_path / "left") as left,
                led(tmp_path, *rest, log=left, **ASK) as later,
            ):
                again = await later.engine.resume(session.id)
                child = await child_of(later, again, 2)
                second = await until(child, ApprovalAsked, after=0, number=2)
                assert second == structs.replace(first, effect=second.effect)
                await child.answer(first.question, "approved")
                await until(again, TurnEnded, after=0)
                assert ends(await later.events(again)) == [("completed", "there are 7")]
                asked = of(ApprovalAsked, await later.events(child.id))
                assert [one.question for one in asked] == [first.question] * 2
            await session.interrupt()
    assert (tmp_path / "ran").read_text() == "ran\n"


async def test_a_question_that_was_answered_is_not_asked_in_another_life(tmp_path: Path) -> None:
    async with open_log(tmp_path / "store") as log:
        async with house(tmp_path, ESCALATED, "done", log=log, **ASK) as h:
            session = await h.start()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(play, session)
                asked = await until(session, ApprovalAsked, after=0)
                await session.answer(asked.question, "approved")
        for _ in range(3):
            async with house(tmp_path, "next", log=log, **ASK) as h:
                again = await h.engine.resume(session.id)
                assert the(TurnEnded, await play(again)).status == "completed"
        assert len(of(ApprovalAsked, await log.read(session.id))) == 1


async def test_outputs_stand_in_the_order_of_the_calls_whichever_finished_first(
    tmp_path: Path,
) -> None:
    calls = [shell(f"until [ -e {n} ]; do sleep 0.02; done; echo {n}") for n in range(3)]
    async with open_log(tmp_path / "store") as log:
        async with house(tmp_path, calls, "done", log=log) as h:
            session = await h.start()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(play, session)
                for number, name in enumerate("201", 1):
                    (tmp_path / name).touch()
                    await until(session, ToolFinished, after=0, number=number)
            finished = of(ToolFinished, await h.events(session))
            assert [event.output for event in finished] == ["2\n", "0\n", "1\n"]
            assert [text.splitlines()[-1] for text in outputs(h.server)] == ["0", "1", "2"]
            history = session.history()
        async with house(tmp_path, "next", log=log) as h:
            again = await h.engine.resume(session.id)
            assert again.history() == history


@pytest.mark.parametrize("answer", ["approved", "denied"])
async def test_a_compaction_while_a_question_is_open_leaves_it_open(
    answer: ApprovalAnswer, tmp_path: Path
) -> None:
    script = (LOOK, says("seen"), says(ESCALATED), sums_up("in short"), says("done"))
    async with house(tmp_path, *script, more_tools=[Look()], **ASK) as h:
        session = await h.start()
        await play(session, "look around")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session, "and now this")
            asked = await until(session, ApprovalAsked, after=0)
            await session.submit(Compact())
            await until(session, Compacted, after=0)
            await session.answer(asked.question, answer)
            await until(session, TurnEnded, after=0, number=2)
        assert of(TurnEnded, await h.events(session))[-1].last_agent_message == "done"
        for parts in sent(h.server):
            assert_valid(parts)
        (output,) = outputs(h.server)
        assert output.endswith("ran\n" if answer == "approved" else "rejected by user")
        assert "and now this" in "".join(talks(h.server)[-1])


async def test_a_model_with_a_smaller_window_is_sent_one_summary_and_no_more(
    tmp_path: Path,
) -> None:
    windows = {"large": 20_000, "small": 4_000}
    script = (LOOK, says("seen"), sums_up("in short"))
    async with house(
        tmp_path,
        *script,
        loop=True,
        more_tools=[Look(8_000)],
        wrap_context=lambda loader: Windows(loader, windows),
    ) as h:
        session = await h.start(model="large")
        for _ in range(3):
            await play(session)
        assert summaries(h.server) == []
        await session.submit(OverrideTurnContext(SettingsUpdate(model="small")))
        events = await play(session)
        assert the(TurnEnded, events).status == "completed"
        assert of(Compacted, events)[0].trigger == "smaller_window"
        assert len(of(Compacted, events)) <= 2  # the second for what was seen in the turn
        models = [request.body["model"] for request in h.server.requests]
        asked = [parts in summaries(h.server) for parts in sent(h.server)]
        assert models[asked.index(True)] == "large"
        after = sent(h.server)[asked.index(True) + 1 :]
        assert max(map(size_of, after)) <= 4 * windows["small"]
        for _ in range(3):
            assert the(TurnEnded, await play(session)).status == "completed"


@pytest.mark.parametrize(
    "refusal",
    [
        Response(failed=Failure(code="context_length_exceeded", message=TEXT)),
        Response(
            status=400,
            body={"error": {"code": "context_length_exceeded", "message": TEXT}},
        ),
        Response(
            status=400,
            body={"error": {"type": "context_length_exceeded", "message": TEXT}},
        ),
    ],
    ids=["in the stream", "by code", "by type"],
)
async def test_a_providers_own_word_for_too_long_leads_to_a_compaction(
    refusal: Response, tmp_path: Path
) -> None:
    script = (LOOK, says("seen"), refusal, sums_up("in short"), says("done"))
    async with house(tmp_path, *script, more_tools=[Look()]) as h:
        session = await h.start()
        await play(session)
        events = await play(session, "and now")
        assert the(Compacted, events).trigger == "overflow"
        assert the(TurnEnded, events).last_agent_message == "done"
        assert json.decode(talks(h.server)[-1][-3])["content"][0]["text"] == "and now"


async def test_a_provider_that_finds_everything_too_long_ends_the_turn_and_not_the_session(
    tmp_path: Path,
) -> None:
    refusal = Failure(code="context_length_exceeded", message=TEXT)
    script = (
        *(LOOK, says("seen"), Response(failed=refusal), sums_up("in short")),
        *(Response(failed=refusal), says("again")),
    )
    async with house(tmp_path, *script, more_tools=[Look()]) as h:
        session = await h.start()
        await play(session)
        ended = the(TurnEnded, await play(session, "and now"))
        assert ended.status == "failed"
        assert ended.error is not None
        assert ended.error.code == "context_window_exceeded"
        assert the(TurnEnded, await play(session)).last_agent_message == "again"
