"""Approvals hang, vanish or are aborted by nobody: not here."""

from pathlib import Path
from typing import Any, Final

import pytest
import trio
from msgspec import structs

from tests.engine.kit import House, house, is_there, of, outputs, play, shell, the, until
from tests.errors import raises_code
from tests.scenarios.kit import abandoned
from turnlog.frontends.cli.commands.approvals import questions
from turnlog.protocol.calls import CommandPreview
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.events import (
    ApprovalAsked,
    CallParked,
    CallSettled,
    EffectClosed,
    EffectLost,
    ModelCompleted,
    SessionClosed,
    ToolFinished,
    TurnEnded,
    TurnStopping,
)
from turnlog.protocol.ops import ApprovalAnswer
from turnlog.protocol.settings import UnansweredPolicy
from turnlog.runtime.engine.session import Session
from turnlog.runtime.scripted_model.script import Item
from turnlog.runtime.store.lmdb.log import LmdbLog, open_log

ASK: Final[dict[str, Any]] = {"approval_policy": "on-request", "sandbox_mode": "read-only"}


def escalated(command: str) -> Item:
    return shell(command, sandbox_permissions="require_escalated", justification="I must")


ESCALATED: Final = escalated("echo ran >> ran; cat ran")


async def asked(h: House, session: Session, number: int) -> list[ApprovalAsked]:
    """Wait for so many questions, and return them."""
    await until(session, ApprovalAsked, after=0, number=number)
    return of(ApprovalAsked, await h.events(session))


async def test_many_questions_at_once_get_each_its_own_answer_and_none_is_aborted(
    tmp_path: Path,
) -> None:
    calls = [escalated(f"echo {number}") for number in range(5)]
    async with house(tmp_path, calls, "done", **ASK) as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            questions = await asked(h, session, 5)
            for number in (4, 0, 3, 1, 2):
                answer: ApprovalAnswer = "denied" if number % 2 else "approved"
                await session.answer(questions[number].question, answer)
        last = [text.splitlines()[-1] for text in outputs(h.server)]
        assert last == ["0", "rejected by user", "2", "rejected by user", "4"]
        records = await h.events(session)
        assert of(TurnStopping, records) == []
        assert the(TurnEnded, records).status == "completed"


async def test_a_client_that_goes_away_takes_no_question_with_it(tmp_path: Path) -> None:
    async with house(tmp_path, ESCALATED, "done", **ASK) as h:
        session = await h.start()
        async with trio.open_nursery() as client:
            client.start_soon(play, session)
            (question,) = await asked(h, session, 1)
            client.cancel_scope.cancel()
        another = await h.engine.resume(session.id)
        assert await asked(h, another, 1) == [question]
        assert not is_there(tmp_path / "ran")
        await another.answer(question.question, "approved")
        await until(another, TurnEnded, after=0)
        assert (tmp_path / "ran").read_text() == "ran\n"


async def test_a_question_survives_the_engine_and_is_asked_the_next_one(tmp_path: Path) -> None:
    async with (
        open_log(tmp_path / "store") as log,
        house(tmp_path, ESCALATED, "done", log=log, **ASK) as h,
    ):
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            (first,) = await asked(h, session, 1)
            await until(session, ModelCompleted, after=0)
            async with (
                abandoned(log, tmp_path / "left") as left,
                house(tmp_path, "done", log=left, **ASK) as later,
            ):
                again = await later.engine.resume(session.id)
                _, second = await asked(later, again, 2)
                assert second == structs.replace(first, effect=second.effect)
                await again.answer(first.question, "approved")
                await until(again, TurnEnded, after=0)
                records = await later.events(again)
                assert [event.effect for event in of(EffectLost, records)] == [first.effect]
                assert the(ToolFinished, records).output == "ran\n"
                with raises_code(ErrorCode.NO_SUCH_QUESTION):
                    await again.answer(first.question, "denied")
            await session.interrupt()
    assert (tmp_path / "ran").read_text() == "ran\n"


async def listed(log: LmdbLog) -> list[tuple[str, str, bool]]:
    return [(one.id, one.what, one.parked) for one in await questions(log, pytest.fail)]


async def test_what_waits_for_an_answer_can_be_listed(tmp_path: Path) -> None:
    calls = [escalated("echo one"), escalated("echo two")]
    async with open_log(tmp_path / "store") as log, house(tmp_path, calls, "", log=log, **ASK) as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            one, two = await asked(h, session, 2)
            assert isinstance(one.plan.preview, CommandPreview)
            shown = [(what, parked) for _, what, parked in await listed(log)]
            commands = [f"/bin/bash -c 'echo {word}'" for word in ("one", "two")]
            assert shown == [(command, False) for command in commands]
            await session.answer(one.question, "denied")
            assert [question for question, _, _ in await listed(log)] == [two.question]
            await session.answer(two.question, "denied")
        assert await listed(log) == []


async def test_a_question_that_nobody_answers_ends_and_says_why(tmp_path: Path) -> None:
    async with house(tmp_path, ESCALATED, "done", approval_timeout_ms=50, **ASK) as h:
        session = await h.start()
        with trio.fail_after(60):
            events = await play(session)
        (question,) = of(ApprovalAsked, events)
        closed = the(EffectClosed, events)
        assert (closed.effect, closed.how, closed.code) == (
            question.effect,
            "failed",
            "unanswered",
        )
        assert the(CallSettled, events).outcome == "declined"
        assert outputs(h.server) == ["rejected: nobody answered the question in time"]
        assert the(TurnEnded, events).status == "completed"


async def test_or_it_waits_for_whoever_opens_the_session_next(tmp_path: Path) -> None:
    parks: dict[str, Any] = {"approval_timeout_ms": 50, "unanswered": UnansweredPolicy("park")}
    async with open_log(tmp_path / "store") as log:
        async with house(tmp_path, ESCALATED, log=log, **parks, **ASK) as h:
            session = await h.start()
            await play(session)
            records = await h.events(session)
            assert len(of(CallParked, records)) == 1
            assert the(SessionClosed, records).reason == "parked"
        question = the(ApprovalAsked, records).question
        assert [(one, parked) for one, _, parked in await listed(log)] == [(question, True)]
        async with house(tmp_path, "done", log=log, **ASK) as h:
            again = await h.engine.resume(session.id)
            await asked(h, again, 2)
            await again.answer(question, "approved")
            await until(again, TurnEnded, after=0)
            assert (tmp_path / "ran").read_text() == "ran\n"


async def test_an_interrupt_names_itself_as_what_ended_the_question(tmp_path: Path) -> None:
    async with house(tmp_path, ESCALATED, "next", **ASK) as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            (question,) = await asked(h, session, 1)
            await session.interrupt()
        records = await h.events(session)
        assert the(EffectClosed, records) == EffectClosed(question.effect, "cancelled")
        assert the(CallSettled, records).outcome == "never_started"
        assert the(TurnEnded, records).status == "interrupted"
