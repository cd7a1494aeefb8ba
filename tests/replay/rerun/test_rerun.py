"""Reruns: the same inputs, live, with something changed; and misses of recorded ports."""

from pathlib import Path
from typing import Any

import pytest
import trio

from tests.engine.kit import of, shell, until
from tests.errors import raises_code
from tests.replay.rerun.kit import Studio
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.events import (
    ApprovalAsked,
    ContextLoaded,
    InputQueued,
    ModelAsked,
    ToolStarted,
    TurnEnded,
)
from turnlog.protocol.ops import TextInput, UserInput
from turnlog.protocol.settings import SandboxPolicy
from turnlog.replay.rerun.tolerances import Tolerances
from turnlog.runtime.scripted_model.script import call
from turnlog.runtime.store.lmdb.log import open_log

ESCALATED = shell("echo ran", sandbox_permissions="require_escalated")


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path)


async def test_a_rerun_is_a_branch_with_the_same_inputs_and_another_model(studio: Studio) -> None:
    session = await studio.record("one", "two", prompts=("a", "b"))
    before = await studio.events(session)
    async with studio.live_model("one", "not two") as (server, config):
        report = await studio.rerun(session, config=config, changes={"model": "other"})
    assert [request.body["model"] for request in server.requests] == ["other", "other"]
    assert [(turn.same, turn.branch and turn.branch.prompt) for turn in report.turns] == [
        (True, "a"),
        (False, "b"),
    ]
    [difference] = report.turns[1].differences
    assert (difference.what, difference.original, difference.branch) == ("answer", "two", "not two")
    assert [turn.branch.usage for turn in report.turns if turn.branch] == [
        turn.original.usage for turn in report.turns if turn.original
    ]
    assert await studio.events(session) == before
    assert (await studio.events(report.branch))[: report.cut] == before[: report.cut]


async def test_a_rerun_may_begin_after_an_event_with_another_prompt(studio: Studio) -> None:
    session = await studio.record("one", "two", prompts=("a", "b"))
    end = next(r.sequence for r in await studio.events(session) if isinstance(r.event, TurnEnded))
    async with studio.live_model("three") as (server, config):
        report = await studio.rerun(session, config=config, at=end, text="c")
    assert report.cut == end
    texts = [item["content"][0]["text"] for item in server.requests[0].body["input"]]
    assert texts[-3:] == ["a", "one", "c"]
    assert len(report.turns) == 1


async def test_where_no_input_follows_a_prompt_is_asked_for(studio: Studio) -> None:
    session = await studio.record("one")
    head = len(await studio.events(session))
    async with studio.live_model("two") as (_, config):
        with raises_code(ErrorCode.NOTHING_TO_RERUN, match="Give a prompt"):
            await studio.rerun(session, config=config, at=head)
        with raises_code(ErrorCode.SEQUENCE_OUT_OF_RANGE):
            await studio.rerun(session, config=config, at=head + 1)
        report = await studio.rerun(session, config=config, at=head, text="more")
    [turn] = report.turns
    assert turn.original is None
    assert turn.branch is not None
    assert turn.branch.answer == "two"


async def test_other_instructions_and_another_policy_hold_in_the_branch(studio: Studio) -> None:
    session = await asked_and_answered(studio, "approved")
    changes = {
        "base_instructions": "Be brief.",
        "approval_policy": "never",
        "sandbox": SandboxPolicy("read-only"),
    }
    async with studio.live_model([ESCALATED], "done") as (server, config):
        report = await studio.rerun(session, config=config, changes=changes)
    first = server.requests[0].body["input"][0]
    assert first["content"][0]["text"] == "Be brief."
    [loaded] = of(ContextLoaded, (await studio.events(report.branch))[report.cut :])
    assert loaded.settings.session.approval_policy == "never"
    assert [d.what for d in report.turns[0].differences] == ["call outcome", "call output"]


async def asked_and_answered(studio: Studio, answer: Any) -> str:  # noqa: ANN401
    ask = {"approval_policy": "on-request", "sandbox_mode": "read-only"}
    async with studio.open([ESCALATED], "done", **ask) as h:
        session = await h.start()
        await session.submit(UserInput((TextInput("go"),)))
        asked = await until(session, ApprovalAsked, after=0)
        await session.answer(asked.question, answer)
        await until(session, TurnEnded, after=0)
    return session.id


async def test_an_equal_question_gets_the_answer_that_it_got(studio: Studio) -> None:
    session = await asked_and_answered(studio, "approved")
    other = shell("echo other", sandbox_permissions="require_escalated")
    async with studio.live_model([ESCALATED, ESCALATED, other], "done") as (_, config):
        report = await studio.rerun(session, config=config)
    assert report.turns[0].branch is not None
    assert [ran.outcome for ran in report.turns[0].branch.calls] == ["done", "done", "declined"]
    assert len(report.declined) == 1


