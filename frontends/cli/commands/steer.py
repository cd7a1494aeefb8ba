"""`turnlog steer`: say something to a turn that runs."""

import click
import trio

from turnlog.frontends.cli.session_argument import SESSION
from turnlog.protocol.events import InputQueued, TurnOpened
from turnlog.protocol.ops import TextInput, UserInput


@click.command("steer")
@click.argument("session", metavar="ID", type=SESSION)
@click.argument("text")
@click.option(
    "--queue",
    is_flag=True,
    help="Do not add TEXT to the turn that runs: begin a turn of its own with it, after that one.",
)
def command(session: str, text: str, queue: bool) -> None:
    """Say TEXT to session ID, which another process runs.

    It goes with the turn's next request to the model. Where a turn cannot be steered, or with
    --queue, it waits for a turn of its own. If that process does not answer, TEXT stays in the
    session's inbox: whoever runs the session next takes it.
    """
    from turnlog.frontends.cli.operate import say

    if not text.strip():
        raise click.UsageError("TEXT is empty.")
    step = trio.run(say, session, UserInput((TextInput(text),), queue))
    for recorded in step:
        match recorded.event:
            case InputQueued(until="request"):
                said = "It goes with the next request to the model."
            case InputQueued():
                said = "It waits for a turn of its own, after the one that runs."
            case TurnOpened():
                said = "A turn began with it."
            case _:
                continue
        click.echo(said, err=True)
        break
