"""Text for people: on one line, without what a terminal would obey, no longer than it should be."""

from datetime import datetime
from typing import Final

from turnlog.protocol.times import utc

_KEPT: Final = "\n\t"


def one_line(text: str, width: int) -> str:
    """Return `text` in at most `width` characters, its white space as single blanks."""
    # Before the rest is looked at, what cannot be shown is dropped: it may be a megabyte.
    line = " ".join(printable(text[: 8 * width]).split())
    if len(line) > width or len(text) > 8 * width:
        return line[: width - 1] + "…"
    return line


def escaped(text: str, width: int | None = None) -> str:
    r"""Return `text` on one line, its line breaks as \n and \r.

    Args:
        width: characters that it may have. None: any number.
    """
    line = text.replace("\r", "\\r").replace("\n", "\\n")
    return line if width is None or len(line) <= width else line[: width - 1] + "…"


def printable(text: str) -> str:
    """Return `text` with every control character, escape sequences too, made visible."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character in _KEPT else "\N{REPLACEMENT CHARACTER}"
        for character in text
    )


def excerpt(text: str, lines: int, width: int) -> str:
    """Return the first `lines` lines, each cut to `width`; then how many are left out."""
    found = text[: lines * width * 4].rstrip("\n").split("\n")
    shown = [line if len(line) <= width else line[: width - 1] + "…" for line in found[:lines]]
    left = text.rstrip("\n").count("\n") + 1 - len(shown)
    if left > 0:
        shown.append(f"… {left} more lines")
    return "\n".join(shown)


def counted(number: int, noun: str) -> str:
    """Return how many there are of what `noun` names."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def local_time(time_us: int) -> datetime:
    """Return a time of the log, in the time zone of this machine."""
    return utc(time_us).astimezone()
