"""Mailboxes: who waits, who is refused, and who always has a place."""

from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from turnlog.actors.queues.mailbox import Mailbox
from turnlog.protocol.envelope import EncodedEvent
from turnlog.protocol.errors import Overloaded


def message(name: str) -> EncodedEvent:
    return EncodedEvent(name.encode(), {})


async def received(mailbox: Mailbox, count: int) -> list[str]:
    names: list[str] = []
    for _ in range(count):
        await mailbox.filled()
        names.append(mailbox.take().body.decode())
        await trio.lowlevel.checkpoint()
    return names


async def test_messages_of_all_lanes_come_out_in_the_order_in_which_they_came() -> None:
    mailbox = Mailbox()
    slot = mailbox.reserve()
    mailbox.tell_op(message("op"))
    await mailbox.send(message("item"))
    mailbox.tell_urgent(message("interrupt"))
    slot.send(message("closing"))
    assert await received(mailbox, 4) == ["op", "item", "interrupt", "closing"]
    assert len(mailbox) == 0


async def test_a_receiver_waits_for_the_first_message() -> None:
    mailbox = Mailbox()
    got: list[str] = []

    async def receive() -> None:
        got.extend(await received(mailbox, 1))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        assert got == []
        mailbox.tell_op(message("op"))
    assert got == ["op"]


async def test_a_receiver_that_is_cancelled_has_taken_nothing() -> None:
    mailbox = Mailbox()
    mailbox.tell_op(message("op"))
    with trio.CancelScope() as scope:
        scope.cancel()
        await mailbox.filled()
        await trio.lowlevel.checkpoint()  # where a receiver waits before it takes
    assert len(mailbox) == 1


async def test_an_op_too_many_is_refused_and_the_rest_stays() -> None:
    mailbox = Mailbox(op_capacity=2)
    mailbox.tell_op(message("1"))
    mailbox.tell_op(message("2"))
    with pytest.raises(Overloaded, match="2 ops are waiting"):
        mailbox.tell_op(message("3"))
    assert await received(mailbox, 1) == ["1"]
    mailbox.tell_op(message("4"))
    assert await received(mailbox, 2) == ["2", "4"]


async def test_interrupts_and_closing_facts_pass_when_ops_and_items_are_full() -> None:
    mailbox = Mailbox(item_capacity=1, op_capacity=1, urgent_capacity=1)
    slots = [mailbox.reserve() for _ in range(3)]
    mailbox.tell_op(message("op"))
    await mailbox.send(message("item"))
    mailbox.tell_urgent(message("interrupt"))
    for slot in slots:
        slot.send(message("closing"))
    with pytest.raises(Overloaded):
        mailbox.tell_urgent(message("another"))
    assert await received(mailbox, 6) == ["op", "item", "interrupt", *["closing"] * 3]


async def test_items_wait_for_room_and_lose_nothing_when_one_gives_up() -> None:
    mailbox = Mailbox(item_capacity=1)
    got: list[str] = []
    async with trio.open_nursery() as nursery:
        scopes = [trio.CancelScope() for _ in range(3)]

        async def send(number: int) -> None:
            with scopes[number]:
                await mailbox.send(message(str(number)))

        await mailbox.send(message("first"))
        for number in range(3):
            nursery.start_soon(send, number)
            await wait_all_tasks_blocked()
        assert len(mailbox) == 1
        scopes[1].cancel()
        await wait_all_tasks_blocked()
        got = await received(mailbox, 3)
    assert got == ["first", "0", "2"]


def test_a_slot_is_used_once() -> None:
    mailbox = Mailbox()
    slot = mailbox.reserve()
    slot.send(message("closing"))
    with pytest.raises(RuntimeError):
        slot.send(message("again"))
    given_up = mailbox.reserve()
    given_up.give_back()
    with pytest.raises(RuntimeError):
        given_up.send(message("late"))
    assert len(mailbox) == 1


async def test_a_new_life_keeps_ops_and_drops_what_was_sent_about_the_old_ones_effects() -> None:
    mailbox = Mailbox(item_capacity=1, op_capacity=1)
    mailbox.tell_op(message("op"))
    await mailbox.send(message("item"))
    mailbox.reserve().send(message("closing"))
    mailbox.tell_urgent(message("interrupt"))
    mailbox.forget_work()
    await mailbox.send(message("new item"))  # there is room again
    with pytest.raises(Overloaded):
        mailbox.tell_op(message("another"))
    assert await received(mailbox, 3) == ["op", "interrupt", "new item"]


@given(
    st.random_module(),
    st.integers(1, 8),
    st.lists(st.sampled_from(["op", "urgent", "item", "reserved"]), max_size=40),
)
def test_what_was_taken_in_comes_out_once_and_in_order_at_every_capacity(
    seed: Any,  # noqa: ANN401
    capacity: int,
    lanes: list[str],
) -> None:
    accepted: list[str] = []
    got: list[str] = []

    async def main() -> None:
        mailbox = Mailbox(capacity, capacity, capacity)

        async def send(name: str) -> None:
            await mailbox.send(message(name))

        async with trio.open_nursery() as senders:
            for number, lane in enumerate(lanes):
                name = f"{lane} {number}"
                try:
                    match lane:
                        case "op":
                            mailbox.tell_op(message(name))
                        case "urgent":
                            mailbox.tell_urgent(message(name))
                        case "reserved":
                            mailbox.reserve().send(message(name))
                        case _:
                            senders.start_soon(send, name)
                    accepted.append(name)
                except Overloaded:
                    assert sum(name.startswith(lane) for name in accepted) >= capacity
                if number % 3 == 2:
                    await wait_all_tasks_blocked()
            while len(got) < len(accepted):
                got.extend(await received(mailbox, 1))

    trio.run(main)
    assert sorted(got) == sorted(accepted)
    for lane in ("op", "urgent", "reserved"):  # items of different senders may overtake
        ours = [name for name in got if name.startswith(lane)]
        assert ours == [name for name in accepted if name.startswith(lane)]
