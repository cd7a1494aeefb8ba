"""`turnlog serve-model`: a recorded session as a model server, for any client."""

from typing import Final

import click
import trio

from turnlog.actors.stored_state.pages import read_whole
from turnlog.frontends.cli.session_argument import SESSION
from turnlog.frontends.sessions.address import find_session
from turnlog.frontends.sessions.store import reading

_HELP: Final = """\
Serve the answers of session ID as a Responses API, until Ctrl-C.

Any client may be replayed against it. Its requests must have the recorded input, in the recorded
order; ids, encrypted reasoning, how long a command took, and what a client tells of its
surroundings may differ. Model, tools and instructions are the client's own affair. A request that
was not recorded gets status 409, with the nearest recorded one and where it differs; stderr says
so, too. Failures that were recorded come again.

Prints the base URL, and then the configuration that uses it. No key is needed.
"""
_CONFIGURATION: Final = """\
{url}

# For turnlog, put this into $TURNLOG_HOME/config.toml; for Codex, into $CODEX_HOME/config.toml:
model = "{model}"
model_provider = "recorded"

[model_providers.recorded]
name = "recorded"
base_url = "{url}"
"""


@click.command("serve-model", help=_HELP)
@click.argument("session", metavar="ID", type=SESSION)
@click.option("--port", type=int, default=0, help="The port to listen on. Default: a free one.")
@click.option("--any-order", is_flag=True, help="Answer requests in any order, and more than once.")
def command(session: str, port: int, any_order: bool) -> None:
    trio.run(_serve, session, port, any_order)


async def _serve(prefix: str, port: int, any_order: bool) -> None:
    from turnlog.replay.rerun.recording import record_ports
    from turnlog.replay.rerun.serve import RecordedPlayer, serve_recording

    async with reading(prefix) as log:
        records = await read_whole(log, await find_session(log, prefix))
    exchanges = record_ports(records).exchanges
    model = exchanges[-1].settings.session.model if exchanges else "recorded"
    player = RecordedPlayer(exchanges, any_order, _report)
    async with serve_recording(player, port) as server:
        click.echo(_CONFIGURATION.format(url=server.base_url, model=model))
        await trio.sleep_forever()


def _report(text: str) -> None:
    click.echo(f"Miss: {text}", err=True)
