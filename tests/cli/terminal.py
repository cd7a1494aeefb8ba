"""A terminal of one's own: a command's stdout and stderr, as the terminal is sent them."""

import os
import pty
import subprocess
import tty
from collections.abc import Mapping

from tests.cli.harness import TURNLOG, User


def in_a_terminal(
    user: User, *words: str, env: Mapping[str, str] | None = None, limit: float = 60
) -> tuple[int, str]:
    """Run a command on a terminal that changes nothing of what it is sent.

    Returns its exit code, and all that it wrote. It is killed after `limit` seconds.
    """
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    with subprocess.Popen(
        [*TURNLOG, *words],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        cwd=user.cwd,
        env={**user.environment(), "TERM": "xterm-256color", **(env or {})},
        start_new_session=True,
    ) as process:
        os.close(theirs)
        try:
            written = _read_all(ours)
            code = process.wait(limit)
        finally:
            process.kill()
            os.close(ours)
    return code, written.decode()


def _read_all(terminal: int) -> bytes:
    found = b""
    try:
        while piece := os.read(terminal, 65536):
            found += piece
    except OSError:  # its other end is closed
        pass
    return found
