"""A terminal of one's own: a command's stdout and stderr, as the terminal is sent them."""

import os
import pty
import tty
from collections.abc import Mapping

from tests.cli.harness import User
from tests.warm.client import start


def in_a_terminal(user: User, *words: str, env: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run a command, without a pager, on a terminal that changes nothing of what it is sent.

    Returns its exit code, and all that it wrote.
    """
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    program = user.program(*words, env={"TERM": "xterm-256color", "PAGER": "", **(env or {})})
    with start(program, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        try:
            written = _read_all(ours)
        finally:
            process.kill()
            os.close(ours)
        code = process.wait()
    return code, written.decode()


def _read_all(terminal: int) -> bytes:
    found = b""
    try:
        while piece := os.read(terminal, 65536):
            found += piece
    except OSError:  # its other end is closed
        pass
    return found
