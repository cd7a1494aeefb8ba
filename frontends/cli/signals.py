"""Stopping when a signal asks for it; and leaving at once, after all processes have ended."""

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Final, NoReturn, TypeVar

import click
import trio

from turnlog.runtime.processes.family import descendants, read_processes
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

    def stop(number: int) -> None:
        received.append(number)
        scope.cancel()
        click.echo("Stopping. Ctrl-C again leaves at once.", err=True)

    results: list[T] = []  # one, or none
    scope = trio.CancelScope()
    with trio.open_signal_receiver(*SIGNALS) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(obey, signals, stop)
            with scope:
                results.append(await work(nursery))
            nursery.cancel_scope.cancel()
    if not results:
        raise click.exceptions.Exit(128 + received[0])
    return results[0]


async def obey(signals: AsyncIterator[int], stop: Callable[[int], object]) -> None:
    """Call `stop` with the first signal, and leave at once with the second."""
    is_stopping = False
    async for number in signals:
        if is_stopping:
            leave_at_once(128 + number)
        is_stopping = True
        stop(number)


def leave_at_once(code: int) -> NoReturn:
    """Kill every descendant of this process, and end it. The log is whole at any moment.

    The attendants of commands kill what is theirs, and find all of it. For what one of them has
    lost we are a child subreaper, so that it is among our children.
    """
    kill_by_attendants()
    for _ in range(_ROUNDS):
        below = descendants({os.getpid()}, read_processes().values())
        living = [process for process in below if process.is_alive]
        if not living:
            break
        for process in living:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, signal.SIGKILL)
    os._exit(code)
