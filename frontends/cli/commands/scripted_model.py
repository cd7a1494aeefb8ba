"""`turnlog scripted-model`: a model server that says what a script has it say."""

from pathlib import Path

import click
import trio

from turnlog.runtime.scripted_model.reading import load_script
from turnlog.runtime.scripted_model.script import Script
from turnlog.runtime.scripted_model.server import run_server

_HOST = "127.0.0.1"
_CONFIGURATION = """\
{url}

# To use it, put this into $TURNLOG_HOME/config.toml:
model = "scripted"
model_provider = "scripted"

[model_providers.scripted]
base_url = "{url}"
"""


@click.command("scripted-model")
@click.argument("script", type=click.Path(path_type=Path))
@click.option("--port", type=int, default=0, help="The port to listen on. Default: a free one.")
def command(script: Path, port: int) -> None:
    """Serve the Responses API from SCRIPT, until Ctrl-C.

    SCRIPT is a .json or .toml script, or a recorded rollout (.jsonl). Prints the base URL, and
    after it the configuration that uses it. No key is needed.
    """
    trio.run(_serve, load_script(script), port)


async def _serve(script: Script, port: int) -> None:
    await run_server(script, _HOST, port, lambda url: click.echo(_CONFIGURATION.format(url=url)))
