"""The law of simulation: both ports recorded, any session comes again as it was."""

import tempfile
from collections.abc import Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, Final, Literal

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.kit import House, Says, shell, until
from tests.replay.rerun.kit import PATIENCE, Studio
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.errors import Rejected
from turnlog.protocol.events import ApprovalAsked, TurnEnded
from turnlog.protocol.ops import (
    ApprovalAnswer,
    Interrupt,
    OverrideTurnContext,
    TextInput,
    UserInput,
)
from turnlog.protocol.settings import SettingsUpdate
from turnlog.runtime.engine.session import Session
from turnlog.runtime.scripted_model.script import Item, Response, call, custom, message, reasoning

Action = Literal["steer", "interrupt", "settings"]

CALLS: Final[list[Item]] = [
    shell("echo one"),
    shell("sleep 0.05; echo two; exit 3"),
    shell("echo $RANDOM"),
    shell("echo out", sandbox_permissions="require_escalated"),
    shell("sleep 0.03; echo other", sandbox_permissions="require_escalated"),
    call("unheard_of", {"a": 1}),
    call("exec_command", "{no json"),
    call("update_plan", {"plan": [{"step": "look", "status": "pending"}]}),
    custom("apply_patch", "*** Begin Patch\n*** Add File: note\n+hello\n*** End Patch\n"),
]
FAULTS: Final[list[Response]] = [
    Response(status=500),
    Response(items=[message("cut in the middle of a message")], cut_after=5),
    Response(items=[shell("echo acted on"), message("cut after it")], cut_after=9),
    Response(items=[message("more")], incomplete="max_output_tokens"),
    Response(status=400, body="no"),
]
responses = st.one_of(
    st.lists(st.sampled_from(CALLS), min_size=1, max_size=3),
    st.lists(st.sampled_from(CALLS), min_size=1, max_size=2).map(
        lambda calls: [reasoning("well"), *calls]
    ),
    st.sampled_from(FAULTS),
    st.just("a message"),
)
actions = st.lists(
    st.tuples(st.integers(1, 40), st.sampled_from(["steer", "steer", "interrupt", "settings"])),
    max_size=3,
)
answers = st.lists(
    st.sampled_from(["approved", "denied", "approved_for_session", "abort"]),
    min_size=1,
    max_size=4,
)


async def act(session: Session, what: Action) -> None:
    with suppress(Rejected):
        match what:
            case "steer":
                await session.submit(UserInput((TextInput("rather that"),)))
            case "interrupt":
                await session.submit(Interrupt())
            case "settings":
                update = SettingsUpdate(reasoning_effort="high")
                await session.submit(OverrideTurnContext(update))


async def run(
    h: House, prompts: Sequence[str], plan: list[tuple[int, Action]], given_answers: list[Any]
) -> Session:
    """Run a session whose user acts after so many events, and answers every question."""
    session = await h.start()

    async def watch() -> None:
        seen = asked = 0
        async with aclosing(session.watch(after=0)) as publications:
            async for publication in publications:
                if not isinstance(publication, Recorded):
                    continue
                seen += 1
                if isinstance(publication.event, ApprovalAsked):
                    answer: ApprovalAnswer = given_answers[asked % len(given_answers)]
                    asked += 1
                    with suppress(Rejected):
                        await session.answer(publication.event.question, answer)
                for at, what in plan:
                    if at == seen:
                        await act(session, what)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        for prompt in prompts:
            async for _ in session.run(prompt):
                pass
        while session.is_running:  # the turn of what was queued
            await until(session, TurnEnded, after=session.head)
        nursery.cancel_scope.cancel()
    return session


@settings(max_examples=20)
@given(
    script=st.lists(responses, min_size=1, max_size=4),
    prompts=st.lists(st.sampled_from(["go", "continue"]), min_size=1, max_size=2),
    plan=actions,
    given_answers=answers,
)
def test_any_session_comes_again_as_it_was(
    script: list[Says], prompts: list[str], plan: list[tuple[int, Action]], given_answers: list[Any]
) -> None:
    async def check() -> None:
        with tempfile.TemporaryDirectory() as root, trio.fail_after(PATIENCE):
            studio = Studio(Path(root))
            script_to_the_end = [*script, "done", "done", "done", "done"]
            async with studio.open(*script_to_the_end, approval_policy="on-request") as h:
                session = await run(h, prompts, plan, given_answers)
            report = await studio.simulate(session.id, keep=True)
            assert report.misses == ()
            assert await studio.parts(report.branch) == await studio.parts(session.id)
            assert [turn.differences for turn in report.turns] == [()] * len(report.turns)
            assert report.same_conversation

    trio.run(check)
