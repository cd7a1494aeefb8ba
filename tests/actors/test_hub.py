"""The hub: every event once and in order, to each subscriber, however slow; notices if it can."""

from collections.abc import Awaitable, Callable, Sequence

import attrs
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from turnlog.actors.ports import Batch, Claim, Stored
from turnlog.actors.queues.hub import Hub, Subscription
from turnlog.protocol.envelope import GENESIS, Recorded, seal
from turnlog.protocol.events import TimerFired
from turnlog.protocol.ids import EffectId, SessionId
from turnlog.protocol.notices import BackgroundEvent, Publication, SubscriberLagged
from turnlog.runtime.store.memory.log import MemoryLog

SESSION = SessionId("0190f5fe-7c00-7000-8000-000000000001")


@attrs.define
class Desk:
    """Stores events and publishes them, as a session does."""

    log: MemoryLog
    claim: Claim
    hub: Hub
    digest: bytes = GENESIS

    @classmethod
    async def open(cls) -> "Desk":
        log = MemoryLog()
        return cls(log, await log.create(SESSION), Hub(log, SESSION))

    async def event(self) -> None:
        sequence = self.hub.published + 1
        event = TimerFired(EffectId(str(sequence)))
        record = seal(event, sequence=sequence, time_us=0, cause=0, turn=0, previous=self.digest)
        self.digest = record.digest
        ticket = self.log.append(SESSION, Batch((record,)), fence=self.claim.fence)
        assert await ticket.settled() == Stored()
        self.hub.publish((await self.log.read(SESSION, after=sequence - 1))[0])

    def notice(self, text: str = "delta") -> None:
        self.hub.publish(BackgroundEvent(text))


def shown(publications: Sequence[Publication]) -> list[int | str]:
    """Return events as their sequences, notices as text."""
    return [
        publication.sequence
        if isinstance(publication, Recorded)
        else f"missed {publication.missed}"
        if isinstance(publication, SubscriberLagged)
        else getattr(publication, "message", "")
        for publication in publications
    ]


async def rest_of(subscription: Subscription) -> list[int | str]:
    with trio.fail_after(60):
        return shown([publication async for publication in subscription])


async def test_a_subscriber_sees_events_and_notices_in_order_until_the_close() -> None:
    desk = await Desk.open()
    subscription = desk.hub.subscribe(after=0)
    desk.notice("a")
    await desk.event()
    desk.notice("b")
    await desk.event()
    desk.hub.close()
    assert await rest_of(subscription) == ["a", 1, "b", 2]


async def test_a_late_subscriber_reads_what_it_missed_from_the_log() -> None:
    desk = await Desk.open()
    for _ in range(5):
        await desk.event()
    from_the_start, from_the_middle = desk.hub.subscribe(after=0), desk.hub.subscribe(after=3)
    from_now = desk.hub.subscribe(after=5)
    await desk.event()
    desk.hub.close()
    assert await rest_of(from_the_start) == [1, 2, 3, 4, 5, 6]
    assert await rest_of(from_the_middle) == [4, 5, 6]
    assert await rest_of(from_now) == [6]


async def test_a_slow_subscriber_loses_notices_alone_and_is_told_how_many() -> None:
    desk = await Desk.open()
    subscription = desk.hub.subscribe(after=0, capacity=3)
    desk.notice("kept")
    for _ in range(4):
        await desk.event()
        desk.notice("lost")
    desk.hub.close()
    assert await rest_of(subscription) == ["kept", 1, "lost", 2, 3, 4, "missed 3"]


async def test_a_subscriber_that_caught_up_gets_notices_again() -> None:
    desk = await Desk.open()
    subscription = desk.hub.subscribe(after=0, capacity=1)
    await desk.event()
    desk.notice("lost")
    got: list[Publication] = []
    for _ in range(2):
        got.append(await anext(subscription))
    desk.notice("kept")
    got.append(await anext(subscription))
    assert shown(got) == [1, "missed 1", "kept"]


async def test_a_waiting_subscriber_wakes_for_news_and_for_the_end(nursery: trio.Nursery) -> None:
    desk = await Desk.open()
    got: list[Publication] = []

    async def watch() -> None:
        async for publication in desk.hub.subscribe(after=0):
            got.append(publication)

    nursery.start_soon(watch)
    await wait_all_tasks_blocked()
    await desk.event()
    await wait_all_tasks_blocked()
    assert shown(got) == [1]
    desk.hub.close()
    with trio.fail_after(60):
        await desk.hub.ended()


async def test_one_that_left_is_given_nothing_and_keeps_nothing() -> None:
    desk = await Desk.open()
    subscription = desk.hub.subscribe(after=0)
    desk.hub.unsubscribe(subscription)
    desk.notice()
    await desk.event()
    desk.hub.close()
    assert await rest_of(subscription) == []


@given(
    st.random_module(),
    st.integers(1, 5),
    st.integers(0, 4),
    st.lists(st.sampled_from(["event", "notice", "read", "rest"]), max_size=40),
)
def test_every_event_is_handed_out_exactly_once_whatever_the_pace(
    seed: object, capacity: int, after: int, deeds: list[str]
) -> None:
    async def main() -> None:
        desk = await Desk.open()
        for _ in range(after):
            await desk.event()
        subscription = desk.hub.subscribe(after=after, capacity=capacity)
        got: list[Publication] = []
        notices = 0
        permits = trio.Semaphore(0)

        async def read() -> None:
            async for publication in subscription:
                got.append(publication)
                await permits.acquire()

        async def notice() -> None:
            nonlocal notices
            notices += 1
            desk.notice()

        async def one_more() -> None:
            permits.release()

        acts: dict[str, Callable[[], Awaitable[None]]] = {
            "event": desk.event,
            "notice": notice,
            "read": one_more,
            "rest": wait_all_tasks_blocked,
        }
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            for deed in deeds:
                await acts[deed]()
            for _ in range(2 * len(deeds) + 2):
                permits.release()
            desk.hub.close()
        events = [publication.sequence for publication in got if isinstance(publication, Recorded)]
        assert events == list(range(after + 1, desk.hub.published + 1))
        missed = sum(p.missed for p in got if isinstance(p, SubscriberLagged))
        assert notices == missed + shown(got).count("delta")

    trio.run(main)
