"""`turnlog compact`: replace a session's conversation by a summary of it."""

import click
import trio

from turnlog.frontends.cli.json_option import json_option
from turnlog.frontends.cli.output.json_lines import print_json
from turnlog.frontends.cli.session_argument import SESSION
from turnlog.frontends.cli.settings_options import settings_options
from turnlog.frontends.sessions.settings import ChosenSettings
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import Failed
from turnlog.protocol.events import Compacted, CompactionGivenUp
from turnlog.protocol.ops import Compact
from turnlog.protocol.view import record_object

_FAILURE_PREFIX = "the conversation stays as it is"


@click.command("compact")
@click.argument("session", metavar="ID", type=SESSION)
@json_option("Print the event, as `show --json` does.")
@settings_options
def command(session: str, as_json: bool, chosen: ChosenSettings) -> None:
    """Have the model sum up session ID, and continue from the summary.

    What it replaces stays in the log: `turnlog history ID --at SEQ` shows it, and `turnlog fork`
    branches from it. Where a process runs the session, it is done before its next request.
    """
    from turnlog.frontends.cli.operate import operate

    for recorded in trio.run(
        lambda: operate(session, Compact(), failure_prefix=_FAILURE_PREFIX, chosen=chosen)
    ):
        if as_json and isinstance(recorded.event, Compacted | CompactionGivenUp):
            print_json(record_object(recorded))
            return
        match recorded.event:
            case Compacted() as done:
                click.echo(
                    f"{done.tokens_before:,} tokens became about {done.tokens_after:,} "
                    f"({done.method}, {done.replaced} parts)."
                )
                return
            case CompactionGivenUp(why=why):
                click.echo(f"Nothing was changed: {why}.")
                return
            case _:
                pass
    raise Failed(ErrorCode.NOT_DONE, f"{_FAILURE_PREFIX}: the turn ended before")
