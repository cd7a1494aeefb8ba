"""The disk refuses, loses, stops and fills: the session is folded again and continues."""

from collections import Counter
from collections.abc import Callable
from typing import Literal

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors.ports import in_turn, inline_engine, said, working
from tests.engine.kit import Shadow, actor_of, assert_sound, kinds, of, until
from tests.errors import raises_code
from turnlog.actors.ports import Batch, ToolMonitor
from turnlog.actors.session_actor import MOST_EMPTY_LIVES
from turnlog.protocol.envelope import Recorded, unseal
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import Overloaded, Rejected, StoreError, WriteLost
from turnlog.protocol.events import (
    EffectLost,
    OpReceived,
    SessionOpened,
    ToolFinished,
    ToolStarted,
    TurnEnded,
    TurnOpened,
)
from turnlog.protocol.ids import SessionId
from turnlog.protocol.items import text_message
from turnlog.protocol.ops import (
    Interrupt,
    OverrideTurnContext,
    Submission,
    TextInput,
    UserInput,
    UserTurn,
    prompt,
)
from turnlog.protocol.settings import SettingsUpdate
from turnlog.runtime.engine.session import Session
from turnlog.runtime.store.memory.log import MemoryLog
from turnlog.runtime.store.waiting import PendingTicket

Fault = Literal["refused", "lost", "lost, but written", "paused"]
FAULTS: tuple[Fault, ...] = ("refused", "lost", "lost, but written", "paused")
MOST_APPENDS = 13  # of the conversation below


@attrs.define(eq=False)
class Flaky(MemoryLog):
    """A log that fails at one append, and then works again."""

    fault: Fault = "refused"
    at: int = 0  # number of the append, from 1
    appends: int = 0

    def append(self, session: SessionId, batch: Batch, *, fence: int) -> PendingTicket:
        self.appends += 1
        if self.appends == self.at:
            match self.fault:
                case "refused":
                    self.refuse_next()
                case "lost":
                    self.lose_next(written=False)
                case "lost, but written":
                    self.lose_next(written=True)
                case "paused":
                    self.pause()
                    trio.lowlevel.spawn_system_task(self.free_some_space)
        return super().append(session, batch, fence=fence)

    async def free_some_space(self) -> None:
        await trio.sleep(30)
        self.resume()


class Deaf(MemoryLog):
    """A log that takes a session's beginnings and its ops, and nothing else."""

    def append(self, session: SessionId, batch: Batch, *, fence: int) -> PendingTicket:
        first = batch.records[0]
        kind = unseal(first.data, first.digest, first.blobs.__getitem__).kind
        if kind not in ("session_started", "session_opened", "op_received"):
            self.refuse_next("out of memory")
        return super().append(session, batch, fence=fence)


async def insist(session: Session, text: str) -> int:
    """Send a prompt until it is taken, always as the same op; return how often."""
    for attempt in range(1, 10):
        try:
            await session.submit(prompt(text), op_id="the prompt")
        except WriteLost:
            continue
        return attempt
    raise AssertionError("it was never taken")


async def turn_ended(session: Session) -> None:
    await until(session, TurnEnded, after=0)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("at", range(1, MOST_APPENDS + 1))
async def test_whichever_write_fails_the_turn_is_done_once_and_nothing_runs_twice(
    fault: Fault, at: int, autojump_clock: MockClock
) -> None:
    log, ran = Flaky(fault=fault, at=at), Counter[str]()

    async def work(call_id: str, monitor: ToolMonitor) -> str:
        ran[call_id] += 1
        await trio.sleep(1)
        return call_id

    with trio.fail_after(300):
        async with inline_engine(log, working("a", "b"), work=work) as engine:
            session = await engine.start(cwd="/")
            shadow = Shadow(session)
            async with trio.open_nursery() as nursery:
                await nursery.start(shadow.follow)
                await insist(session, "go")
                await turn_ended(session)
                await session.close()
    records = await log.read(session.id)
    assert log.appends >= at
    assert_sound(records)
    assert [seen for seen in shadow.seen if isinstance(seen, Recorded)] == records
    assert shadow.compared
    assert max(ran.values(), default=0) <= 1
    assert len(of(TurnOpened, records)) == 1
    assert [event.status for event in of(TurnEnded, records)] == ["completed"]
    assert sum("go" in part for part in session.history()) == 1
    # A written step that nobody heard of is found again, so only the first needs no new opening.
    assert len(of(SessionOpened, records)) in ((1, 2) if at <= 2 else (2,))


