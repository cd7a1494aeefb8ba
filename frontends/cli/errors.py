"""From an error to what its user reads, and to the exit code that scripts see."""

import os
from collections.abc import Iterator
from typing import ClassVar, Final

import click

from turnlog.protocol.errors import StoreError, TurnlogError, UsageError
from turnlog.protocol.faults import ENVIRONMENT_FAULT, advice_in, environment_fault

FAILED: Final = 1
UNCONFINED: Final = 3  # `exec`: each command was refused, since none could be confined
INTERRUPTED: Final = 130  # 128 + SIGINT, as shells say it
FOLDER_GONE: Final = (
    "the current folder has been removed. Go to another one, or give an absolute path."
)


class PromptMissing(UsageError):
    """No prompt was given, neither as an argument nor on stdin.

    Give one.
    """

    code: ClassVar[str] = "prompt_missing"


class OutputUnwritable(UsageError):
    """A file that the user named, or stdout, cannot be written.

    Name a file in a folder that exists and that you may write.
    """

    code: ClassVar[str] = "output_unwritable"


class NobodyReads(BrokenPipeError):
    """Whoever read stdout has gone."""


def tell(error: BaseException) -> int:
    """Say on stderr what went wrong; return the exit code.

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
        case TurnlogError() as known:
            click.echo(f"Error: {_with_advice(known)} [{known.code}]", err=True)
            return FAILED
        case FileNotFoundError(filename=None) if not _stands_somewhere():
            click.echo(f"Error: {FOLDER_GONE} [{ENVIRONMENT_FAULT}]", err=True)
            return FAILED
        case other if (fault := environment_fault(other)) is not None:
            click.echo(f"Error: {fault} [{ENVIRONMENT_FAULT}]", err=True)
            return FAILED
        case other:
            click.echo(
                f"Error: {type(other).__name__}: {other}. This is a bug in turnlog: what is in "
                "the log is safe. Set TURNLOG_DEBUG=1 for the traceback, and report it. "
                "[internal_error]",
                err=True,
            )
            return FAILED


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


def _stands_somewhere() -> bool:
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
