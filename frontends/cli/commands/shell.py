"""`turnlog shell`: run a command of one's own in a session's folder."""

import sys
from functools import partial

import click
import trio

from turnlog.frontends.cli.session_argument import SESSION
from turnlog.frontends.cli.settings_options import settings_options
from turnlog.frontends.sessions.settings import ChosenSettings
from turnlog.protocol.calls import CommandReport
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import Failed
from turnlog.protocol.events import ToolFinished
from turnlog.protocol.ops import RunUserShellCommand

_FAILURE_PREFIX = "the command did not run to its end"


@click.command("shell")
@click.argument("session", metavar="ID", type=SESSION)
@click.argument("line", metavar="COMMAND")
@settings_options
def command(session: str, line: str, chosen: ChosenSettings) -> int:
    """Run COMMAND in the folder of session ID, without a sandbox, and keep it in the log.

    Quote it: it is one argument, and bash reads it. The model never hears of it. What it printed
    comes to stdout once it has ended, and its exit code is this command's.
    """
    from turnlog.frontends.cli.operate import operate

    work = partial(
        operate, session, RunUserShellCommand(line), failure_prefix=_FAILURE_PREFIX, chosen=chosen
    )
    for recorded in trio.run(work):
        if isinstance(event := recorded.event, ToolFinished):
            sys.stdout.write(event.output if event.full_output is None else event.full_output)
            sys.stdout.flush()
            if isinstance(event.report, CommandReport):
                return event.report.exit_code
            raise Failed(
                ErrorCode.NOT_DONE, f"{_FAILURE_PREFIX}: {event.preamble or event.outcome}"
            )
    raise Failed(ErrorCode.NOT_DONE, _FAILURE_PREFIX)
