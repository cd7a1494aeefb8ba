"""The command line that starts a command through the launcher, which attends it."""

import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Final, NewType

from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import Unavailable
from turnlog.runtime import launcher
from turnlog.runtime.launcher import kin
from turnlog.runtime.launcher.attend import KILL_PATIENCE

LAUNCHER: Final = os.path.dirname(os.path.realpath(launcher.__file__))  # a folder
PROGRAM: Final = os.path.join(LAUNCHER, "__main__.py")

LaunchLine = NewType("LaunchLine", list[str])
"""A command line in which the launcher runs the command, with or without a sandbox around it."""


def attended(argv: Sequence[str], options: Sequence[str] = ()) -> LaunchLine:
    """Return the command line that runs `argv` with an attendant.

    Args:
        argv: the command; its program is sought on the command's own PATH.
        options: what else the launcher is to do, such as to confine it.

    Raises:
        Unavailable: there is no program in `argv`, or no interpreter to run the launcher.
    """
    if not argv:
        raise Unavailable(
            ErrorCode.COMMAND_NOT_STARTED, "an empty command cannot be run; name a program."
        )
    if not sys.executable:
        raise Unavailable(
            ErrorCode.COMMAND_NOT_STARTED,
            "commands cannot be run: this program does not know its Python interpreter "
            "(sys.executable), which attends them. Start turnlog by `python -m turnlog`.",
        )
    return LaunchLine([sys.executable, "-I", "-S", PROGRAM, *options, "--", *argv])


def is_launcher(pid: int) -> bool:
    """Say whether a process is a launcher, of any version of turnlog."""
    words = kin.command_line(pid).split(b"\0")
    program = b"".join(words[3:4])
    return words[1:3] == [b"-I", b"-S"] and program.endswith(b"/runtime/launcher/__main__.py")


def kill_by_attendants() -> None:
    """Let the attendants that this process has started kill their commands; wait for that.

    For a process that is about to leave: it blocks, for `KILL_PATIENCE` at most.
    """
    attendants = [pid for pid in kin.children(os.getpid()) if is_launcher(pid)]
    for pid in attendants:
        kin.send(pid, signal.SIGQUIT)
    deadline = time.monotonic() + KILL_PATIENCE
    while time.monotonic() < deadline and any(map(is_launcher, attendants)):
        time.sleep(0.005)  # one that has ended has no arguments
