"""`turnlog name`: give a session a name, for lists."""

import click
import trio

from turnlog.actors.core.evolving.facts import NAME_LENGTH
from turnlog.frontends.cli.session_argument import SESSION
from turnlog.frontends.cli.settings_options import settings_options
from turnlog.frontends.sessions.settings import ChosenSettings
from turnlog.protocol.ops import SetName
from turnlog.replay.views.text import one_line


@click.command("name")
@click.argument("session", metavar="ID", type=SESSION)
@click.argument("name")
@settings_options
def command(session: str, name: str, chosen: ChosenSettings) -> None:
    """Name session ID. An empty NAME takes it back.

    The name is for lists; white space in it becomes single blanks, and 120 characters are kept.
    A turn that was cut off stays as it is, for `turnlog exec resume`.
    """
    from turnlog.frontends.cli.operate import operate

    trio.run(lambda: operate(session, SetName(name), on_recovery="leave", chosen=chosen))
    said = one_line(name, NAME_LENGTH)
    click.echo(f"Named: {said}" if said else "The name is taken back.", err=True)
