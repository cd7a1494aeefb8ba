"""Stopping when a signal asks for it; and leaving at once, but with no process left behind."""

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Final, NoReturn, TypeVar

import click
import trio

from turnlog.runtime.processes.family import Process, read_processes
from turnlog.runtime.processes.launch import kill_by_attendants

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ROUNDS = 20  # a process that is killed may just have started another

T = TypeVar("T")


async def until_stopped(work: Callable[[trio.Nursery], Awaitable[T]]) -> T:
    """Do `work`. The first SIGINT, SIGTERM or SIGHUP cancels it; the second leaves at once.

    Args:
        work: is given a nursery for what is to run beside it, and to end with it.

    Raises:
        click.exceptions.Exit: it was cancelled; with 128 + n for signal n.
    """
    received: list[int] = []
    results: list[T] = []  # one, or none
    scope = trio.CancelScope()
    with trio.open_signal_receiver(*SIGNALS) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_obey, signals, scope, received)
            with scope:
                results.append(await work(nursery))
            nursery.cancel_scope.cancel()
    if not results:
        raise click.exceptions.Exit(128 + received[0])
    return results[0]


async def _obey(signals: AsyncIterator[int], scope: trio.CancelScope, received: list[int]) -> None:
    async for number in signals:
        if received:
            leave_at_once(128 + number)
        received.append(number)
        scope.cancel()
        click.echo("Stopping. Ctrl-C again leaves at once.", err=True)


def leave_at_once(code: int) -> NoReturn:
    """Kill every descendant of this process, and end it. The log is whole at any moment.

    The attendants of commands kill what is theirs, and find all of it. For what one of them has
    lost we are a child subreaper, so that it is among our children.
    """
    kill_by_attendants()
    for _ in range(_ROUNDS):
        living = [
            process for process in _descendants(read_processes().values()) if process.is_alive
        ]
        if not living:
            break
        for process in living:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, signal.SIGKILL)
    os._exit(code)


def _descendants(table: Iterable[Process]) -> list[Process]:
    children: dict[int, list[Process]] = {}
    for process in table:
        children.setdefault(process.parent, []).append(process)
    found: list[Process] = []
    unseen = [os.getpid()]
    while unseen:
        below = children.get(unseen.pop(), [])
        found += below
        unseen += [process.pid for process in below]
    return found
