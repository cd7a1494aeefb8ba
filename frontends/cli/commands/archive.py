"""`turnlog archive`: take a session out of the list, or bring it back."""

import click
import trio

from turnlog.frontends.cli.session_argument import SESSION
from turnlog.frontends.cli.settings_options import settings_options
from turnlog.frontends.sessions.settings import ChosenSettings
from turnlog.protocol.ops import Archive

_ARCHIVED = "Archived. `turnlog sessions --all` lists it; `turnlog archive --undo` takes it back."


@click.command("archive")
@click.argument("session", metavar="ID", type=SESSION)
@click.option("--undo", is_flag=True, help="Put the session back into the list.")
@settings_options
def command(session: str, undo: bool, chosen: ChosenSettings) -> None:
    """Take session ID out of the list of sessions. Nothing of it is lost.

    It can still be shown, resumed and forked; `turnlog sessions --all` lists it.
    """
    from turnlog.frontends.cli.operate import operate

    trio.run(lambda: operate(session, Archive(not undo), on_recovery="leave", chosen=chosen))
    click.echo("It is in the list again." if undo else _ARCHIVED, err=True)
