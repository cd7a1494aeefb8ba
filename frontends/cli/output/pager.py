"""A pager for what is longer than the screen: `$PAGER`, or else `less`, and on a terminal only."""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import wraps
from typing import Any, Final, TypeVar

import click

from turnlog.frontends.cli.errors import NobodyReads, cause
from turnlog.frontends.cli.output.streams import Door

# What git gives `less`: leave at once what fits the screen, show colours, keep the text on it.
_LESS: Final = "FRX"

T = TypeVar("T")


def paged(command: Callable[..., T]) -> Callable[..., T | None]:
    """Send what `command` prints to a pager, and add `--no-pager`."""

    @wraps(command)
    def shown(*arguments: Any, no_pager: bool, **others: Any) -> T | None:  # noqa: ANN401 - click's
        program = None if no_pager or others.get("follow") else _pager()
        door = sys.stdout.buffer
        if program is None or not isinstance(door, Door):
            return command(*arguments, **others)
        with _through(program, door):
            return command(*arguments, **others)
        return None  # the reader left before the end

    return click.option(
        "--no-pager",
        is_flag=True,
        help="Print at once. Default: on a terminal, through $PAGER or less.",
    )(shown)


def _pager() -> str | None:
    """Return the command line of the pager; None: there is none, or it is not wanted.

    An empty PAGER or `cat` turns it off. A terminal that is dumb can move no text.
    """
    if not sys.stdout.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return None
    chosen = os.environ.get("PAGER")
    if chosen is None:
        return "less" if shutil.which("less") else None
    return chosen if chosen not in ("", "cat") else None


@contextmanager
def _through(program: str, door: Door) -> Generator[None]:
    """Send what is printed to `program`, and wait for its end. A reader who leaves is no error."""
    import subprocess  # 5 ms that a pipe does not cost

    environ = {**os.environ, "LESS": os.environ.get("LESS") or _LESS}
    with subprocess.Popen(program, shell=True, stdin=subprocess.PIPE, env=environ) as process:
        assert process.stdin is not None  # a pipe
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the pager
        try:
            with door.sent_to(process.stdin.fileno()):
                yield
        except BaseException as error:
            if not isinstance(cause(error), NobodyReads):
                raise
        finally:
            process.stdin.close()
            process.wait()
            signal.signal(signal.SIGINT, before)
