"""`turnlog fork`: a new session that begins as another one did."""

import os

import click
import trio

from turnlog.frontends.sessions.address import find_session
from turnlog.frontends.sessions.store import has_store, working_folder
from turnlog.protocol.errors import SessionNotFound
from turnlog.protocol.ids import SessionId


@click.command("fork")
@click.argument("session", metavar="ID")
@click.option("--at", type=int, metavar="SEQ", help="The last event that counts. Default: all.")
def command(session: str, at: int | None) -> None:
    """Branch from session ID, which is not touched, and print the new session's id."""
    child, cut = trio.run(_fork, session, at)
    if at is not None and cut != at:
        click.echo(f"Event {at} is inside of a step; cut at its end, event {cut}.", err=True)
    click.echo(child)


async def _fork(session: str, at: int | None) -> tuple[SessionId, int | None]:
    from turnlog.runtime.assembly import open_assembly
    from turnlog.runtime.config.load import load_config

    if not has_store():
        raise SessionNotFound(session)
    config = load_config(working_folder(None), environ=os.environ)
    async with open_assembly(config=config) as assembly:
        parent = await find_session(assembly.log, session)
        branch = await assembly.engine.fork(parent, at=at)
        return branch.id, branch.cut
