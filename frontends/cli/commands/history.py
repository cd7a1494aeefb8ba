"""`turnlog history`: what the model is sent, or would be, at an event of a session."""

import sys

import click
import trio

from turnlog.frontends.cli.json_option import json_option
from turnlog.frontends.cli.output.pager import paged
from turnlog.frontends.cli.output.terminal import columns, secho
from turnlog.frontends.cli.session_argument import SESSION
from turnlog.frontends.sessions.address import find_session
from turnlog.frontends.sessions.store import reading
from turnlog.protocol.items import JsonText
from turnlog.replay.views.event_text import item_text
from turnlog.replay.views.state_at import model_input_at
from turnlog.replay.views.text import excerpt

_LINES = 20  # of each item that are shown
_WIDTH = 160  # columns, where stdout is not a terminal


@click.command("history")
@click.argument("session", metavar="ID", type=SESSION)
@click.option(
    "--at",
    type=int,
    default=-1,
    metavar="SEQ",
    help="After this event; -1 is the last one, -2 the one before it.",
)
@json_option("Print the list of items, exactly as it is sent.")
@paged
def command(session: str, at: int, as_json: bool) -> None:
    """Show what the model would be sent, if session ID were cut at an event and asked again.

    A call without an output is shown with the one that it would get: never started, stopped, or
    unknown.
    """
    items = trio.run(_history, session, at)
    if as_json:
        sys.stdout.buffer.write(f"[{','.join(items)}]\n".encode())
        return
    if not items:
        secho("Nothing: there is no conversation yet.", dim=True)
    for number, item in enumerate(items, 1):
        secho(f"--- {number}", dim=True)
        click.echo(excerpt(item_text(item), _LINES, columns(sys.stdout, _WIDTH)))


async def _history(prefix: str, at: int) -> list[JsonText]:
    async with reading(prefix) as log:
        return await model_input_at(log, await find_session(log, prefix), at)
