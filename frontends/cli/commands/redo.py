"""`turnlog redo`: take the last undo back."""

import click

from turnlog.frontends.cli.json_option import json_option
from turnlog.frontends.cli.session_argument import SESSION
from turnlog.frontends.cli.settings_options import settings_options
from turnlog.frontends.sessions.settings import ChosenSettings
from turnlog.protocol.ops import Redo


@click.command("redo")
@click.argument("session", metavar="ID", type=SESSION)
@click.option(
    "--force", is_flag=True, help="Bring back also files that somebody else has changed since."
)
@json_option("Print one file a line, as a JSON object.")
@settings_options
def command(session: str, force: bool, as_json: bool, chosen: ChosenSettings) -> None:
    """Take the last undo of session ID back. Not possible once another turn has followed it."""
    from turnlog.frontends.cli.commands.undo import show_outcome

    show_outcome(session, Redo(force), chosen=chosen, as_json=as_json)
