"""The outbox: nothing leaves before its step is stored, and everything leaves in order."""

from collections.abc import Callable

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

from turnlog.actors.ports import Fate, Refused, Stored, Unknown
from turnlog.actors.queues.outbox import NOTICE_CAPACITY, Outbox, Release
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.events import TimerFired
from turnlog.protocol.ids import EffectId
from turnlog.protocol.notices import BackgroundEvent, Publication, SubscriberLagged
from turnlog.runtime.store.waiting import PendingTicket


def recorded(sequence: int) -> Recorded:
    return Recorded(sequence, 0, "fact", 0, 0, b"", TimerFired(EffectId(str(sequence))))


@attrs.define
class Bench:
    """An outbox, with all that it let out."""

    out: list[Publication | str] = attrs.field(factory=list["Publication | str"])
    outbox: Outbox = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.outbox = Outbox(self.out.append)

    def release(self, *sequences: int, fate: Fate | None = None, then: str = "") -> PendingTicket:
        ticket = PendingTicket(fate)
        actions: list[Callable[[], None]] = [lambda: self.out.append(then)] if then else []
        self.outbox.release(Release(ticket, [recorded(n) for n in sequences], actions))
        return ticket


async def test_events_leave_when_stored_and_before_what_the_step_leads_to(
    nursery: trio.Nursery,
) -> None:
    bench = Bench()
    nursery.start_soon(bench.outbox.run)
    ticket = bench.release(1, 2, then="effect")
    await wait_all_tasks_blocked()
    assert bench.out == []
    ticket.settle(Stored())
    await wait_all_tasks_blocked()
    assert bench.out == [recorded(1), recorded(2), "effect"]
    nursery.cancel_scope.cancel()


async def test_steps_leave_in_their_order_whichever_is_stored_first(nursery: trio.Nursery) -> None:
    bench = Bench()
    nursery.start_soon(bench.outbox.run)
    first, second = bench.release(1, then="one"), bench.release(2, then="two")
    second.settle(Stored())
    await wait_all_tasks_blocked()
    assert bench.out == []
    first.settle(Stored())
    await bench.outbox.drained()
    assert bench.out == [recorded(1), "one", recorded(2), "two"]
    nursery.cancel_scope.cancel()


async def test_a_notice_leaves_at_once_and_never_before_an_earlier_event(
    nursery: trio.Nursery,
) -> None:
    bench = Bench()
    nursery.start_soon(bench.outbox.run)
    bench.outbox.notice(BackgroundEvent("free"))
    assert bench.out == [BackgroundEvent("free")]
    ticket = bench.release(1)
    bench.outbox.notice(BackgroundEvent("after 1"))
    await wait_all_tasks_blocked()
    bench.release(2, fate=Stored())
    bench.outbox.notice(BackgroundEvent("after 2"))
    assert bench.out == [BackgroundEvent("free")]
    ticket.settle(Stored())
    await bench.outbox.drained()
    assert bench.out[1:] == [
        recorded(1),
        BackgroundEvent("after 1"),
        recorded(2),
        BackgroundEvent("after 2"),
    ]
    nursery.cancel_scope.cancel()


async def test_what_is_not_stored_ends_it_and_nothing_after_leaves() -> None:
    for fate in (Refused("another writer"), Unknown("lost")):
        bench = Bench()
        bench.release(1, fate=Stored())
        bench.release(2, fate=fate, then="effect")
        bench.release(3, fate=Stored(), then="effect")
        bench.outbox.notice(BackgroundEvent("after"))
        assert await bench.outbox.run() == fate
        assert bench.out == [recorded(1)]


async def test_notices_after_a_slow_disk_are_bounded_and_the_loss_is_told(
    nursery: trio.Nursery,
) -> None:
    bench = Bench()
    nursery.start_soon(bench.outbox.run)
    ticket = bench.release(1)
    for _ in range(NOTICE_CAPACITY + 5):
        bench.outbox.notice(BackgroundEvent("delta"))
    ticket.settle(Stored())
    await bench.outbox.drained()
    deltas = [BackgroundEvent("delta")] * NOTICE_CAPACITY
    assert bench.out == [recorded(1), *deltas, SubscriberLagged(5)]
    nursery.cancel_scope.cancel()


async def test_drained_returns_at_once_when_nothing_waits() -> None:
    with trio.fail_after(60):
        await Bench().outbox.drained()
