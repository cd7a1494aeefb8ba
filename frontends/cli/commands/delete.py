"""`turnlog delete`: takes a session out of the store. Its forks stay whole."""

import os
import sys
from typing import Final

import click
import trio

from turnlog.frontends.cli.errors import FAILED
from turnlog.frontends.cli.session_argument import SESSION
from turnlog.frontends.sessions.address import find_session
from turnlog.frontends.sessions.store import reading, store_path
from turnlog.protocol.ids import SessionId
from turnlog.replay.views.text import one_line

_MANY: Final = 100_000  # sessions that are looked through for the title
_TITLE_WIDTH: Final = 60


@click.command("delete")
@click.argument("session", metavar="ID", type=SESSION)
@click.option("--yes", "-y", is_flag=True, help="Do not ask. Needed where stdin is not a terminal.")
def command(session: str, yes: bool) -> int | None:
    """Delete session ID, after a question. What its forks share with it is kept for them."""
    whole, title = trio.run(_found, session)
    if not yes:
        if not os.isatty(sys.stdin.fileno()):
            raise click.UsageError("stdin is not a terminal, so nobody can be asked: give --yes.")
        if not click.confirm(f"Delete session {whole} ({title})?", err=True):
            click.echo("Nothing was deleted.", err=True)
            return FAILED
    trio.run(_delete, whole)
    click.echo(f"Deleted session {whole}.", err=True)
    return None


async def _found(wanted: str) -> tuple[SessionId, str]:
    async with reading(wanted) as log:
        session = await find_session(log, wanted)
        named = [one for one in await log.sessions(limit=_MANY) if one.session == session]
        title = (named[0].name or named[0].title) if named else ""
        return session, one_line(title, _TITLE_WIDTH) or "without a title"


async def _delete(session: SessionId) -> None:
    from turnlog.runtime.store.lmdb.log import open_log

    async with open_log(store_path()) as log:
        await log.delete(session)
