"""`turnlog sessions`: the list of sessions."""

import sys
from collections.abc import Sequence
from typing import Any

import click
import trio
from msgspec import Struct

from turnlog.frontends.cli.json_option import json_option
from turnlog.frontends.cli.output.json_lines import print_json
from turnlog.frontends.cli.output.pager import paged
from turnlog.frontends.cli.output.terminal import columns, secho, style
from turnlog.frontends.sessions.address import is_listed, short_length
from turnlog.frontends.sessions.status import MEANINGS, Standing, standings
from turnlog.frontends.sessions.store import has_store, reading, store_path, working_folder
from turnlog.protocol.summary import SessionSummary
from turnlog.protocol.times import rfc3339
from turnlog.replay.views.text import local_time, one_line

_WIDTH = 120  # columns, where stdout is not a terminal
_NARROWEST = 10  # columns of a title
_MOST = 100_000  # sessions that are looked through for those that are listed
_STATUSES = "\b\nStatus:\n" + "\n".join(f"  {name:12} {what}" for name, what in MEANINGS.items())


class _Wanted(Struct, frozen=True):
    """Which sessions are listed."""

    folder: str | None  # those that work there; None: wherever they work
    statuses: frozenset[Standing]  # none: whatever their status is
    text: str  # in their title or name, in either case of letters
    unlisted: bool  # also archived ones, agents and reviews

    def allows(self, summary: SessionSummary) -> bool:
        """Say whether a session is listed, as far as its summary tells."""
        text = f"{summary.name}\n{summary.title}".casefold()
        return (
            (self.unlisted or is_listed(summary))
            and self.folder in (None, summary.cwd)
            and self.text.casefold() in text
        )


def _statuses(_: click.Context, __: click.Parameter, values: Sequence[str]) -> frozenset[Standing]:
    return frozenset(status for status in MEANINGS if status.replace(" ", "-") in values)


@click.command("sessions", epilog=_STATUSES)
@json_option("Print one JSON object a line.")
@click.option(
    "--all", "show_all", is_flag=True, help="List archived sessions, agents and reviews, too."
)
@click.option("--here", is_flag=True, help="List only sessions that work in the current folder.")
@click.option(
    "--status",
    "statuses",
    type=click.Choice([status.replace(" ", "-") for status in MEANINGS]),
    multiple=True,
    callback=_statuses,
    help="List only sessions of this status. May be repeated. Default: every status.",
)
@click.option(
    "--grep",
    "text",
    default="",
    metavar="TEXT",
    help="List only sessions with TEXT in their name or title, in upper or lower case. "
    "Default: all of them.",
)
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", default=50, help="List at most N sessions."
)
@paged
def command(
    as_json: bool,
    show_all: bool,
    here: bool,
    statuses: frozenset[Standing],
    text: str,
    limit: int,
) -> None:
    """List sessions, the one with the newest turn first.

    Without options, @1 or @last is the first of the list, and @2 the next, in every command that
    takes a session.
    """
    wanted = _Wanted(working_folder(None) if here else None, statuses, text, show_all)
    rows, length = trio.run(_sessions, wanted, limit) if has_store() else ([], 0)
    if as_json:
        for summary, standing in rows:
            print_json(_row(summary, standing))
    elif rows:
        secho(f"{'ID':{length}}  {'UPDATED':16}  TURNS  {'STATUS':11}  TITLE", bold=True)
        width = columns(sys.stdout, _WIDTH)
        for summary, standing in rows:
            click.echo(_line(summary, standing, length, width))
    elif here or statuses or text:
        click.echo("No session fits. `turnlog sessions` lists all.", err=True)
    else:
        click.echo(f"There are no sessions in {store_path()}. `turnlog exec` begins one.", err=True)


async def _sessions(
    wanted: _Wanted, limit: int
) -> tuple[list[tuple[SessionSummary, Standing]], int]:
    """Return the sessions that are listed, and how many characters of an id tell all apart."""
    rows: list[tuple[SessionSummary, Standing]] = []
    async with reading() as log:
        stored = await log.sessions(limit=_MOST)
        for summary in stored:
            if not wanted.allows(summary):
                continue
            standing = (await standings(log, [summary]))[summary.session]
            if not wanted.statuses or standing in wanted.statuses:
                rows.append((summary, standing))
            if len(rows) == limit:
                break
    return rows, short_length(summary.session for summary in stored)


def _row(summary: SessionSummary, standing: Standing) -> dict[str, Any]:
    return {
        "id": summary.session,
        "title": summary.title,
        "cwd": summary.cwd,
        "model": summary.model,
        "created": rfc3339(summary.created_us),
        "updated": rfc3339(summary.updated_us),
        "turns": summary.turns,
        "status": standing,
        "parent": summary.parent,
        "cut": summary.cut,
        "spawned_by": summary.spawned_by,
        "name": summary.name,
        "archived": summary.archived,
    }


def _line(summary: SessionSummary, standing: Standing, length: int, width: int) -> str:
    updated = f"{local_time(summary.updated_us):%Y-%m-%d %H:%M}"
    row = f"{summary.session[-length:]}  {updated:16}  {summary.turns:5}  {standing:11}  "
    note = _note(summary, length)
    room = max(_NARROWEST, width - len(row) - len(note))
    return row + one_line(summary.name or summary.title, room) + style(note, dim=True)


def _note(summary: SessionSummary, length: int) -> str:
    """Return what is said of a session after its title."""
    note = "  (archived)" if summary.archived else ""
    if summary.spawned_by is not None:
        note += f"  ({summary.originator} of {summary.spawned_by[-length:]})"
    if summary.parent is not None:
        note += f"  (fork of {summary.parent[-length:]} at {summary.cut})"
    return note
