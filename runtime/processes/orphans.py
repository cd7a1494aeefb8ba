"""Commands whose engine was killed before it could end them.

Their attendants notice that and end them; the next engine waits for that. If an attendant was
killed, too, its command's processes still carry the name of their engine, and are found by it.
"""

import os
import signal
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import trio

from turnlog.runtime.launcher.attend import KILL_PATIENCE, TERM_GRACE
from turnlog.runtime.processes.family import (
    EngineName,
    Process,
    descendants,
    engine_of,
    read_process,
    read_processes,
    send_signal,
    this_engine,
    wait_for_exit,
)
from turnlog.runtime.processes.launch import is_launcher

# Seconds for an attendant whose engine is gone: it sends SIGTERM, and then SIGKILL.
_ATTENDANT_PATIENCE: Final = TERM_GRACE + KILL_PATIENCE


class Orphans(NamedTuple):
    """What was found of the commands of engines that are gone."""

    ended: int  # processes
    left: tuple[int, ...]  # pids: another user's, or in an uninterruptible wait


async def end_orphans() -> Orphans:
    """End what engines that are gone have left running. Not cancellable.

    An attendant is given time to do that. Then SIGTERM, and after a grace SIGKILL, go to processes
    that have an engine's name in their environment, and to what descends from them without one.
    """
    ended, refused = set[int](), set[int]()  # pids; a process of another user's takes no signal
    with trio.CancelScope(shield=True):
        await _wait_for_attendants(ended)
        _signal(orphans(), ended, refused, signal.SIGTERM)
        with trio.move_on_after(TERM_GRACE):
            await _wait_for(ended)
        with trio.move_on_after(KILL_PATIENCE):
            # What an orphan starts meanwhile, or an engine among them leaves, is one, too.
            while found := [process for process in orphans() if process.pid not in refused]:
                _signal(found, ended, refused, signal.SIGKILL)
                await _wait_for(ended)
    left = tuple(process.pid for process in orphans())
    return Orphans(len(ended.difference(left)), left)


async def _wait_for_attendants(ended: set[int]) -> None:
    """Wait until the attendants of engines that are gone have ended their commands."""
    with trio.move_on_after(_ATTENDANT_PATIENCE):
        while attendants := [each for each in orphans() if is_launcher(each.pid)]:
            for attendant in attendants:
                send_signal(attendant, signal.SIGCONT)  # its command may have stopped it
                await wait_for_exit(attendant.pid)
                ended.add(attendant.pid)


def _signal(
    found: Iterable[Process], ended: set[int], refused: set[int], number: signal.Signals
) -> None:
    for process in found:
        permitted = send_signal(process, number)
        send_signal(process, signal.SIGCONT)  # a stopped process would not see it
        (ended if permitted else refused).add(process.pid)


async def _wait_for(pids: Iterable[int]) -> None:
    for pid in pids:
        await wait_for_exit(pid)


def orphans() -> list[Process]:
    """Return the processes of commands whose engine is gone. About 40 us for each process here."""
    table = read_processes()
    engine = this_engine()
    spared = set(_ancestors(table))  # an engine may have been started by such a command
    found = [
        process
        for process in table.values()
        if process.is_alive and process.pid not in spared and _is_orphan(process.pid, engine)
    ]
    return found + descendants(
        {process.pid for process in found},
        table.values(),
        lambda child: child.is_alive and engine_of(child.pid) is None,
    )


def _ancestors(table: Mapping[int, Process]) -> Iterable[int]:
    process = table.get(os.getpid())
    while process is not None:
        yield process.pid
        process = table.get(process.parent)


def _is_orphan(pid: int, observer: EngineName) -> bool:
    engine = engine_of(pid)
    if engine is None or engine.namespace != observer.namespace:
        return False
    now = read_process(engine.pid)
    return now is None or not now.is_alive or now.started != engine.started