async def test_a_question_does_not_wait_for_what_steered_its_turn_then(studio: Studio) -> None:
    ask = {"approval_policy": "on-request", "sandbox_mode": "read-only"}
    async with studio.open([ESCALATED], "done", **ask) as h:
        session = await h.start()
        await session.submit(UserInput((TextInput("go"),)))
        asked = await until(session, ApprovalAsked, after=0)
        await session.submit(UserInput((TextInput("rather that"),)))
        await session.answer(asked.question, "approved")
        await until(session, TurnEnded, after=0)
    async with studio.live_model([ESCALATED], "first", "second") as (_, config):
        report = await studio.rerun(session.id, config=config)
    branches = [turn.branch for turn in report.turns if turn.branch]
    assert [(turn.answer, [ran.outcome for ran in turn.calls]) for turn in branches] == [
        ("first", ["done"]),
        ("second", []),
    ]
    assert report.declined == ()


async def test_what_steered_a_turn_is_a_turn_of_its_own(studio: Studio) -> None:
    async with studio.open([shell("sleep 0.5")], "done") as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(until, session, TurnEnded)
            await session.submit(UserInput((TextInput("go"),)))
            await until(session, ToolStarted, after=0)
            await session.submit(UserInput((TextInput("rather that"),)))
            await until(session, InputQueued, after=0)
    async with studio.live_model("first", "second") as (_, config):
        report = await studio.rerun(session.id, config=config)
    branches = [turn.branch for turn in report.turns if turn.branch]
    assert [(turn.prompt, turn.answer) for turn in branches] == [
        ("go", "first"),
        ("rather that", "second"),
    ]


async def test_a_changed_prompt_is_a_miss_with_the_part_that_differs(studio: Studio) -> None:
    session = await studio.record([shell("echo one")], "done", prompts=("please do this",))
    report = await studio.rerun(session, record="model", text="please do that")
    [miss] = report.misses
    asked = next(r for r in await studio.events(session) if isinstance(r.event, ModelAsked))
    assert isinstance(asked.event, ModelAsked)
    assert (miss.nearest, miss.common) == (asked.sequence, asked.event.parts - 1)
    assert miss.what == f"part {asked.event.parts}"
    assert "please do this" in miss.recorded
    assert "please do that" in miss.asked
    branch = report.turns[0].branch
    assert branch is not None
    assert (branch.status, branch.requests, branch.calls) == ("failed", 1, ())
    assert not report.same


async def test_a_changed_instruction_is_a_miss_at_the_first_part(studio: Studio) -> None:
    session = await studio.record("done")
    async with studio.live_model() as (server, config):
        report = await studio.rerun(
            session, record="model", config=config, changes={"base_instructions": "Be brief."}
        )
    assert [(miss.what, miss.common) for miss in report.misses] == [("part 1", 0)]
    assert server.requests == []


async def test_what_is_tolerated_is_no_miss(studio: Studio) -> None:
    session = await studio.record("done", prompts=("of 2026-01-02",))
    tolerances = Tolerances(("dates",))
    report = await studio.rerun(
        session, record="model", text="of 2027-12-31", tolerances=tolerances
    )
    assert report.misses == ()
    own = Tolerances((), ((r"of \S+", "of a day"),))
    report = await studio.rerun(session, record="model", text="of yore", tolerances=own)
    assert report.misses == ()


async def test_a_live_model_gets_recorded_outputs_and_no_others(studio: Studio) -> None:
    session = await studio.record([shell("echo $$ > pid; cat pid")], "done")
    pid = (studio.folder / "pid").read_text()
    (studio.folder / "pid").unlink()
    async with studio.live_model([shell("echo $$ > pid; cat pid")], "another") as (_, config):
        report = await studio.simulate(session, model="live", config=config)
    assert [d.what for d in report.turns[0].differences] == ["answer"]
    assert report.turns[0].branch is not None
    assert report.turns[0].branch.calls[0].output == pid
    async with studio.live_model([shell("echo other > pid")], "done") as (_, config):
        report = await studio.simulate(session, model="live", config=config)
    [miss] = report.misses
    assert (miss.kind, miss.what) == ("tool", "call")
    assert "echo other" in miss.asked
    assert "echo $$" in miss.recorded
    assert not (studio.folder / "pid").exists()


async def test_equal_calls_get_the_recorded_outputs_in_their_order(studio: Studio) -> None:
    command = "echo x >> file; wc -l < file"
    session = await studio.record([shell(command)], [shell(command)], "done")
    ids = [call("exec_command", {"login": False, "cmd": command}, call_id=f"n{n}") for n in "ab"]
    async with studio.live_model(ids, "done") as (_, config):
        report = await studio.simulate(session, model="live", config=config)
    assert report.turns[0].branch is not None
    assert [ran.output for ran in report.turns[0].branch.calls] == ["1\n", "2\n"]
    async with studio.live_model([*ids, *ids], "done") as (_, config):
        report = await studio.simulate(session, model="live", config=config)
    assert {miss.what for miss in report.misses} == {"number of times that it was called"}


async def test_a_simulation_leaves_nothing_in_the_store_unless_it_is_kept(studio: Studio) -> None:
    session = await studio.record("done")
    await studio.simulate(session)
    kept = await studio.simulate(session, keep=True)
    assert (await studio.events(kept.branch))[-1].kind == "session_closed"
    async with open_log(studio.home / "store", read_only=True) as log:
        assert {summary.session for summary in await log.sessions()} == {session, kept.branch}
