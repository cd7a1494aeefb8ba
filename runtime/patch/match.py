"""Finding a run of lines in a file, more and more loosely. Pure."""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate

_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"
_SINGLE_QUOTES = "\u2018\u2019\u201a\u201b"
_DOUBLE_QUOTES = "\u201c\u201d\u201e\u201f"
_SPACES = "\u00a0\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_PLAIN = str.maketrans(
    dict.fromkeys(_DASHES, "-")
    | dict.fromkeys(_SINGLE_QUOTES, "'")
    | dict.fromkeys(_DOUBLE_QUOTES, '"')
    | dict.fromkeys(_SPACES, " ")
    | {"\ufeff": ""}  # a byte order mark, which tools that print a file may show or not
)


def plain(line: str) -> str:
    """Return `line` without outer blanks, its typographic dashes, quotes and spaces as ASCII."""
    return line.strip() if line.isascii() else line.translate(_PLAIN).strip()


PASSES: tuple[Callable[[str], str], ...] = (str, str.rstrip, str.strip, plain)


class LineFinder:
    """Finds runs of lines in `lines`, none of which may hold a line feed.

    Each pass joins the normalised lines to one string and lets `str.find` look for the joined run:
    it is linear, so a search costs at most about 5 ns a character and pass, whatever the input.
    `scanned` counts the characters that searches went over, for a caller that limits them.

    Source: passes and their order as in Codex's apply_patch.
    """

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = lines
        self.scanned: int = 0
        self._passes: list[tuple[str, array[int]]] = []

    def find(self, wanted: Sequence[str], start: int, *, at_end: bool = False) -> int | None:
        """Return the index of the first line of the first run at `start` or later, or None.

        An exact run anywhere wins over a loose one that comes earlier. With `at_end` the only
        place looked at is the end of the file. `wanted` must not be empty.
        """
        last = len(self.lines) - len(wanted)
        if at_end:
            start = max(start, last)
        if start > last:
            return None
        for number, normalise in enumerate(PASSES):
            text, offsets = self._pass(number)
            needle = _joined(map(normalise, wanted))
            found = text.find(needle, offsets[start])
            self.scanned += (found if found >= 0 else len(text)) - offsets[start] + len(needle)
            if found >= 0:
                return bisect_left(offsets, found)
        return None

    def _pass(self, number: int) -> tuple[str, "array[int]"]:
        """Return every line with a line feed before and after it, and the offsets of the former."""
        while len(self._passes) <= number:
            normalised = list(map(PASSES[len(self._passes)], self.lines))
            lengths = (len(line) + 1 for line in normalised)
            offsets = array("Q", accumulate(lengths, initial=0))
            self._passes.append((_joined(normalised), offsets))
        return self._passes[number]


def _joined(lines: Iterable[str]) -> str:
    return "\n".join(["", *lines, ""])
