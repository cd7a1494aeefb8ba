"""`turnlog show`: the events of a session, as a timeline or as JSON lines."""

import sys
from collections.abc import AsyncIterator
from textwrap import indent

import click
import trio

from turnlog.actors.ports import EventLog
from turnlog.actors.stored_state.pages import Pages
from turnlog.frontends.cli.json_option import json_option
from turnlog.frontends.cli.output.json_lines import print_json
from turnlog.frontends.cli.output.pager import paged
from turnlog.frontends.cli.output.terminal import columns, style
from turnlog.frontends.cli.session_argument import SESSION
from turnlog.frontends.sessions.address import find_session
from turnlog.frontends.sessions.store import reading
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.errors import event_not_found
from turnlog.protocol.ids import SessionId
from turnlog.protocol.view import record_object
from turnlog.replay.views.event_text import event_text, full_text, traceback_of
from turnlog.replay.views.text import local_time, one_line, printable

_PAGE = 500  # events
_WIDTH = 141  # columns, where stdout is not a terminal
_NARROWEST = 16  # columns of an event's text
_INDENT = " " * 21  # below the kind of an event
_MARKS = {"fact": ("●", "yellow"), "decision": ("→", "blue")}


@click.command("show")
@click.argument("session", metavar="ID", type=SESSION)
@json_option("Print one event a line, with its digest.")
@click.option(
    "--follow", "-f", is_flag=True, help="Continue with what is written later, until Ctrl-C."
)
@click.option(
    "--after",
    type=click.IntRange(min=0),
    default=0,
    metavar="SEQ",
    help="Begin after this event.",
)
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="Show at most N events. Default: all."
)
@click.option(
    "--at",
    type=int,
    metavar="SEQ",
    help="Show the session as it was after this event; -1 is the last one, -2 the one "
    "before it. Default: the timeline of all events.",
)
@click.option(
    "--full",
    is_flag=True,
    help="With --at: print the event's text whole, such as the output of a tool, and nothing else.",
)
@click.option(
    "--tree", is_flag=True, help="Show the session's agents and reviews, and what each one cost."
)
@paged
def command(
    session: str,
    as_json: bool,
    follow: bool,
    after: int,
    limit: int | None,
    at: int | None,
    full: bool,
    tree: bool,
) -> None:
    """Show the events of session ID: a fact is marked with a dot, a decision with an arrow.

    With --at, show one event, the state of the session there, what the event changed, and the
    request that the model was sent or would be sent; all of it with --json.

    The timeline cuts long texts. To read one whole, give its number: `turnlog show ID --at 24
    --full` prints the output of the tool that finished there.

    Nothing is claimed or changed: a session that another process runs can be watched.
    """
    if tree and (follow or after or limit is not None or at is not None):
        raise click.UsageError("--tree shows sessions, not events: leave the other options out.")
    if full and (at is None or as_json):
        raise click.UsageError("--full goes with --at SEQ, and without --json.")
    if tree:
        from turnlog.frontends.cli.output.agents_tree import show_tree

        trio.run(lambda: show_tree(session, as_json=as_json))
    elif at is None:
        trio.run(_show, session, as_json, follow, after, limit)
    elif follow or after or limit is not None:
        raise click.UsageError("--at shows one event: leave out --follow, --after and --limit.")
    elif full:
        trio.run(_show_full, session, at)
    else:
        trio.run(_show_at, session, as_json, at)


async def _show_full(prefix: str, at: int) -> None:
    async with reading(prefix) as log:
        session = await find_session(log, prefix)
        head = (await log.head(session)).sequence
        sequence = head + 1 + at if at < 0 else at
        if not 1 <= sequence <= head:
            raise event_not_found(at, head)
        [recorded] = await log.read(session, after=sequence - 1, until=sequence)
    text = full_text(recorded.event)
    click.echo(text, nl=not text.endswith("\n"))


async def _show_at(prefix: str, as_json: bool, at: int) -> None:
    from turnlog.frontends.cli.output.state_at_event import print_state_json, print_state_text
    from turnlog.replay.views.state_at import state_at_event

    async with reading(prefix) as log:
        found = await state_at_event(log, await find_session(log, prefix), at)
    (print_state_json if as_json else print_state_text)(found)


async def _show(prefix: str, as_json: bool, follow: bool, after: int, limit: int | None) -> None:
    show = _show_json if as_json else _show_line
    left = sys.maxsize if limit is None else limit
    async with reading(prefix) as log:
        session = await find_session(log, prefix)
        events = log.follow(session, after=after) if follow else _stored(log, session, after, left)
        day = ""
        async for recorded in events:
            if not as_json and (today := f"{local_time(recorded.time_us):%Y-%m-%d}") != day:
                day = today
                click.echo(style(day, bold=True))
            show(recorded)
            left -= 1
            if not left:
                return


async def _stored(
    log: EventLog, session: SessionId, after: int, limit: int
) -> AsyncIterator[Recorded]:
    """Yield the events that there are now; before damage is reported, all that precede it."""
    async for page in Pages(log, session, after=after, at_once=min(limit, _PAGE)):
        for recorded in page:
            yield recorded


def _show_json(recorded: Recorded) -> None:
    print_json(record_object(recorded))


def _show_line(recorded: Recorded) -> None:
    mark, colour = _MARKS[recorded.role]
    time = style(f"{local_time(recorded.time_us):%H:%M:%S.%f}"[:-3], dim=True)
    place = style(f"{recorded.sequence:>5} {mark}", fg=colour)
    room = columns(sys.stdout, _WIDTH) - len(_INDENT) - len(f"{recorded.kind:<19} ")
    text = one_line(event_text(recorded.event), max(_NARROWEST, room))
    click.echo(f"{time} {place} {recorded.kind:<19} {text}".rstrip())
    if trace := traceback_of(recorded.event):
        click.echo(style(indent(printable(trace.rstrip()), _INDENT), dim=True))
