"""Commands whose engine was killed before it could end them.

The sandboxes end what they hold together with their engine. A command that ran without one lives
on; its processes have the name of their engine about them, so the next engine ends them.
"""

import os
import signal
from collections.abc import Iterable, Mapping

import trio

from turnlog.runtime.processes.family import (
    KILL_PATIENCE,
    TERM_GRACE,
    EngineName,
    Process,
    engine_of,
    read_process,
    read_processes,
    send_signal,
    this_engine,
    wait_for_exit,
)


async def end_orphans() -> int:
    """End what engines that are gone have left running; return how many processes that were.

    SIGTERM first, SIGKILL after a grace. Found are processes that have an engine's name in their
    environment, and what descends from them without one. Not cancellable.
    """
    ended, refused = set[int](), set[int]()  # pids; a process of another user's takes no signal
    with trio.CancelScope(shield=True):
        _signal(orphans(), ended, refused, signal.SIGTERM)
        with trio.move_on_after(TERM_GRACE):
            await _wait_for(ended)
        with trio.move_on_after(KILL_PATIENCE):
            # What an orphan starts meanwhile, or an engine among them leaves, is one, too.
            while left := [process for process in orphans() if process.pid not in refused]:
                _signal(left, ended, refused, signal.SIGKILL)
                await _wait_for(ended)
    return len(ended)


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
    children: dict[int, list[Process]] = {}
    found: dict[int, Process] = {}
    for process in table.values():
        children.setdefault(process.parent, []).append(process)
        if process.is_alive and process.pid not in spared and _is_orphan(process.pid, engine):
            found[process.pid] = process
    unseen = list(found)
    while unseen:
        for child in children.get(unseen.pop(), ()):
            if child.pid not in found and child.is_alive and engine_of(child.pid) is None:
                found[child.pid] = child
                unseen.append(child.pid)
    return list(found.values())


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
