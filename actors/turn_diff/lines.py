"""Which lines of a text became which lines of another, in time that is near linear. Pure.

Lines that are unique on both sides, and in the same order on both, count as unchanged. They cut
the texts into small gaps (see `patience`). Each gap gets a shortest edit script while a budget
lasts. If no line is unique, a run of lines may be.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from turnlog.actors.turn_diff.patience import Anchor, Gap, anchors, between, trimmed

_SMALL: Final = 1 << 16  # cells (old lines x new lines) of a gap that is not cut further
_LARGE: Final = 400_000_000  # cells of one gap: 50 MB and about 0.1 s
_BUDGET: Final = 8_000_000_000  # cells of all gaps of one file: about 2 s
_LINE_CELLS: Final = 1000  # how many cells take as long as it takes to index a line
_WIDTHS: Final = (1, 8, 32)  # lines of a run that may be unique; the longer only if need be


class Change(NamedTuple):
    """Old lines [old_start, old_end) became new lines [new_start, new_end). Counted from 0."""

    old_start: int
    old_end: int
    new_start: int
    new_end: int


def changes(old: Sequence[str], new: Sequence[str]) -> list[Change]:
    """Return what changed, in order, with at least one unchanged line between two changes.

    Correct for any lines; shortest for small gaps only. A gap that is too much work is one change.
    """
    numbers: dict[str, int] = {}
    ours = [numbers.setdefault(line, len(numbers)) for line in old]
    theirs = [numbers.setdefault(line, len(numbers)) for line in new]
    found: list[Change] = []
    for change in _search(ours, theirs):
        if found and found[-1][1::2] == change[::2]:  # it begins where the last one ends
            last = found.pop()
            change = Change(last.old_start, change.old_end, last.new_start, change.new_end)
        found.append(change)
    return found


def _search(old: list[int], new: list[int]) -> Iterator[Change]:
    gaps: list[Gap] = [(0, len(old), 0, len(new))]
    budget = _BUDGET
    while gaps:
        gap = trimmed(gaps.pop(), old, new)
        a, a_end, b, b_end = gap
        cells = (a_end - a) * (b_end - b)
        if not cells:
            if a < a_end or b < b_end:
                yield Change(*gap)
            continue
        cuts: list[Anchor] = []
        for width in () if cells <= _SMALL else _WIDTHS if cells > _LARGE else _WIDTHS[:1]:
            budget -= _LINE_CELLS * (a_end - a + b_end - b)
            if cuts or budget < 0 or set(old[a:a_end]).isdisjoint(new[b:b_end]):
                break
            cuts = anchors(gap, old, new, width)
        if cuts:
            gaps.extend(reversed(list(between(gap, cuts))))
        elif cells > min(_LARGE, budget):
            yield Change(*gap)
        else:
            budget -= cells
            yield from _shortest(gap, old, new)


def _shortest(gap: Gap, old: list[int], new: list[int]) -> Iterator[Change]:
    from rapidfuzz.distance import Indel  # 15 ms, and not every turn changes a file

    a, a_end, b, b_end = gap
    steps = Indel.opcodes(old[a:a_end], new[b:b_end])
    for step in steps:
        if step.tag != "equal":
            yield Change(
                a + step.src_start, a + step.src_end, b + step.dest_start, b + step.dest_end
            )
