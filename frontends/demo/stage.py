"""How the demo speaks: chapters, remarks, and the events of a session."""

import shutil
from typing import Final

import click

from turnlog.frontends.cli.output.terminal import secho, style
from turnlog.protocol.envelope import Recorded
from turnlog.replay.views.event_text import event_text

WIDTH: Final = min(100, shutil.get_terminal_size((100, 24)).columns)
_BEFORE_THE_TEXT: Final = 30  # columns: sequence, mark and kind of an event
_MARKS = {"fact": ("●", "yellow"), "decision": ("→", "blue")}


def chapter(number: int, title: str) -> None:
    click.echo()
    secho(f" {number}  {title} ".ljust(WIDTH), bold=True, reverse=True)


def remark(text: str) -> None:
    click.echo(click.wrap_text(text, WIDTH, "  ", "  "))


def command(*words: str) -> None:
    secho(click.wrap_text(" ".join(words), WIDTH, "  $ ", "    "), fg="cyan")


def good(text: str) -> None:
    secho(click.wrap_text(text, WIDTH, "  ✓ ", "    "), fg="green")


def event(recorded: Recorded) -> None:
    """Show one event of the log: a fact is marked with a dot, a decision with an arrow."""
    mark, colour = _MARKS[recorded.role]
    place = style(f"  {recorded.sequence:>4} {mark} ", fg=colour)
    text = " ".join(event_text(recorded.event).split())
    room = WIDTH - _BEFORE_THE_TEXT
    shown = text if len(text) <= room else f"{text[: room - 1]}…"
    click.echo(f"{place}{recorded.kind:<20} {shown}")


def said(output: str) -> None:
    """Show what a command printed, each line of it in full."""
    for line in output.splitlines():
        click.echo(click.wrap_text(line, WIDTH, "    ", "      ") if line else "")
