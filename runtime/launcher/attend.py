"""Attends one command: starts it, waits for it, and ends all that it leaves behind.

All orphans of the command become children of the attendant, whatever sessions they make and
whatever they drop; so what belongs to a command is known by parentage, and the end is reached when
the kernel says that there is no child left.
"""

from __future__ import annotations

import os
import sys

from . import system

TYPE_CHECKING = False
if TYPE_CHECKING:  # the launcher's start does not pay for typing
    import signal
    from collections.abc import Callable
    from typing import NoReturn
else:
    import _signal as signal  # what `signal` wraps in enumerations, for 5 ms

FAILED, NOT_EXECUTABLE, NOT_FOUND = 125, 126, 127  # exit codes when the command did not run


def run(argv: list[str], *, confine: Callable[[], None] | None = None) -> int:
    """Run `argv` and return its exit code, 128 + n for signal n, when nothing of it is left.

    Args:
        argv: the command; its program is sought on the PATH.
        confine: called in the command's process before it runs; an OSError keeps it from running.
    """
    system.become_subreaper()
    system.end_with_parent(signal.SIGKILL)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it is the command that is meant
    leader = os.fork()
    if leader == 0:
        _become(argv, confine)
    code = _wait_for(leader)
    _end_all()
    return code


def leave(code: int, why: str) -> NoReturn:
    """End this process and say why."""
    print(f"turnlog: {why}", file=sys.stderr, flush=True)
    os._exit(code)


def _become(argv: list[str], confine: Callable[[], None] | None) -> NoReturn:
    """Turn this process, which was just forked, into the command. It never goes back."""
    try:
        os.setsid()
        system.end_with_parent(signal.SIGKILL)
        _take_default_signals()
        if confine is not None:
            confine()
    except BaseException as error:
        leave(FAILED, f"the command was not run: {error}")
    try:
        os.execvp(argv[0], argv)
    except FileNotFoundError:
        leave(NOT_FOUND, f"there is no program {argv[0]!r} on the command's PATH")
    except PermissionError:
        leave(NOT_EXECUTABLE, f"{argv[0]!r} is not executable")
    except BaseException as error:
        leave(FAILED, f"the command was not run: {error}")


def _take_default_signals() -> None:
    """Undo what this interpreter, or whoever started it in the background, has set."""
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGPIPE,
        signal.SIGXFSZ,
    ):
        signal.signal(number, signal.SIG_DFL)


def _wait_for(leader: int) -> int:
    while True:
        pid, status = os.wait()
        if pid == leader:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _end_all() -> None:
    """Kill until the kernel says that there is no child left. Orphans become our children."""
    try:
        while True:
            for pid in _children():
                os.kill(pid, signal.SIGKILL)  # ours to reap: the pid is nobody else's yet
            os.waitpid(-1, 0)
    except ChildProcessError:
        return


def _children() -> list[int]:
    with open(f"/proc/self/task/{os.getpid()}/children", "rb") as listing:
        return [int(pid) for pid in listing.read().split()]
