"""`turnlog tree`: which session branched from which, and where."""

import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import attrs
import click
import trio
from rich.cells import cell_len, set_cell_size

from turnlog.frontends.cli.json_option import json_option
from turnlog.frontends.cli.output.json_lines import print_json
from turnlog.frontends.cli.output.pager import paged
from turnlog.frontends.cli.output.terminal import columns, style
from turnlog.frontends.cli.session_argument import SESSION
from turnlog.frontends.sessions.address import find_session, short_length
from turnlog.frontends.sessions.status import Standing, standings
from turnlog.frontends.sessions.store import has_store, reading, require_store, store_path
from turnlog.protocol.ids import SessionId
from turnlog.protocol.times import rfc3339
from turnlog.replay.views.text import counted, local_time, one_line
from turnlog.replay.views.tree import Node, fork_tree

_TITLE_CELLS: Final = 44
_FEWEST_CELLS: Final = 16  # of a title, on a narrow terminal
_WIDTH: Final = 200  # columns, where stdout is not a terminal
_SHOWN_DEPTH: Final = 12  # branches that are drawn before a session; how many more is said


@click.command("tree")
@click.argument("session", metavar="[ID]", type=SESSION, required=False)
@json_option("Print one JSON object a line, parents first.")
@paged
def command(session: str | None, as_json: bool) -> None:
    """Show which sessions were forked from which, and at which turn and event; and their agents.

    With ID, only the family of that session: its oldest ancestor and all that came from it.
    """
    if session is not None:
        require_store(session)
    wanted, nodes, standing = trio.run(_tree, session) if has_store() else (None, [], {})
    if as_json:
        for node in nodes:
            row = _row(node, standing[node.summary.session])
            print_json(row)
    elif nodes:
        for line in lines(nodes, standing, marked=wanted):
            click.echo(line)
    else:
        click.echo(f"There are no sessions in {store_path()}. `turnlog exec` begins one.", err=True)


async def _tree(
    prefix: str | None,
) -> tuple[SessionId | None, list[Node], dict[SessionId, Standing]]:
    async with reading(prefix) as log:
        session = await find_session(log, prefix) if prefix is not None else None
        nodes = await fork_tree(log, session)
        return session, nodes, await standings(log, (node.summary for node in nodes))


def _row(node: Node, standing: Standing) -> dict[str, Any]:
    summary, link = node.summary, node.link
    return {
        "id": summary.session,
        "title": summary.title,
        "created": rfc3339(summary.created_us),
        "updated": rfc3339(summary.updated_us),
        "turns": summary.turns,
        "events": node.events,
        "status": standing,
        "depth": node.depth,
        "link": link.kind if link else None,
        "parent": link.parent if link else None,
        "parent_is_gone": node.orphan,
        "cut": link.event if link else 0,
        "cut_turn": node.cut_turn,
    }


@attrs.frozen
class _Line:
    branches: str
    session: str
    title: str
    rest: str
    is_marked: bool
    repeats_title: bool


def lines(
    nodes: Sequence[Node],
    standing: Mapping[SessionId, Standing] = MappingProxyType({}),
    *,
    marked: SessionId | None = None,
    notes: Mapping[SessionId, str] = MappingProxyType({}),
) -> list[str]:
    """Return the tree as lines of text, styled, in columns that allow for wide characters.

    Args:
        standing: of the sessions. Without one, it is what the summary says.
        notes: what is to be said of a session besides.
    """
    length = short_length(node.summary.session for node in nodes)
    ends = [_rest(node, standing, notes.get(node.summary.session)) for node in nodes]
    drawn = _branches(nodes)
    head = max(map(cell_len, drawn)) + length
    room = columns(sys.stdout, _WIDTH) - head - max(map(cell_len, ends)) - len("    ")
    cells = min(_TITLE_CELLS, max(_FEWEST_CELLS, room))
    rows = [
        _Line(
            branches,
            node.summary.session[-length:],
            _fitting(one_line(node.summary.name or node.summary.title, cells), cells),
            rest,
            node.summary.session == marked,
            node.depth > 0 and node.summary.spawned_by is None,
        )
        for node, branches, rest in zip(nodes, drawn, ends, strict=True)
    ]
    title = max(cell_len(row.title) for row in rows)
    return [_styled(row, head, title) for row in rows]


def _styled(row: _Line, head: int, title: int) -> str:
    padding = " " * (head - cell_len(row.branches) - len(row.session))
    session = style(row.session, bold=row.is_marked or None, fg="green" if row.is_marked else None)
    named = style(set_cell_size(row.title, title), dim=row.repeats_title or None)
    branches = style(row.branches, dim=True)
    return f"{branches}{session}{padding}  {named}  {style(row.rest, dim=True)}"


def _fitting(title: str, cells: int) -> str:
    """Return a title in at most so many cells of a terminal: a wide character takes two."""
    if cell_len(title) <= cells:
        return title
    return set_cell_size(title.removesuffix("…"), cells - 1).rstrip() + "…"


def _rest(node: Node, standing: Mapping[SessionId, Standing], note: str | None) -> str:
    summary, link = node.summary, node.link
    parts = [counted(summary.turns, "turn"), counted(node.events, "event")]
    parts.append(standing.get(summary.session, summary.status))
    parts.append(f"{local_time(summary.updated_us or summary.created_us):%Y-%m-%d %H:%M}")
    if link is not None:
        turn = f"turn {node.cut_turn}, " if node.cut_turn else ""
        of = f" of {link.parent} (gone)" if node.orphan else ""
        place = f" at {turn}event {link.event}" if link.event else ""
        kind = summary.originator if link.kind == "spawned" else link.kind
        parts.insert(0, f"{kind}{of}{place}")
    return " · ".join([*parts, note] if note else parts)


def _branches(nodes: Sequence[Node]) -> list[str]:
    """Return what is drawn before each node. Deep ones begin with how many levels are not drawn."""
    drawn: list[str] = []
    stems: list[str] = []  # by depth: whether a sibling of the ancestor there is still to come
    for node in nodes:
        if not node.depth:
            drawn.append("")
            continue
        del stems[node.depth - 1 :]
        hidden = max(0, node.depth - _SHOWN_DEPTH)
        before = f"⋯{hidden} " if hidden else ""
        drawn.append(f"{before}{''.join(stems[hidden:])}{'└─ ' if node.is_last else '├─ '}")
        stems.append("   " if node.is_last else "│  ")
    return drawn