def test_the_conversation_above_has_as_many_appends_as_are_failed() -> None:
    """Guards the test above."""
    log = Flaky(at=0)

    async def work(call_id: str, monitor: ToolMonitor) -> str:
        return call_id

    async def main() -> None:
        async with inline_engine(log, working("a", "b"), work=work) as engine:
            session = await engine.start(cwd="/")
            await insist(session, "go")
            await turn_ended(session)
            assert log.appends == MOST_APPENDS

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_a_session_whose_writes_are_all_refused_ends_and_does_not_fill_its_log(
    autojump_clock: MockClock,
) -> None:
    log = Deaf()
    with trio.fail_after(300):
        async with inline_engine(log, in_turn([said("hello")])) as engine:
            session = await engine.start(cwd="/")
            await session.submit(prompt("go"))
            with pytest.raises(WriteLost, match=r"^no write is taken: out of memory\. Resume it"):
                async for _ in session.watch():
                    pass
    assert len(of(SessionOpened, await log.read(session.id))) == MOST_EMPTY_LIVES + 1


async def test_nothing_is_published_or_started_before_the_disk_has_it() -> None:
    log, model = MemoryLog(), in_turn([said("hello")])
    async with inline_engine(log, model) as engine:
        session = await engine.start(cwd="/")
        opened = session.head
        assert opened == 2
        log.hold()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.submit, prompt("go"))
            await wait_all_tasks_blocked()
            assert actor_of(session).state.head > opened  # decided already
            assert session.head == opened
            assert model.asked == []
            assert nursery.child_tasks  # no answer yet
            log.let_go()
        await turn_ended(session)
        assert len(model.asked) == 1


async def test_a_session_says_of_itself_only_what_is_on_disk() -> None:
    log, model = MemoryLog(), in_turn([said("hello")])
    async with inline_engine(log, model) as engine:
        session = await engine.start(cwd="/")
        before = session.settings
        change = UserTurn((TextInput("go"),), SettingsUpdate(model="another"))
        log.hold()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.submit, change)
            await wait_all_tasks_blocked()
            state = actor_of(session).state  # it is ahead
            assert state.turn is not None
            assert (session.is_running, session.settings) == (False, before)
            log.let_go()
        assert session.is_running
        assert session.settings.model == "another"
        await turn_ended(session)
        assert not session.is_running
        assert session.usage == actor_of(session).state.usage


async def test_a_relaxed_session_starts_at_once_and_still_publishes_nothing_early() -> None:
    log, model, ran = MemoryLog(), working("a"), trio.Event()

    async def work(call_id: str, monitor: ToolMonitor) -> str:
        ran.set()
        return call_id

    async with inline_engine(log, model, durability="relaxed", work=work) as engine:
        session = await engine.start(cwd="/")
        opened = session.head
        log.hold()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.submit, prompt("go"))
            await ran.wait()
            assert model.asked
            assert session.head == opened
            log.let_go()
        await turn_ended(session)
    assert_sound(await log.read(session.id))


async def test_a_session_is_on_disk_before_it_is_given_out() -> None:
    log = MemoryLog()
    started: list[Session] = []

    async with inline_engine(log, in_turn()) as engine:

        async def start() -> None:
            started.append(await engine.start(cwd="/"))

        async with trio.open_nursery() as nursery:
            log.hold()
            nursery.start_soon(start)
            await wait_all_tasks_blocked()
            assert started == []
            log.let_go()
        assert kinds(await log.read(started[0].id)) == ["session_started", "session_opened"]


