"""What `replay` and `check` print of verdicts, and how far they are."""

import shlex
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any, Final

import click
import msgspec

from turnlog.frontends.cli.errors import DIFFERENT, DONE, FAILED
from turnlog.frontends.cli.output.json_lines import print_json
from turnlog.frontends.cli.output.streams import draws_on_stderr
from turnlog.frontends.cli.output.terminal import CLEAR_LINE, style
from turnlog.protocol.errors import with_code
from turnlog.replay.verify.verdict import Totals, Verdict, total
from turnlog.replay.views.text import counted, escaped, printable

_MARKS: Final = {
    "same": ("ok", "green"),
    "accepted": ("accepted", "yellow"),
    "different": ("DIFFERENT", "red"),
    "damaged": ("DAMAGED", "red"),
    "error": ("ERROR", "red"),
}
_MARK_WIDTH: Final = max(len(mark) for mark, _ in _MARKS.values())
Advance = Callable[[int, int | None], None]  # how much is done by now, and of how much


def exit_code(verdicts: Sequence[Verdict]) -> int:
    """Return the exit code: an error goes before a difference or damage."""
    if any(verdict.status == "error" for verdict in verdicts):
        return FAILED
    return DONE if all(verdict.is_good for verdict in verdicts) else DIFFERENT


def verdict_line(verdict: Verdict) -> str:
    """Return a verdict in one line."""
    mark, colour = _MARKS[verdict.status]
    shown = style(f"{mark:<{_MARK_WIDTH}}", fg=colour)
    parts = [counted(verdict.events, "event")]
    if verdict.divergences:
        first = verdict.first["sequence"] if verdict.first else 0
        kinds = "; ".join(f"{count} {kind}" for kind, count in verdict.by_kind.items())
        parts.append(f"from event {first} on: {kinds}")
    if verdict.message:
        parts.append(with_code(_on_one_line(verdict.message), verdict.code))
    return f"{shown} {_on_one_line(verdict.name)}  {', '.join(parts)}"


def _on_one_line(text: str) -> str:
    return printable(escaped(text))


def whole_verdict(verdict: Verdict, start: int = 1) -> str:
    """Return a verdict with its first divergence in full, and a count of the others.

    Args:
        start: sequence from which on divergences were looked for.
    """
    lines = [f"{_on_one_line(verdict.name)}: {_headline(verdict, start)}"]
    if verdict.first is not None:
        lines += ["", verdict.explained]
        others = dict(verdict.by_kind)
        others[verdict.first["label"]] -= 1
        if rest := {kind: count for kind, count in others.items() if count}:
            lines += ["", f"{sum(rest.values())} more:"]
            lines += (f"  {count:>6}  {kind}" for kind, count in rest.items())
    if verdict.message:
        lines += ["", with_code(verdict.message, verdict.code)]
    return "\n".join(lines)


def _headline(verdict: Verdict, start: int) -> str:
    if verdict.status == "damaged" and not verdict.events:
        return "damaged; nothing was compared"
    events = counted(verdict.events, "event")
    differences = counted(verdict.divergences, "difference")
    where = f" from event {start} on" if start > 1 else ""
    before = "damaged; before that " if verdict.status == "damaged" else ""
    return f"{before}{events}, {differences if verdict.divergences else 'no differences'}{where}"


def show_each(
    verdicts: Iterable[Verdict], *, as_json: bool, shown: Callable[[Sequence[Verdict]], None]
) -> int:
    """Print each verdict as it comes, and their summary; return the exit code.

    Args:
        shown: is told all that have been printed, after each.
    """
    printed: list[Verdict] = []
    for verdict in verdicts:
        printed.append(verdict)
        shown(printed)
        if as_json:
            print_json(verdict_object(verdict))
        else:
            click.echo(verdict_line(verdict))
    totals = total(printed)
    if as_json:
        print_json(totals_object(totals))
    else:
        click.echo(totals_lines(totals))
        if first := next((found.name for found in printed if found.status == "different"), None):
            click.echo(f"A difference in full: turnlog replay {_on_one_line(shlex.quote(first))}")
    return exit_code(printed)


def totals_lines(totals: Totals) -> str:
    """Return the summary of many."""
    counts = ", ".join(f"{count} {_MARKS[status][0]}" for status, count in totals.by_status.items())
    sizes = f"{counted(totals.sessions, 'session')}, {counted(totals.events, 'event')}"
    lines = [f"{sizes}: {counts or 'nothing to replay'}"]
    lines += (f"{count:>8}  {kind}" for kind, count in totals.by_kind.items())
    return "\n".join(lines)


def verdict_object(verdict: Verdict) -> dict[str, Any]:
    shown: dict[str, Any] = {"type": "session", **msgspec.to_builtins(verdict)}
    del shown["explained"]
    return shown


def totals_object(totals: Totals) -> dict[str, Any]:
    return {"type": "summary", **msgspec.to_builtins(totals)}


@contextmanager
def progress(what: str) -> Generator[Advance]:
    """Show how far a long work is, on stderr, if that is a terminal; else nothing."""
    if not draws_on_stderr():
        yield lambda done, total: None
        return

    shown = ""

    def advance(done: int, total: int | None) -> None:
        nonlocal shown
        text = f"{what} {100 * done // total}%" if total else f"{what} {done:,}"
        if text != shown:
            shown = text
            click.echo(f"{CLEAR_LINE}{text}", err=True, nl=False)

    try:
        yield advance
    finally:
        click.echo(CLEAR_LINE, err=True, nl=False)
