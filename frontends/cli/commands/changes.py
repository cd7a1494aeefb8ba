"""`turnlog changes`: what a turn's patches changed, as one diff."""

import sys

import click
import trio

from turnlog.actors.ports import EventLog
from turnlog.actors.stored_state.fold import folded
from turnlog.actors.stored_state.pages import Pages
from turnlog.actors.turn_diff.changes import TurnChanges
from turnlog.frontends.cli.output.pager import paged
from turnlog.frontends.cli.session_argument import SESSION
from turnlog.frontends.sessions.address import find_session
from turnlog.frontends.sessions.store import reading
from turnlog.protocol.envelope import UnknownEvent
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import NotFound
from turnlog.protocol.ids import SessionId

_PAGE = 1000


@click.command("changes")
@click.argument("session", metavar="ID", type=SESSION)
@click.argument("turn", type=click.IntRange(min=1), required=False)
@paged
def command(session: str, turn: int | None) -> None:
    """Show what turn TURN of session ID changed, as a unified diff; by default the last one.

    `git apply` takes it, in the session's folder. What shell commands changed is not in it.
    """
    shown, diff = trio.run(_diff, session, turn)
    sys.stdout.write(diff)
    if not diff:
        click.echo(f"No patch of turn {shown} changed anything.", err=True)


async def _diff(prefix: str, turn: int | None) -> tuple[int, str]:
    async with reading(prefix) as log:
        session = await find_session(log, prefix)
        state = await folded(log, session)
        turns, last = state.turns, state.marks[-1].turn if state.marks else state.turns
        wanted = last if turn is None else turn
        if not 1 <= wanted <= turns:
            had = f"turns 1 to {turns}" if turns else "no turn yet"
            raise NotFound(
                ErrorCode.TURN_NOT_FOUND, f"there is no turn {wanted}: session {session} has {had}."
            )
        return wanted, (await _changes(log, session, wanted)).diff()


async def _changes(log: EventLog, session: SessionId, turn: int) -> TurnChanges:
    changes = TurnChanges()
    async for page in Pages(log, session):
        for recorded in page:
            if recorded.turn == turn and not isinstance(recorded.event, UnknownEvent):
                changes.take(recorded.event)
        if page[-1].turn > turn:
            break
    return changes