async def test_an_op_whose_answer_was_lost_but_that_was_written_is_answered_as_done() -> None:
    log = MemoryLog()
    async with inline_engine(log, in_turn([said("hello")])) as engine:
        session = await engine.start(cwd="/")
        log.lose_next(written=True)
        step = await session.submit(prompt("go"))
        assert kinds(step) == ["op_received", "turn_opened", "context_asked"]
        await turn_ended(session)
    assert len(of(TurnOpened, await log.read(session.id))) == 1


async def test_an_op_that_was_not_written_is_reported_and_may_be_sent_again() -> None:
    log = MemoryLog()
    async with inline_engine(log, in_turn([said("hello")])) as engine:
        session = await engine.start(cwd="/")
        log.refuse_next()
        with pytest.raises(WriteLost, match="another writer has been here"):
            await session.submit(prompt("go"), op_id="the op")
        await session.submit(prompt("go"), op_id="the op")
        await turn_ended(session)


async def test_ops_that_wait_after_a_lost_write_are_done_in_the_next_life() -> None:
    log = MemoryLog()
    async with inline_engine(log, in_turn([said("one")])) as engine:
        session = await engine.start(cwd="/")
        log.refuse_next()
        outcomes: list[str] = []

        async def submit(op_id: str) -> None:
            try:
                await session.submit(OverrideTurnContext(SettingsUpdate(model=op_id)), op_id=op_id)
                outcomes.append(f"{op_id} done")
            except WriteLost:
                outcomes.append(f"{op_id} lost")

        async with trio.open_nursery() as nursery:
            for op_id in ("a", "b", "c"):
                nursery.start_soon(submit, op_id)
        done = {outcome.split()[0] for outcome in outcomes if outcome.endswith("done")}
        stored = [event.op_id for event in of(OpReceived, await log.read(session.id))]
        assert sorted(stored) == sorted(done)
        assert len(outcomes) == 3
        assert any(outcome.endswith("lost") for outcome in outcomes)


@pytest.mark.parametrize("attempt", range(8))
async def test_what_a_lost_life_had_begun_closes_nothing_of_the_next_one(attempt: int) -> None:
    """Facts are counted again after a lost write, and effects are named by that count.

    Whether the last op gets into the old life still is the scheduler's choice, so there are some
    attempts.
    """
    log = MemoryLog(queue_bytes=1000)
    async with inline_engine(log, in_turn([said("hello")])) as engine:
        session = await engine.start(cwd="/")
        log.hold()
        tell = actor_of(session).tell
        lost = [
            tell(Submission("a", OverrideTurnContext(SettingsUpdate(model="m")))),
            tell(Submission("b", prompt("lost"))),
            tell(Submission("c", OverrideTurnContext(SettingsUpdate(model="n")))),
        ]
        last = tell(Submission("d", prompt("taken")))
        await wait_all_tasks_blocked()
        assert len(actor_of(session).mailbox) == 3  # two ops that wait for room; a loaded context
        log.refuse_next()
        log.let_go()
        for waiter in lost:
            with pytest.raises(WriteLost):
                await waiter.answer()
        try:
            await last.answer()
        except WriteLost:
            await session.submit(prompt("taken"), op_id="d")
        await turn_ended(session)
        history = session.history()
    records = await log.read(session.id)
    assert [event.status for event in of(TurnEnded, records)] == ["completed"]
    assert history == [text_message("user", "taken"), said("hello")]
    assert_sound(records)


async def test_an_op_from_the_inbox_that_was_not_written_is_taken_again(
    autojump_clock: MockClock,
) -> None:
    log = MemoryLog()
    async with inline_engine(log, in_turn([said("hello")])) as engine:
        session = await engine.start(cwd="/")
        log.refuse_next()
        await log.leave(session.id, Submission("from outside", prompt("go"), "inbox"))
        await turn_ended(session)
        assert await log.inbox(session.id) == []
    ops = of(OpReceived, await log.read(session.id))
    assert [(op.op_id, op.origin) for op in ops][:1] == [("from outside", "inbox")]


