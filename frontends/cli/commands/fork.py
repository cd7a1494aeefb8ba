"""`turnlog fork`: a new session that begins as another one did."""

import os

import click
import trio

from turnlog.frontends.cli.output.warning import tell_warning
from turnlog.frontends.cli.session_argument import SESSION
from turnlog.frontends.cli.settings_options import settings_options
from turnlog.frontends.sessions.address import find_session
from turnlog.frontends.sessions.settings import ChosenSettings, changes_nothing
from turnlog.frontends.sessions.store import require_store, working_folder
from turnlog.protocol.ids import SessionId
from turnlog.protocol.ops import OverrideTurnContext


@click.command("fork")
@click.argument("session", metavar="ID", type=SESSION)
@click.option(
    "--at",
    type=int,
    metavar="SEQ",
    help="Branch after this event; see `turnlog show ID`. Default: after the last one.",
)
@settings_options
def command(session: str, at: int | None, chosen: ChosenSettings) -> None:
    """Branch from session ID, which is not touched, and print the new session's id."""
    child, cut = trio.run(_fork, session, at, chosen)
    if at is not None and cut != at:
        click.echo(f"Event {at} is inside of a step; cut at its end, event {cut}.", err=True)
    click.echo(child)


async def _fork(
    session: str, at: int | None, chosen: ChosenSettings
) -> tuple[SessionId, int | None]:
    from turnlog.runtime.assembly import open_assembly

    require_store(session)
    cwd = working_folder(chosen.folder)
    config = chosen.load(cwd, os.environ)
    update = chosen.update(config, cwd)
    async with open_assembly(config=config) as assembly:
        parent = await find_session(assembly.log, session)
        branch = await assembly.engine.fork(parent, at=at)
        if kept := chosen.kept_provider(config, branch.settings):
            tell_warning(kept)
        if not changes_nothing(update):
            await branch.submit(OverrideTurnContext(update))
        return branch.id, branch.cut
