"""The steps of a patience diff: trim equal ends, then cut at what is unique on both sides. Pure.

Both sides are sequences of keys. A gap is a piece of both that is still to be compared. Source:
Bram Cohen's patience diff; the longest rising row is found as in patience sorting.
"""

from bisect import bisect_left
from collections.abc import Hashable, Iterable, Iterator, Sequence

Keys = Sequence[Hashable]
Gap = tuple[int, int, int, int]  # left [start, end), then right [start, end); counted from 0
Anchor = tuple[int, int]  # the place on the left, and the one on the right


def trimmed(gap: Gap, left: Keys, right: Keys) -> Gap:
    """Return `gap` without the equal keys at both of its ends."""
    a, a_end, b, b_end = gap
    while a < a_end and b < b_end and left[a] == right[b]:
        a, b = a + 1, b + 1
    while a < a_end and b < b_end and left[a_end - 1] == right[b_end - 1]:
        a_end, b_end = a_end - 1, b_end - 1
    return a, a_end, b, b_end


def anchors(gap: Gap, left: Keys, right: Keys, width: int = 1) -> list[Anchor]:
    """Return the longest list of anchors that rises on both sides.

    Args:
        width: keys of a run. An anchor is the place of a run that occurs once on each side.
    """
    a, a_end, b, b_end = gap
    ours, theirs = _unique(left, a, a_end, width), _unique(right, b, b_end, width)
    return _rising([(at, theirs[run]) for run, at in ours.items() if run in theirs])


def between(gap: Gap, cuts: Sequence[Anchor]) -> Iterator[Gap]:
    """Yield the gaps that anchors leave of `gap`, in order, without the anchors themselves."""
    a, a_end, b, b_end = gap
    for a_cut, b_cut in cuts:
        if a < a_cut or b < b_cut:
            yield a, a_cut, b, b_cut
        a, b = a_cut + 1, b_cut + 1
    yield a, a_end, b, b_end


def _unique(keys: Keys, start: int, end: int, width: int) -> dict[Hashable, int]:
    """Return where each run begins that occurs once in [start, end), in order of place."""
    runs: Iterable[Hashable] = keys[start:end]
    if width > 1:
        runs = zip(*(keys[start + shift : end] for shift in range(width)), strict=False)
    places: dict[Hashable, int] = {}
    again: set[Hashable] = set()
    for at, run in enumerate(runs, start):
        if run in places:
            again.add(run)
        places.setdefault(run, at)
    return {run: at for run, at in places.items() if run not in again}


def _rising(pairs: Sequence[Anchor]) -> list[Anchor]:
    """Return the longest part of `pairs`, which rise on the left, that also rises on the right."""
    tails: list[int] = []  # the smallest right end of a row of each length
    ends: list[int] = []  # which pair that is
    previous: list[int] = []  # the pair before each pair in its row; -1: none
    for index, (_, at) in enumerate(pairs):
        length = bisect_left(tails, at)
        tails[length : length + 1] = [at]
        ends[length : length + 1] = [index]
        previous.append(ends[length - 1] if length else -1)
    row: list[Anchor] = []
    index = ends[-1] if ends else -1
    while index >= 0:
        row.append(pairs[index])
        index = previous[index]
    return row[::-1]
