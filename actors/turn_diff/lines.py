"""Which lines of a text became which of another, in time that is near linear. Pure.

Lines that are unique on both sides and in the same order on both are taken as unchanged; they cut
the texts into small gaps, each of which gets a shortest edit script, as long as a budget lasts.
Where no line is unique, a run of lines may be.
"""

from bisect import bisect_left
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

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
        if found and found[-1][1::2] == change[::2]:  # it follows on the last one directly
            last = found.pop()
            change = Change(last.old_start, change.old_end, last.new_start, change.new_end)
        found.append(change)
    return found


def _search(old: list[int], new: list[int]) -> Iterator[Change]:
    gaps = [Change(0, len(old), 0, len(new))]
    budget = _BUDGET
    while gaps:
        gap = _trimmed(gaps.pop(), old, new)
        a, a_end, b, b_end = gap
        cells = (a_end - a) * (b_end - b)
        if not cells:
            if a < a_end or b < b_end:
                yield gap
            continue
        cuts: list[tuple[int, int]] = []
        for width in () if cells <= _SMALL else _WIDTHS if cells > _LARGE else _WIDTHS[:1]:
            budget -= _LINE_CELLS * (a_end - a + b_end - b)
            if cuts or budget < 0 or set(old[a:a_end]).isdisjoint(new[b:b_end]):
                break
            cuts = _anchors(gap, old, new, width)
        if cuts:
            gaps.extend(reversed(list(_between(gap, cuts))))
        elif cells > min(_LARGE, budget):
            yield gap
        else:
            budget -= cells
            yield from _shortest(gap, old, new)


def _trimmed(gap: Change, old: list[int], new: list[int]) -> Change:
    """Take equal lines off both ends."""
    a, a_end, b, b_end = gap
    while a < a_end and b < b_end and old[a] == new[b]:
        a, b = a + 1, b + 1
    while a < a_end and b < b_end and old[a_end - 1] == new[b_end - 1]:
        a_end, b_end = a_end - 1, b_end - 1
    return Change(a, a_end, b, b_end)


def _anchors(gap: Change, old: list[int], new: list[int], width: int) -> list[tuple[int, int]]:
    """Return the longest rising row of pairs of lines that begin the same unique run."""
    ours = _unique(old, gap.old_start, gap.old_end, width)
    theirs = _unique(new, gap.new_start, gap.new_end, width)
    pairs = [(at, theirs[run]) for run, at in ours.items() if run in theirs]  # by `at`
    tails: list[int] = []  # the smallest end, in `new`, of a row of each length
    ends: list[int] = []  # which pair that is
    previous: list[int] = []  # the pair before each pair in its row; -1: none
    for index, (_, at) in enumerate(pairs):
        length = bisect_left(tails, at)
        tails[length : length + 1] = [at]
        ends[length : length + 1] = [index]
        previous.append(ends[length - 1] if length else -1)
    row: list[tuple[int, int]] = []
    index = ends[-1] if ends else -1
    while index >= 0:
        row.append(pairs[index])
        index = previous[index]
    return row[::-1]


def _unique(lines: list[int], start: int, end: int, width: int) -> dict[Hashable, int]:
    """Return where each run of lines begins that occurs once in [start, end), in their order."""
    runs: Iterable[Hashable] = lines[start:end]
    if width > 1:
        runs = zip(*(lines[start + shift : end] for shift in range(width)), strict=False)
    places: dict[Hashable, int] = {}
    again: set[Hashable] = set()
    for at, run in enumerate(runs, start):
        if run in places:
            again.add(run)
        places.setdefault(run, at)
    return {run: at for run, at in places.items() if run not in again}


def _between(gap: Change, cuts: list[tuple[int, int]]) -> Iterator[Change]:
    a, b = gap.old_start, gap.new_start
    for a_cut, b_cut in cuts:
        if a < a_cut or b < b_cut:
            yield Change(a, a_cut, b, b_cut)
        a, b = a_cut + 1, b_cut + 1
    yield Change(a, gap.old_end, b, gap.new_end)


def _shortest(gap: Change, old: list[int], new: list[int]) -> Iterator[Change]:
    from rapidfuzz.distance import Indel  # 15 ms, and not every turn changes a file

    a, b = gap.old_start, gap.new_start
    steps = Indel.opcodes(old[a : gap.old_end], new[b : gap.new_end])
    for step in steps:
        if step.tag != "equal":
            yield Change(
                a + step.src_start, a + step.src_end, b + step.dest_start, b + step.dest_end
            )
