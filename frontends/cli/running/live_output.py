"""What commands print while they run, cut into whole lines for a person. Pure."""

from typing import Final

import attrs

from turnlog.replay.views.text import excerpt

MOST_LINES: Final = 200  # of one command that are shown while it runs
_EXCERPT_LINES: Final = 12  # of a command that was not shown while it ran
_WIDTH: Final = 160  # columns


@attrs.define(eq=False)
class LiveOutput:
    """The lines of each command that runs, by its item, that were shown already."""

    _begun: dict[str, str] = attrs.field(factory=dict[str, str])  # lines without an end so far
    _lines: dict[str, int] = attrs.field(factory=dict[str, int])  # shown

    def take(self, item: str, text: str) -> str:
        """Return the whole lines that are to be shown now that a command has printed `text`."""
        *lines, rest = (self._begun.get(item, "") + text).split("\n")
        self._begun[item] = rest[-_WIDTH * 4 :]
        return "\n".join(self._shown(item, lines))

    def finish(self, item: str, output: str) -> str:
        """Return what is still to be shown of a command that has ended.

        Args:
            output: all that it printed, or what was kept of that.
        """
        rest, before = self._begun.pop(item, ""), self._lines.pop(item, 0)
        if not (rest or before):
            return excerpt(output, _EXCERPT_LINES, _WIDTH) if output.strip() else ""
        self._lines[item] = before
        lines = self._shown(item, [rest] if rest else [])
        left = output.rstrip("\n").count("\n") + 1 - self._lines.pop(item)
        return "\n".join([*lines, *([f"… {left} more lines"] if left > 0 else [])])

    def _shown(self, item: str, lines: list[str]) -> list[str]:
        before = self._lines.get(item, 0)
        shown = [_fitting(line) for line in lines[: max(0, MOST_LINES - before)]]
        self._lines[item] = before + len(shown)
        return shown


def _fitting(line: str) -> str:
    """Return a line as it looks in the end: a progress bar writes one over and over again."""
    last = line.rstrip("\r").rpartition("\r")[2]
    return last if len(last) <= _WIDTH else last[: _WIDTH - 1] + "…"
