"""The process that imports turnlog, and forks for each program that it is asked to run."""

import atexit
import ctypes
import gc
import importlib
import os
import pkgutil
import runpy
import select
import socket
import sys
import tempfile
import threading
import time
from contextlib import suppress
from types import ModuleType
from typing import Final, NoReturn, TextIO, cast

from tests.surroundings.without import take_away
from tests.warm.request import Given, Program, encode_code, receive_request, send_process

_PACKAGES: Final = ("protocol", "actors", "runtime", "replay", "frontends")
_NOT_IMPORTED: Final = ("turnlog.runtime.launcher", "turnlog.replay.testing")  # are not commands'
# What programs import later, who may then be users that cannot read the standard library.
_IMPORTED_EARLY: Final = ("resource",)
_DESCRIPTORS: Final = 4096  # the server has fewer
_SET_DUMPABLE: Final = 4  # prctl(2)


def main() -> None:
    """Serve the socket that the first argument names, until its other end is closed."""
    import_turnlog()
    control = socket.socket(fileno=int(sys.argv[1]))
    if (request := _serve(control)) is not None:  # we are the fork
        control.detach()
        try:
            _become(*request)
        except SystemExit as left:
            if isinstance(left.code, int):
                _leave(left.code)
            raise


def import_turnlog() -> None:
    for name in _IMPORTED_EARLY:
        importlib.import_module(name)
    for package in _PACKAGES:
        name = f"turnlog.{package}"
        path = importlib.import_module(name).__path__
        for found in pkgutil.walk_packages(path, f"{name}."):
            if not found.name.startswith(_NOT_IMPORTED) and not found.name.endswith("__main__"):
                importlib.import_module(found.name)
    gc.collect()
    gc.freeze()  # a collection in a fork then copies no page of these


def _serve(control: socket.socket) -> tuple[Program, Given] | None:
    """Fork for each request. Return it in the fork; None once nobody asks any more."""
    running: dict[int, tuple[int, int]] = {}  # by a process's descriptor: its id, whom to tell
    poll = select.poll()
    poll.register(control, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor in running:
                poll.unregister(descriptor)
                os.close(descriptor)
                _tell_end(*running.pop(descriptor))
                continue
            request = receive_request(control)
            if request is None or (pid := os.fork()) == 0:
                return request
            _, given = request
            for own in given[:-1]:
                os.close(own)
            process = send_process(control, pid)
            running[process] = (pid, given.end)
            poll.register(process, select.POLLIN)


def _tell_end(pid: int, descriptor: int) -> None:
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with open(descriptor, "wb", buffering=0) as end, suppress(BrokenPipeError):
        end.write(encode_code(code))


def _become(program: Program, given: Given) -> None:
    """Run the program in this process, and make it as new before."""
    for number, descriptor in enumerate(given[:-1]):
        os.dup2(descriptor, number)
    os.closerange(3, _DESCRIPTORS)
    if program.in_terminal:
        os.login_tty(0)
    elif program.leads_session:
        os.setsid()
    os.chdir(program.folder)
    os.environ.clear()
    os.environ.update(program.environment)
    time.tzset()
    tempfile.tempdir = None
    if program.umask is not None:
        os.umask(program.umask)
    if program.user is not None:
        _be(program.user)
    if program.interpreter is not None:
        sys.executable = program.interpreter
    if program.without:
        take_away(program.without)
    sys.stdin, sys.stdout = _opened(0, "r"), _opened(1, "w")
    sys.stderr = _opened(2, "w", "backslashreplace")
    sys.path[0] = program.folder
    if program.text is None:
        sys.argv = [program.module, *program.words]
        runpy.run_module(program.module, run_name="__main__", alter_sys=True)
    else:
        sys.argv = ["-c", *program.words]
        sys.modules["__main__"] = module = ModuleType("__main__")
        exec(compile(program.text, "<string>", "exec"), vars(module))


def _be(user: int) -> None:
    """Become a user who has a group of the same number, as if they had started the program."""
    os.setgroups(())
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    ctypes.CDLL(None).prctl(_SET_DUMPABLE, 1, 0, 0, 0)  # else /proc/self stays root's


def _opened(descriptor: int, mode: str, errors: str = "strict") -> TextIO:
    """Open a standard stream as the interpreter does at its start."""
    by_line = os.isatty(descriptor) or errors != "strict"
    buffering = 1 if mode == "w" and by_line else -1
    return cast(
        "TextIO",
        open(descriptor, mode, buffering, encoding="utf-8", errors=errors, closefd=False),
    )


def _leave(code: int) -> NoReturn:
    """End as the interpreter does, but do not free each object: that would copy all their pages."""
    threading._shutdown()  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
