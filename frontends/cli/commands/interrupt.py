"""`turnlog interrupt`: stop a turn that runs."""

import click
import trio

from turnlog.frontends.cli.session_argument import SESSION
from turnlog.protocol.events import TurnStopping
from turnlog.protocol.ops import Interrupt


@click.command("interrupt")
@click.argument("session", metavar="ID", type=SESSION)
def command(session: str) -> None:
    """Stop the turn of session ID, which another process runs.

    Its processes are ended, and the model is told at the next turn. What waited for a turn of its
    own begins then. If that process does not answer, the interrupt stays in the session's inbox:
    whoever runs the session next takes it.
    """
    from turnlog.frontends.cli.operate import say

    step = trio.run(say, session, Interrupt())
    stops = any(isinstance(one.event, TurnStopping) for one in step)
    idle = "No turn is running, or it is being stopped already."
    click.echo("The turn is being stopped." if stops else idle, err=True)
