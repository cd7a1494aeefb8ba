"""`turnlog delete`: takes a session out of the store. Its forks stay whole."""

import os
import sys

import click
import trio

from turnlog.frontends.cli.errors import FAILED
from turnlog.frontends.cli.session_argument import SESSION
from turnlog.frontends.sessions.address import find_stored
from turnlog.frontends.sessions.store import store_path
from turnlog.protocol.ids import SessionId


@click.command("delete")
@click.argument("session", metavar="ID", type=SESSION)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def command(session: str, yes: bool) -> int | None:
    """Delete session ID. What its forks share with it is kept for them."""
    whole = trio.run(find_stored, session)
    asks = not yes and os.isatty(sys.stdin.fileno())
    if asks and not click.confirm(f"Delete session {whole}?", err=True):
        click.echo("Nothing was deleted.", err=True)
        return FAILED
    trio.run(_delete, whole)
    click.echo(f"Deleted session {whole}.", err=True)
    return None


async def _delete(session: SessionId) -> None:
    from turnlog.runtime.store.lmdb.log import open_log

    async with open_log(store_path()) as log:
        await log.delete(session)
