"""Aligning two long lists of keys: which runs are equal, and what lies between them. Pure.

Keys that occur once on each side are anchors (see `patience`), so the cost grows with the length
and not with its square. Between anchors, where little is left, the alignment is the best one.
"""

from collections.abc import Hashable, Iterator
from typing import Final, Literal

import attrs
from rapidfuzz.distance import Indel

from turnlog.actors.turn_diff.patience import Gap, Keys, anchors, between, trimmed

_CELLS: Final = 100_000_000  # of a table for the best alignment: 0.1 s and 12 MB at most
_ROUNDS: Final = 32  # in which the gaps between anchors get anchors of their own

Change = Literal["same", "changed", "removed", "added"]


@attrs.frozen
class Run:
    """Neighbours that changed in one way. Indices begin at 0; an added run has no left ones."""

    change: Change
    left: int
    left_end: int  # after the last one
    right: int
    right_end: int


_Match = tuple[int, int, int]  # index on the left, on the right, length


def align(left: Keys, right: Keys, left_kinds: Keys, right_kinds: Keys) -> list[Run]:
    """Return runs that cover both lists from their beginning to their end, in order.

    Equal runs have equal keys. Of what lies between two of them, elements of the same kind are
    paired as changed, in order; the rest was removed or added.
    """
    runs: list[Run] = []
    at_left = at_right = 0
    for one, other, size in (*_matches(left, right), (len(left), len(right), 0)):
        for match in _pairs((at_left, one, at_right, other), left_kinds, right_kinds):
            at_left, at_right = _pass_over(runs, at_left, at_right, match)
            _append_pairs(runs, left, right, match)
        at_left, at_right = _pass_over(runs, at_left, at_right, (one, other, size))
        if size:
            _append(runs, Run("same", one, at_left, other, at_right))
    return runs


def _pass_over(runs: list[Run], left: int, right: int, match: _Match) -> tuple[int, int]:
    """Add what lies before a match as removed and added; return the places after the match."""
    one, other, size = match
    if one > left:
        _append(runs, Run("removed", left, one, right, right))
    if other > right:
        _append(runs, Run("added", one, one, right, other))
    return one + size, other + size


def _append(runs: list[Run], run: Run) -> None:
    """Add a run, joined to the last one if both changed in the same way."""
    if runs and runs[-1].change == run.change:
        last = runs[-1]
        runs[-1] = Run(run.change, last.left, run.left_end, last.right, run.right_end)
    else:
        runs.append(run)


def _append_pairs(runs: list[Run], left: Keys, right: Keys, match: _Match) -> None:
    """Add a match by kind, as runs of equal and of changed elements."""
    one, other, size = match
    begin = 0
    while begin < size:
        same = left[one + begin] == right[other + begin]
        end = begin + 1
        while end < size and (left[one + end] == right[other + end]) == same:
            end += 1
        change: Change = "same" if same else "changed"
        _append(runs, Run(change, one + begin, one + end, other + begin, other + end))
        begin = end


def _matches(left: Keys, right: Keys) -> list[_Match]:
    """Return what is equal, ascending on both sides."""
    found: list[_Match] = []
    gaps: list[tuple[Gap, int]] = [((0, len(left), 0, len(right)), 0)]  # with their rounds
    while gaps:
        gap, rounds = gaps.pop()
        inner = a, a_end, b, b_end = trimmed(gap, left, right)
        found += [(gap[0], gap[2], a - gap[0]), (a_end, b_end, gap[1] - a_end)]
        cells = (a_end - a) * (b_end - b)
        if not cells:
            continue
        cuts = anchors(inner, left, right) if rounds < _ROUNDS else []
        if cuts:
            found += [(one, other, 1) for one, other in cuts]
            gaps += [(piece, rounds + 1) for piece in between(inner, cuts)]
        elif cells <= _CELLS:
            found += _best(left, right, inner)
    return sorted(match for match in found if match[2])


def _best(left: Keys, right: Keys, gap: Gap) -> Iterator[_Match]:
    """Yield the matches of a longest common subsequence of a gap."""
    a, a_end, b, b_end = gap
    names: dict[Hashable, int] = {}
    one = [names.setdefault(key, len(names)) for key in left[a:a_end]]
    other = [names.setdefault(key, len(names)) for key in right[b:b_end]]
    for code in Indel.opcodes(one, other):
        if code.tag == "equal":
            size = code.src_end - code.src_start
            yield a + code.src_start, b + code.dest_start, size


def _pairs(gap: Gap, left_kinds: Keys, right_kinds: Keys) -> list[_Match]:
    """Return the matches of a gap by kind; in a very large gap, by kind and place."""
    a, a_end, b, b_end = gap
    cells = (a_end - a) * (b_end - b)
    if not cells:
        return []
    if cells <= _CELLS:
        return list(_best(left_kinds, right_kinds, gap))
    both = zip(range(a, a_end), range(b, b_end), strict=False)
    return [(one, other, 1) for one, other in both if left_kinds[one] == right_kinds[other]]
