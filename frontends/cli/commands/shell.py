"""`turnlog shell`: run a command of one's own in a session's folder."""

import sys

import click
import trio

from turnlog.protocol.calls import CommandReport
from turnlog.protocol.events import ToolFinished
from turnlog.protocol.ops import RunUserShellCommand

_VAIN = "the command did not run to its end"


@click.command("shell")
@click.argument("session", metavar="ID")
@click.argument("line", metavar="COMMAND")
def command(session: str, line: str) -> int:
    """Run COMMAND in the folder of session ID, without a sandbox, and keep it in the log.

    Quote it: it is one argument, and bash reads it. The model never hears of it. What it printed
    comes to stdout once it has ended, and its exit code is this command's.
    """
    from turnlog.frontends.cli.operate import NotDone, operate

    for recorded in trio.run(lambda: operate(session, RunUserShellCommand(line), vain=_VAIN)):
        if isinstance(event := recorded.event, ToolFinished):
            sys.stdout.write(event.output if event.full_output is None else event.full_output)
            sys.stdout.flush()
            if isinstance(event.report, CommandReport):
                return event.report.exit_code
            raise NotDone(f"{_VAIN}: {event.preamble or event.outcome}")
    raise NotDone(_VAIN)
