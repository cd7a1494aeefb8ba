"""A session in lines of text, for messages of tests: one event a line. Pure."""

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from turnlog.protocol.envelope import Recorded
from turnlog.replay.views.event_text import event_text
from turnlog.replay.views.text import one_line

WIDTH: Final = 96  # characters of a line's text


def timeline(
    records: Iterable[Recorded], *, marked: Collection[int] = (), last: int | None = None
) -> str:
    """Return one line for each event: its sequence, its kind, and what it says.

    Args:
        marked: sequences whose lines begin with an arrow.
        last: show at most so many of the last events.
    """
    shown: Sequence[Recorded] = list(records)
    hidden = 0 if last is None else max(len(shown) - last, 0)
    lines = [f"   ... {hidden} events before"] if hidden else []
    for recorded in shown[hidden:]:
        mark = "->" if recorded.sequence in marked else "  "
        text = one_line(event_text(recorded.event), WIDTH)
        lines.append(f"{mark} {recorded.sequence:>4} {recorded.kind:<19} {text}".rstrip())
    return "\n".join(lines)
