"""Structural differences, for programs and for people."""

from collections.abc import Sequence
from typing import Any, Final

import click

from turnlog.frontends.cli.output.terminal import secho, style
from turnlog.replay.views.structure import ABSENT, Difference, excerpts, path_text

_WIDTH: Final = 90  # of a value that is shown


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
        left, right = excerpts(change.left, change.right, _WIDTH)
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
