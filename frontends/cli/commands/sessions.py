"""`turnlog sessions`: the list of sessions."""

import sys
from itertools import islice
from typing import Any

import click
import msgspec
import trio

from turnlog.frontends.cli.output.terminal import secho, style
from turnlog.frontends.sessions.status import Standing, standings
from turnlog.frontends.sessions.store import has_store, reading, store_path
from turnlog.protocol.ids import SessionId
from turnlog.protocol.summary import SessionSummary
from turnlog.replay.views.text import moment, one_line, timestamp

_TITLE_WIDTH = 60
_MOST = 100_000  # sessions that are looked through for those that are listed


@click.command("sessions")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--all", "show_all", is_flag=True, help="Also archived ones, agents and reviews.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many."
)
def command(as_json: bool, show_all: bool, limit: int) -> None:
    """List sessions, the one with the newest turn first."""
    found, standing = trio.run(_sessions, limit, show_all) if has_store() else ([], {})
    if as_json:
        for summary in found:
            row = _row(summary, standing[summary.session])
            sys.stdout.buffer.write(msgspec.json.encode(row) + b"\n")
    elif found:
        secho(f"{'ID':36}  {'UPDATED':16}  TURNS  {'STATUS':7}  TITLE", bold=True)
        for summary in found:
            click.echo(_line(summary, standing[summary.session]))
    else:
        click.echo(f"There are no sessions in {store_path()}. `turnlog exec` begins one.", err=True)


async def _sessions(
    limit: int, show_all: bool
) -> tuple[list[SessionSummary], dict[SessionId, Standing]]:
    async with reading() as log:
        found = await log.sessions(limit=limit if show_all else _MOST)
        listed = (one for one in found if show_all or not (one.archived or one.spawned_by))
        rows = list(islice(listed, limit))
        return rows, await standings(log, rows)


def _row(summary: SessionSummary, standing: Standing) -> dict[str, Any]:
    return {
        "id": summary.session,
        "title": summary.title,
        "cwd": summary.cwd,
        "model": summary.model,
        "created": timestamp(summary.created_us),
        "updated": timestamp(summary.updated_us),
        "turns": summary.turns,
        "status": standing,
        "parent": summary.parent,
        "cut": summary.cut,
        "spawned_by": summary.spawned_by,
        "name": summary.name,
        "archived": summary.archived,
    }


def _line(summary: SessionSummary, standing: Standing) -> str:
    updated = f"{moment(summary.updated_us):%Y-%m-%d %H:%M}"
    title = one_line(summary.name or summary.title, _TITLE_WIDTH)
    if summary.archived:
        title += style("  (archived)", dim=True)
    if summary.spawned_by is not None:
        title += style(f"  ({summary.originator} of {summary.spawned_by[:13]})", dim=True)
    if summary.parent is not None:
        title += style(f"  (fork of {summary.parent[:13]} at {summary.cut})", dim=True)
    return f"{summary.session:36}  {updated:16}  {summary.turns:5}  {standing:7}  {title}"
