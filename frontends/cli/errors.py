"""From an error to what its user reads, and to the exit code that scripts see."""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import click

from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import StoreError, TurnlogError, UsageError, with_code
from turnlog.protocol.faults import FOLDER_GONE, advice_in, environment_fault

# Exit codes. Each means one thing on all commands; 2, a wrong command line, is click's.
DONE: Final = 0
FAILED: Final = 1  # an error; its code is on stderr
UNCONFINED: Final = 3  # done, but each command was refused, since none could be confined
DIFFERENT: Final = 4  # done, but what was compared differs, is not recorded, or is damaged
INTERRUPTED: Final = 130  # 128 + SIGINT, as shells say it


class NobodyReads(BrokenPipeError):
    """Whoever read stdout has gone."""


def tell(error: BaseException, *, as_json: bool = False) -> int:
    """Say on stderr what went wrong; return the exit code.

    With `as_json`, stdout gets one more line: the error and its code. A command line that is
    wrong is told on stderr only, since no command has begun.

    With TURNLOG_DEBUG=1 the error is raised again, for its traceback.
    """
    if os.environ.get("TURNLOG_DEBUG") == "1" and not isinstance(error, click.ClickException):
        raise error
    match cause(error):
        case click.ClickException() as usage:
            usage.show()
            return usage.exit_code
        case KeyboardInterrupt() | click.Abort():
            return INTERRUPTED
        case NobodyReads():
            return FAILED
        case other:
            text, code = _described(other)
            if as_json:
                _print_line(text, code)
            click.echo(f"Error: {with_code(text, code)}", err=True)
            return FAILED


def _print_line(text: str, code: str) -> None:
    """Print an error as `exec --json` does. What stdout does not take is passed over."""
    # Here, and not above: a command starts without what only its error needs.
    from turnlog.frontends.cli.output.json_lines import print_json
    from turnlog.protocol.exec_lines import Error

    with suppress(NobodyReads, UsageError):
        sys.stdout.flush()
        print_json(Error(text, code))


def _described(error: BaseException) -> tuple[str, str]:
    """Return what a person reads of an error, and its code."""
    match error:
        case TurnlogError():
            return _with_advice(error), error.code
        case FileNotFoundError(filename=None) if not _has_folder():
            return FOLDER_GONE, ErrorCode.ENVIRONMENT_FAULT
        case _ if (fault := environment_fault(error)) is not None:
            return fault, ErrorCode.ENVIRONMENT_FAULT
        case _:
            text = (
                f"{type(error).__name__}: {error}. This is a bug in turnlog: what is in the log is "
                "safe. Set TURNLOG_DEBUG=1 for the traceback, and report it."
            )
            return text, ErrorCode.INTERNAL_ERROR


def cause(error: BaseException) -> BaseException:
    """Return the one error out of those that were raised together that the user should know."""
    leaves = list(_leaves(error))
    for kind in (KeyboardInterrupt, click.ClickException, TurnlogError, NobodyReads):
        for leaf in leaves:
            if isinstance(leaf, kind):
                return leaf
    return leaves[0]


def _with_advice(error: TurnlogError) -> str:
    """Return an error's text; where the store quotes a limit of the machine, what raises that."""
    text = str(error)
    advice = advice_in(text) if isinstance(error, StoreError) else ""
    return text if advice in text else f"{text.rstrip('.')}. {advice}"


def _has_folder() -> bool:
    try:
        os.getcwd()
    except OSError:
        return False
    return True


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
            yield from _leaves(inner)  # pyright: ignore[reportUnknownArgumentType]
    else:
        yield error
