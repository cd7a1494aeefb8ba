"""`turnlog archive`: take a session out of the list, or bring it back."""

import click
import trio

from turnlog.protocol.ops import Archive

_ARCHIVED = "Archived. `turnlog sessions --all` lists it; `turnlog archive --undo` takes it back."


@click.command("archive")
@click.argument("session", metavar="ID")
@click.option("--undo", is_flag=True, help="Bring it back.")
def command(session: str, undo: bool) -> None:
    """Take session ID out of the list of sessions. Nothing of it is lost.

    It can still be shown, resumed and forked; `turnlog sessions --all` lists it.
    """
    from turnlog.frontends.cli.operate import operate

    trio.run(lambda: operate(session, Archive(not undo), on_recovery="leave"))
    click.echo("It is in the list again." if undo else _ARCHIVED, err=True)
