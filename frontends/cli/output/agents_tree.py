"""`turnlog show --tree`: a session, its sub-agents and reviews, and what each of them cost."""

from typing import Any

import attrs
import click

from turnlog.actors.stored_state.fold import folded
from turnlog.frontends.cli.commands.tree import lines
from turnlog.frontends.cli.output.json_lines import print_json
from turnlog.frontends.cli.output.terminal import secho
from turnlog.frontends.sessions.address import find_session
from turnlog.frontends.sessions.status import Standing, standings
from turnlog.frontends.sessions.store import reading
from turnlog.protocol.ids import SessionId
from turnlog.protocol.usage import TokenUsage
from turnlog.replay.views.tree import Node, fork_tree


async def show_tree(prefix: str, *, as_json: bool) -> None:
    """Print the tree of session `prefix`: one line each, with tokens, and their sum."""
    async with reading(prefix) as log:
        session = await find_session(log, prefix)
        nodes = _below(await fork_tree(log, session), session)
        standing = await standings(log, (node.summary for node in nodes))
        usage = {session: (await folded(log, session)).usage for session in standing}
    if as_json:
        for node in nodes:
            session = node.summary.session
            row = _row(node, usage[session], standing[session])
            print_json(row)
        return
    notes = {one: _tokens(spent) for one, spent in usage.items()}
    for line in lines(nodes, standing, notes=notes):
        click.echo(line)
    if len(nodes) > 1:
        secho(f"{len(nodes)} sessions: {_tokens(sum(usage.values(), TokenUsage()))}", dim=True)


def _below(nodes: list[Node], session: SessionId) -> list[Node]:
    """Return a session with the agents and reviews below it, not its forks."""
    kept: dict[SessionId, int] = {}
    found: list[Node] = []
    for node in nodes:
        summary = node.summary
        if summary.session == session:
            depth = 0
        elif summary.spawned_by is not None and summary.spawned_by in kept:
            depth = kept[summary.spawned_by] + 1
        else:
            continue
        kept[summary.session] = depth
        found.append(attrs.evolve(node, depth=depth))
    return [attrs.evolve(node, is_last=_is_last(found, place)) for place, node in enumerate(found)]


def _is_last(nodes: list[Node], place: int) -> bool:
    """Say whether no sibling of a node comes after it."""
    depth = nodes[place].depth
    later = (node.depth for node in nodes[place + 1 :] if node.depth <= depth)
    return next(later, -1) < depth


def _tokens(usage: TokenUsage) -> str:
    return f"{usage.input_tokens:,} tokens in, {usage.output_tokens:,} out"


def _row(node: Node, usage: TokenUsage, standing: Standing) -> dict[str, Any]:
    summary = node.summary
    return {
        "id": summary.session,
        "depth": node.depth,
        "kind": summary.originator,
        "spawned_by": summary.spawned_by,
        "title": summary.title,
        "turns": summary.turns,
        "status": standing,
        "usage": usage,
    }
