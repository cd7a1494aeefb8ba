"""Structural differences, for programs and for people."""

import sys
from collections.abc import Sequence
from typing import Any, Final

import click

from turnlog.frontends.cli.output.terminal import columns, secho, style
from turnlog.replay.views.structure import ABSENT, Difference, excerpts, path_text

_WIDTH: Final = 94  # columns of a value, where stdout is not a terminal
_NARROWEST: Final = 20


def difference_object(change: Difference) -> dict[str, Any]:
    """Return a difference as an object; a side that is absent has no field."""
    shown: dict[str, Any] = {"path": list(change.path)}
    for side, value in (("left", change.left), ("right", change.right)):
        if value is not ABSENT:
            shown[side] = value
    return shown


def show_differences(changes: Sequence[Difference], *, indent: int, most: int) -> None:
    """Print where two values differ, both sides of each place below each other."""
    margin = " " * indent
    for change in changes[:most]:
        room = columns(sys.stdout, _WIDTH + indent) - indent - len("  - ")
        left, right = excerpts(change.left, change.right, max(_NARROWEST, room))
        click.echo(f"{margin}{path_text(change.path)}")
        for sign, colour, value, text in (
            ("-", "red", change.left, left),
            ("+", "green", change.right, right),
        ):
            if value is not ABSENT:
                shown = " ".join(text.split("\n"))
                click.echo(f"{margin}  {style(f'{sign} {shown}', fg=colour)}")
    if len(changes) > most:
        secho(f"{margin}… and {len(changes) - most} more places; see --json.", dim=True)
