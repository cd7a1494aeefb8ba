"""`turnlog diff`: where two sessions part, and how what follows differs."""

import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import click
import trio

from turnlog.frontends.cli.errors import DIFFERENT, DONE
from turnlog.frontends.cli.json_option import json_option
from turnlog.frontends.cli.output.difference_text import difference_object, show_differences
from turnlog.frontends.cli.output.json_lines import print_json
from turnlog.frontends.cli.output.pager import paged
from turnlog.frontends.cli.output.terminal import columns, secho, style
from turnlog.frontends.cli.session_argument import SESSION
from turnlog.frontends.sessions.address import find_session
from turnlog.frontends.sessions.source import names_file, read_file
from turnlog.frontends.sessions.store import reading
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.view import record_object
from turnlog.replay.views.diff import (
    Alike,
    LoadedSession,
    Pair,
    SessionDiff,
    Source,
    StoredSession,
    compare,
)
from turnlog.replay.views.event_text import event_text
from turnlog.replay.views.text import counted, one_line

_WIDTH: Final = 129  # columns, where stdout is not a terminal
_NARROWEST: Final = 20  # columns of an event's text
_FIELDS: Final = 8  # of a changed event that are shown
_SIGNS: Final = {"changed": ("~", "yellow"), "removed": ("-", "red"), "added": ("+", "green")}


@click.command("diff")
@click.argument("left", metavar="A", type=SESSION)
@click.argument("right", metavar="B", type=SESSION)
@json_option("Print JSON lines: a summary, then the whole timeline.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=100,
    help="Print at most N lines of the timeline; --json prints all.",
)
@paged
def command(left: str, right: str, as_json: bool, limit: int) -> int:
    """Show where sessions A and B part, and how the events after that place differ.

    A and B are ids, or files of `turnlog export`. Events that say the same are folded, whatever
    their ids and times: - is in A only, + in B only, ~ in both, changed.

    The exit code is 0 if the sessions say the same, 4 if they differ, and 1 for an error.
    """
    return trio.run(_diff, left, right, as_json, limit)


async def _diff(left: str, right: str, as_json: bool, limit: int) -> int:
    async with _sources(left, right) as (one, other):
        found = await compare(one, other)
        await (_print_json(found) if as_json else _print(found, limit))
    return DIFFERENT if found.is_different else DONE


@asynccontextmanager
async def _sources(left: str, right: str) -> AsyncGenerator[tuple[Source, Source]]:
    """Open both sessions: a file if there is one of this name, or else out of the store."""
    async with AsyncExitStack() as stack:
        files = [_file(name) for name in (left, right)]
        if None in files:
            log = await stack.enter_async_context(reading(left if files[0] is None else right))
            stored = [
                found or await StoredSession.open(log, await find_session(log, name))
                for name, found in zip((left, right), files, strict=True)
            ]
            yield stored[0], stored[1]
        else:
            one, other = files
            assert one is not None
            assert other is not None
            yield one, other


def _file(name: str) -> LoadedSession | None:
    if not names_file(name):
        return None
    _, records = read_file(name)
    return LoadedSession(name, records)


# --- for programs -----------------------------------------------------------------------------


async def _print_json(found: SessionDiff) -> None:
    print_json(
        {
            "left": found.left.name,
            "right": found.right.name,
            "relation": found.relation,
            "common": found.common,
            "first_difference": found.first_difference,
            "left_events": found.left.events,
            "right_events": found.right.events,
            **{name: found.count(name) for name in ("same", "changed", "removed", "added")},
        }
    )
    async for entry in found.timeline():
        print_json(_entry_object(entry))


def _entry_object(entry: Alike | Pair) -> dict[str, Any]:
    if isinstance(entry, Alike):
        return {"change": "same", "left": entry.left, "right": entry.right}
    return {
        "change": entry.change,
        "left": record_object(entry.left) if entry.left else None,
        "right": record_object(entry.right) if entry.right else None,
        "differences": [difference_object(change) for change in entry.differences],
    }


# --- for people -------------------------------------------------------------------------------


async def _print(found: SessionDiff, limit: int) -> None:
    for sign, colour, source in (("-", "red", found.left), ("+", "green", found.right)):
        events = style(counted(source.events, "event"), dim=True)
        click.echo(f"{style(sign, fg=colour)} {source.name}  {events}")
    click.echo(_verdict(found))
    if not found.is_different:
        return
    click.echo()
    shown = 0
    async for entry in found.timeline():
        if shown == limit:
            secho("… and more: --limit shows more lines, --json everything.", dim=True)
            return
        _show(entry)
        shown += 1


def _verdict(found: SessionDiff) -> str:
    common, first = found.common, found.common + 1
    shorter, longer = (
        (found.left, found.right) if common == found.left.events else (found.right, found.left)
    )
    match found.relation:
        case "equal":
            return f"Equal: the same {counted(common, 'event')}, byte by byte."
        case "alike":
            return f"They say the same, under other ids or at other times from event {first} on."
        case "beginning":
            more = counted(longer.events - common, "event")
            names = shorter.name, longer.name
            return f"{names[0]} is the beginning of {names[1]}, which continues for {more}."
        case "unrelated":
            return "They have nothing in common."
        case "parted":
            counts = ", ".join(
                f"{found.count(name):,} {name}"
                for name in ("same", "changed", "removed", "added")
                if found.count(name)
            )
            begin = f"Equal: the first {counted(common, 'event')}. " if common else ""
            return f"{begin}They part at event {first}; from there: {counts}."


def _show(entry: Alike | Pair) -> None:
    if isinstance(entry, Alike):
        places = f"{_span(*entry.left):>7} {_span(*entry.right):>7}"
        say = "says" if entry.events == 1 else "say"
        secho(f"= {places}  {entry.events:,} that {say} the same", dim=True)
        return
    sign, colour = _SIGNS[entry.change]
    places = f"{_place(entry.left):>7} {_place(entry.right):>7}"
    recorded = entry.right or entry.left
    assert recorded is not None  # one of them is there
    before = f"{sign} {places}  {recorded.kind:<19} "
    room = columns(sys.stdout, _WIDTH) - len(before)
    text = one_line(event_text(recorded.event), max(_NARROWEST, room))
    head = style(f"{sign} {places}", fg=colour)
    click.echo(f"{head}  {recorded.kind:<19} {text}".rstrip())
    show_differences(entry.differences, indent=20, most=_FIELDS)


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _place(recorded: Recorded | None) -> str:
    return str(recorded.sequence) if recorded else ""
