"""Questions: asked once, answered once, by whoever may; kept over a restart, timed if so set."""

from pathlib import Path
from typing import Any, Final

import trio
from msgspec import structs

from tests.engine.kit import (
    House,
    Says,
    house,
    is_there,
    of,
    outputs,
    play,
    shell,
    the,
    told,
    until,
)
from tests.errors import raises_code
from turnlog.actors.ports import EventLog
from turnlog.protocol.calls import CommandPreview
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.events import (
    ApprovalAsked,
    CallSettled,
    EffectClosed,
    EffectLost,
    ModelCompleted,
    OpRefused,
    ToolDispatched,
    ToolFinished,
    TurnEnded,
)
from turnlog.protocol.ops import ApprovalAnswer, ExecApproval, Submission
from turnlog.protocol.settings import SandboxPolicy
from turnlog.runtime.engine.session import Session
from turnlog.runtime.scripted_model.script import custom
from turnlog.runtime.store.memory.log import MemoryLog, MemoryStore

ASK: Final[dict[str, Any]] = {"approval_policy": "on-request", "sandbox_mode": "read-only"}
ESCALATED: Final = shell(
    "echo ran >> ran; cat ran",
    sandbox_permissions="require_escalated",
    justification="to note that I was here",
)
PATCH: Final = "*** Begin Patch\n*** Add File: note.txt\n+hello\n*** End Patch\n"


async def ask_and_answer(
    h: House, session: Session, answer: ApprovalAnswer
) -> tuple[ApprovalAsked, list[Recorded]]:
    """Run a turn that asks one question; return the question, and the turn's events."""
    events: list[Recorded] = []

    async def run() -> None:
        events.extend(await play(session))

    async with trio.open_nursery() as nursery:
        head = session.head
        nursery.start_soon(run)
        asked = await until(session, ApprovalAsked, after=head)
        await session.answer(asked.question, answer)
    return asked, events


async def test_an_escalation_that_is_approved_runs_outside_of_the_sandbox(tmp_path: Path) -> None:
    async with house(tmp_path, ESCALATED, "done", **ASK) as h:
        session = await h.start()
        asked, events = await ask_and_answer(h, session, "approved")
        assert asked.plan.reason == "to note that I was here"
        assert asked.plan.preview == CommandPreview(
            ("/bin/bash", "-c", "echo ran >> ran; cat ran"), str(tmp_path)
        )
        assert the(ToolDispatched, events).sandbox == SandboxPolicy(mode="danger-full-access")
        assert the(ToolFinished, events).output == "ran\n"


async def test_one_that_is_denied_is_told_so_and_the_turn_continues(tmp_path: Path) -> None:
    async with house(tmp_path, ESCALATED, "done", **ASK) as h:
        _, events = await ask_and_answer(h, await h.start(), "denied")
        assert the(CallSettled, events).outcome == "declined"
        assert outputs(h.server) == ["rejected by user"]
        assert the(TurnEnded, events).status == "completed"
        assert not is_there(tmp_path / "ran")


async def test_an_abort_interrupts_the_turn(tmp_path: Path) -> None:
    async with house(tmp_path, ESCALATED, **ASK) as h:
        _, events = await ask_and_answer(h, await h.start(), "abort")
        assert the(TurnEnded, events).status == "interrupted"
        assert not is_there(tmp_path / "ran")


async def test_what_is_approved_for_the_session_is_not_asked_again(tmp_path: Path) -> None:
    listed = shell("ls *.txt", sandbox_permissions="require_escalated")
    (tmp_path / "a.txt").touch()
    async with house(tmp_path, listed, listed, "done", listed, "done", **ASK) as h:
        session = await h.start()
        await ask_and_answer(h, session, "approved_for_session")
        await play(session)
        records = await h.events(session)
        assert len(of(ApprovalAsked, records)) == 1
        assert [event.output for event in of(ToolFinished, records)] == ["a.txt\n"] * 3


async def test_another_command_is_another_question(tmp_path: Path) -> None:
    other = shell("echo other", sandbox_permissions="require_escalated")
    async with house(tmp_path, ESCALATED, "done", other, "done", **ASK) as h:
        session = await h.start()
        first, _ = await ask_and_answer(h, session, "approved_for_session")
        second, _ = await ask_and_answer(h, session, "denied")
        assert first.question != second.question


async def test_parallel_questions_are_answered_each_by_its_own_id(tmp_path: Path) -> None:
    calls = [
        shell(f"echo {name}", sandbox_permissions="require_escalated") for name in ("a", "b", "c")
    ]
    async with house(tmp_path, calls, "done", **ASK) as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            await until(session, ApprovalAsked, after=0, number=3)
            asked = of(ApprovalAsked, await h.events(session))
            await session.answer(asked[2].question, "approved")
            await session.answer(asked[0].question, "denied")
            await session.answer(asked[1].question, "approved")
        assert [text.splitlines()[-1] for text in outputs(h.server)] == [
            "rejected by user",
            "b",
            "c",
        ]


