"""Starts a command's process: forked, confined, then replaced by the command."""

from __future__ import annotations

import errno
import os

from . import system

TYPE_CHECKING = False
if TYPE_CHECKING:  # the launcher's start does not pay for typing
    import signal
    from collections.abc import Callable
else:
    import _signal as signal  # what `signal` wraps in enumerations, for 5 ms

FAILED, NOT_EXECUTABLE, NOT_FOUND = 125, 126, 127  # exit codes when the command did not run


class CommandRefused(Exception):
    """The command was not run. `code` is what the launcher exits with."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


def start_command(argv: list[str], prepare: Callable[[], None]) -> int:
    """Start `argv` in a session of its own; return its pid once it has become the command.

    It is killed when this process ends.

    Args:
        prepare: called in the command's process before it runs; what it raises keeps it from it.

    Raises:
        CommandRefused: nothing was run.
    """
    try:
        answer, asked = os.pipe()
        attendant, child = os.getpid(), os.fork()
    except OSError as error:
        raise CommandRefused(FAILED, f"the command was not run: {_reason(error)}") from error
    if child == 0:
        refusal = _become(argv, prepare, attendant)
        os.write(asked, f"{refusal.code} {refusal}".encode("utf-8", "replace"))
        os._exit(refusal.code)
    os.close(asked)  # the child's end closes when it becomes the command
    with open(answer, "rb") as file:
        said = file.read()
    if not said:
        return child
    os.waitpid(child, 0)
    code, _, why = said.decode("utf-8", "replace").partition(" ")
    raise CommandRefused(int(code), why)


def _become(argv: list[str], prepare: Callable[[], None], attendant: int) -> CommandRefused:
    """Turn this process into the command. Return only if that fails, with the reason."""
    try:
        os.setsid()
        system.end_with_parent(signal.SIGKILL)
        if os.getppid() != attendant:
            return CommandRefused(FAILED, "the command was not run: its attendant was ended")
        _take_default_signals()
        prepare()
    except Exception as error:
        return CommandRefused(FAILED, f"the command was not run: {error}")
    try:
        os.execvp(argv[0], argv)
    except Exception as error:
        return _refusal(argv[0], error)


def _refusal(program: str, error: Exception) -> CommandRefused:
    if isinstance(error, FileNotFoundError):
        why = f"cannot run {program!r}: there is no such program on the command's PATH."
        return CommandRefused(NOT_FOUND, why)
    where = f"cannot run {program!r} in {_folder()!r}"
    if isinstance(error, PermissionError):
        return CommandRefused(NOT_EXECUTABLE, f"{where}: permission denied. Is it executable?")
    reason = _reason(error) if isinstance(error, OSError) else str(error)
    return CommandRefused(NOT_EXECUTABLE, f"{where}: {reason}.")


def _reason(error: OSError) -> str:
    """Return what the system said, with the name of its error number."""
    if error.errno is None:
        return str(error)
    return f"{error.strerror} ({errno.errorcode.get(error.errno, error.errno)})"


def _folder() -> str:
    try:
        return os.getcwd()
    except OSError:
        return "a folder that is gone"


def _take_default_signals() -> None:
    """Undo what this interpreter has set, and what the shell has that started the engine with &."""
    signal.set_wakeup_fd(-1)
    for number in range(1, signal.NSIG):
        try:
            signal.signal(number, signal.SIG_DFL)
        except (OSError, ValueError):  # it cannot be changed, or belongs to the C library
            continue
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