async def test_a_full_disk_makes_the_session_wait_and_loses_nothing(
    autojump_clock: MockClock,
) -> None:
    log = MemoryLog()
    finished = trio.Event()

    async def work(call_id: str, monitor: ToolMonitor) -> str:
        await finished.wait()
        return "the result"

    async with inline_engine(log, working("a"), work=work) as engine:
        session = await engine.start(cwd="/")
        await session.submit(prompt("go"))
        await until(session, ToolStarted, after=0)
        log.pause()
        finished.set()
        await trio.sleep(60)
        assert "tool_finished" not in kinds(await log.read(session.id))
        log.resume()
        await turn_ended(session)
    records = await log.read(session.id)
    assert [event.output for event in of(ToolFinished, records)] == ["the result"]
    assert of(EffectLost, records) == []
    assert len(of(SessionOpened, records)) == 1


async def test_a_paused_log_does_not_keep_the_engine_from_ending(
    autojump_clock: MockClock,
) -> None:
    log = MemoryLog()
    with trio.fail_after(30):
        async with inline_engine(log, in_turn()) as engine:
            await engine.start(cwd="/")
            log.pause()


async def test_too_many_ops_are_refused_and_an_interrupt_still_gets_through() -> None:
    log = MemoryLog(queue_bytes=1)
    async with inline_engine(log, in_turn([said("hello")])) as engine:
        session = await engine.start(cwd="/")
        log.hold()
        tell: Callable[..., object] = actor_of(session).tell
        overloaded = 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.submit, prompt("go"))
            await wait_all_tasks_blocked()
            for number in range(100):
                try:
                    tell(Submission(f"op {number}", UserInput((TextInput("more"),))))
                except Overloaded:
                    overloaded += 1
            assert 0 < overloaded < 100
            nursery.start_soon(session.interrupt)
            await wait_all_tasks_blocked()
            log.let_go()
        await turn_ended(session)
    ops = [event.op_id for event in of(OpReceived, await log.read(session.id))]
    assert len([op for op in ops if op.startswith("op")]) == 100 - overloaded


async def test_an_op_sent_twice_at_once_is_done_once_and_both_are_answered() -> None:
    log = MemoryLog()
    async with inline_engine(log, in_turn([said("hello")])) as engine:
        session = await engine.start(cwd="/")
        twin = Submission("twin", prompt("go"))
        first, second = actor_of(session).tell(twin), actor_of(session).tell(twin)
        with trio.fail_after(60):
            with pytest.raises(Rejected, match="has been done already") as refused:
                await second.answer()
            assert refused.value.code == "duplicate_op"
            assert kinds(await first.answer())[:2] == ["op_received", "turn_opened"]
        await turn_ended(session)
    assert len(of(TurnOpened, await log.read(session.id))) == 1


async def test_a_text_that_cannot_be_stored_is_refused_at_the_door() -> None:
    async with inline_engine(MemoryLog(), in_turn([said("hello")])) as engine:
        session = await engine.start(cwd="/")
        with raises_code(
            ErrorCode.ARGUMENT_INVALID, match=r"op.items\[0\].text: .* is not Unicode text"
        ):
            await session.submit(prompt("\ud800"))
        await session.submit(prompt("go"))
        await turn_ended(session)


async def test_a_session_that_lost_its_log_fails_alone_and_says_why() -> None:
    log, other = MemoryLog(), MemoryLog()
    async with inline_engine(other, in_turn([said("hello")])) as healthy:
        survivor = await healthy.start(cwd="/")
        async with inline_engine(log, in_turn()) as engine:
            session = await engine.start(cwd="/")
            log.kill()
            with trio.fail_after(60):
                with pytest.raises(StoreError, match="this log is closed"):
                    await session.submit(prompt("go"))
                with pytest.raises(StoreError, match="this log is closed"):
                    async for _ in session.watch():
                        pass
        await survivor.submit(prompt("go"))
        await turn_ended(survivor)


async def test_an_interrupt_is_no_prompt_and_needs_none() -> None:
    log = MemoryLog()
    async with inline_engine(log, in_turn()) as engine:
        session = await engine.start(cwd="/")
        step = await session.submit(Interrupt())
        assert kinds(step) == ["op_received"]