async def test_an_answer_to_no_question_or_a_second_one_is_refused(tmp_path: Path) -> None:
    async with house(tmp_path, ESCALATED, "done", **ASK) as h:
        session = await h.start()
        with raises_code(ErrorCode.NO_SUCH_QUESTION):
            await session.answer("nobody asked", "approved")
        asked, _ = await ask_and_answer(h, session, "denied")
        with raises_code(ErrorCode.NO_SUCH_QUESTION):
            await session.answer(asked.question, "approved")
        assert len(of(OpRefused, await h.events(session))) == 2


async def test_a_question_that_nobody_answers_in_time_is_declined(tmp_path: Path) -> None:
    async with house(tmp_path, ESCALATED, "done", approval_timeout_ms=50, **ASK) as h:
        session = await h.start()
        events = await play(session)
        assert the(EffectClosed, events).code == "unanswered"
        assert outputs(h.server) == ["rejected: nobody answered the question in time"]
        assert the(TurnEnded, events).status == "completed"


async def test_a_question_that_was_answered_in_time_is_not_timed_any_more(tmp_path: Path) -> None:
    longer = shell("sleep 1.2", sandbox_permissions="require_escalated")  # than the timeout
    async with house(tmp_path, longer, "done", approval_timeout_ms=1000, **ASK) as h:
        session = await h.start()
        await ask_and_answer(h, session, "approved")
        records = await h.events(session)
        assert the(ToolFinished, records).outcome == "done"
        assert of(EffectClosed, records) == []


async def test_where_nobody_may_be_asked_an_escalation_is_refused(tmp_path: Path) -> None:
    never: dict[str, Any] = {**ASK, "approval_policy": "never"}
    async with house(tmp_path, ESCALATED, "done", **never) as h:
        events = await play(await h.start())
        assert of(ApprovalAsked, events) == []
        assert outputs(h.server)[0].startswith("approval policy is never; reject command")


async def test_a_patch_to_a_read_only_folder_may_be_approved(tmp_path: Path) -> None:
    async with house(tmp_path, custom("apply_patch", PATCH), "done", **ASK) as h:
        _, events = await ask_and_answer(h, await h.start(), "approved")
        assert told(the(ToolFinished, events)).endswith("A note.txt\n")
        assert (tmp_path / "note.txt").read_text() == "hello\n"


async def test_a_question_is_answered_from_the_inbox_by_another_process(tmp_path: Path) -> None:
    store = MemoryStore()
    elsewhere = MemoryLog(store, "another process")
    async with house(tmp_path, ESCALATED, "done", log=MemoryLog(store), **ASK) as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            asked = await until(session, ApprovalAsked, after=0)
            await elsewhere.leave(
                session.id, Submission("mine", ExecApproval(asked.question, "approved"), "cli")
            )
        assert the(TurnEnded, await h.events(session)).status == "completed"
        assert await elsewhere.inbox(session.id) == []
        assert (tmp_path / "ran").read_text() == "ran\n"


async def crashed_while_asking(store: MemoryStore, folder: Path, *script: Says) -> Session:
    """Return a session whose engine was killed while its question was open."""
    log = MemoryLog(store, "the first engine")
    async with house(folder, *script, log=log, checked=False, **ASK) as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            await until(session, ApprovalAsked, after=0)
            await until(session, ModelCompleted, after=0)
            log.kill()
            nursery.cancel_scope.cancel()
    return session


async def resumed(log: EventLog, folder: Path, before: Session, answer: ApprovalAnswer) -> House:
    async with house(folder, "done", log=log, **ASK) as h:
        session = await h.engine.resume(before.id)
        asked = await until(session, ApprovalAsked, after=0, number=2)
        await session.answer(asked.question, answer)
        await until(session, TurnEnded, after=0)
        return h


async def test_after_a_restart_the_same_question_is_asked_again(tmp_path: Path) -> None:
    store = MemoryStore()
    before = await crashed_while_asking(store, tmp_path, ESCALATED)
    log = MemoryLog(store, "the second engine")
    h = await resumed(log, tmp_path, before, "approved")
    records = await log.read(before.id)
    first, second = of(ApprovalAsked, records)
    assert second == structs.replace(first, effect=second.effect)
    assert [event.effect for event in of(EffectLost, records)] == [first.effect]
    assert (tmp_path / "ran").read_text() == "ran\n"
    assert outputs(h.server)[0].endswith("ran\n")


async def test_an_answer_that_was_left_while_nobody_was_there_counts(tmp_path: Path) -> None:
    store = MemoryStore()
    before = await crashed_while_asking(store, tmp_path, ESCALATED)
    log = MemoryLog(store, "the second engine")
    asked = the(ApprovalAsked, await log.read(before.id))
    await log.leave(before.id, Submission("mine", ExecApproval(asked.question, "denied"), "cli"))
    async with house(tmp_path, "done", log=log, **ASK) as h:
        session = await h.engine.resume(before.id)
        await until(session, TurnEnded, after=0)
        assert outputs(h.server) == ["rejected by user"]
    assert not is_there(tmp_path / "ran")
