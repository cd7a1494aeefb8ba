"""Aligning two long lists of keys: which runs are equal, and what stands between them.

Keys that occur once on each side are anchors (a patience diff), so the cost grows with the length
and not with its square. Between anchors, where little is left, the alignment is the best one.
Pure.
"""

from bisect import bisect_left
from collections.abc import Hashable, Iterator, Sequence
from typing import Final, Literal

import attrs
from rapidfuzz.distance import Indel

_CELLS: Final = 100_000_000  # of a table for the best alignment: 0.1 s and 12 MB at most
_ROUNDS: Final = 32  # in which what lies between anchors is given anchors of its own

Change = Literal["same", "changed", "removed", "added"]


@attrs.frozen
class Run:
    """Neighbours that have one fate. Indices begin at 0; what was added has no left ones."""

    change: Change
    left: int
    left_end: int  # behind the last one
    right: int
    right_end: int


@attrs.frozen
class _Box:
    """A piece of both lists, still to be aligned."""

    left: int
    left_end: int
    right: int
    right_end: int
    rounds: int = 0


Keys = Sequence[Hashable]
_Match = tuple[int, int, int]  # index on the left, on the right, length


def align(left: Keys, right: Keys, left_kinds: Keys, right_kinds: Keys) -> list[Run]:
    """Return runs that cover both lists from their beginning to their end, in order.

    Equal runs have equal keys. Of what lies between two of them, elements of the same kind are
    paired as changed, in order; the rest was removed or added.
    """
    runs: list[Run] = []
    at_left = at_right = 0
    for one, other, size in (*_matches(left, right), (len(left), len(right), 0)):
        for match in _pairs(_Box(at_left, one, at_right, other), left_kinds, right_kinds):
            at_left, at_right = _pass_over(runs, at_left, at_right, match)
            _append_pairs(runs, left, right, match)
        at_left, at_right = _pass_over(runs, at_left, at_right, (one, other, size))
        if size:
            _append(runs, Run("same", one, at_left, other, at_right))
    return runs


def _pass_over(runs: list[Run], left: int, right: int, match: _Match) -> tuple[int, int]:
    """Note what stands before a match as removed and added; return the places behind the match."""
    one, other, size = match
    if one > left:
        _append(runs, Run("removed", left, one, right, right))
    if other > right:
        _append(runs, Run("added", one, one, right, other))
    return one + size, other + size


def _append(runs: list[Run], run: Run) -> None:
    """Add a run, joined to the last one where it goes on from it."""
    if runs and runs[-1].change == run.change:
        last = runs[-1]
        runs[-1] = Run(run.change, last.left, run.left_end, last.right, run.right_end)
    else:
        runs.append(run)


def _append_pairs(runs: list[Run], left: Keys, right: Keys, match: _Match) -> None:
    """Add a stretch that is paired by kind, as runs of the same and of the changed."""
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
    boxes = [_Box(0, len(left), 0, len(right))]
    while boxes:
        box = boxes.pop()
        begin = _common_begin(left, right, box)
        if begin:
            found.append((box.left, box.right, begin))
            box = attrs.evolve(box, left=box.left + begin, right=box.right + begin)
        end = _common_end(left, right, box)
        if end:
            found.append((box.left_end - end, box.right_end - end, end))
            box = attrs.evolve(box, left_end=box.left_end - end, right_end=box.right_end - end)
        lengths = box.left_end - box.left, box.right_end - box.right
        if not all(lengths):
            continue
        anchors = _anchors(left, right, box) if box.rounds < _ROUNDS else []
        if anchors:
            boxes += _between(box, anchors)
        elif lengths[0] * lengths[1] <= _CELLS:
            found += _best(left, right, box)
    return sorted(found)


def _common_begin(left: Keys, right: Keys, box: _Box) -> int:
    most = min(box.left_end - box.left, box.right_end - box.right)
    length = 0
    while length < most and left[box.left + length] == right[box.right + length]:
        length += 1
    return length


def _common_end(left: Keys, right: Keys, box: _Box) -> int:
    most = min(box.left_end - box.left, box.right_end - box.right)
    length = 0
    while length < most and left[box.left_end - 1 - length] == right[box.right_end - 1 - length]:
        length += 1
    return length


def _anchors(left: Keys, right: Keys, box: _Box) -> list[tuple[int, int]]:
    """Return the longest ascending list of pairs whose key is the only one of its side."""
    on_left = _once(left, box.left, box.left_end)
    on_right = _once(right, box.right, box.right_end)
    pairs = [(index, on_right[key]) for key, index in on_left.items() if key in on_right]
    return _ascending(pairs)


def _once(keys: Keys, begin: int, end: int) -> dict[Hashable, int]:
    """Return the index of each key that occurs once, in order."""
    places: dict[Hashable, int] = {}
    for index in range(begin, end):
        key = keys[index]
        places[key] = -1 if key in places else index
    return {key: index for key, index in places.items() if index >= 0}


def _ascending(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the longest part of `pairs`, which ascend on the left, that ascends on the right."""
    lowest: list[int] = []  # by length: the lowest right end of a chain so long
    ends: list[int] = []  # the pair that this end belongs to
    before: list[int] = []  # of each pair: the one before it in its chain
    for number, (_, right) in enumerate(pairs):
        length = bisect_left(lowest, right)
        lowest[length : length + 1] = [right]
        ends[length : length + 1] = [number]
        before.append(ends[length - 1] if length else -1)
    chain: list[tuple[int, int]] = []
    number = ends[-1] if ends else -1
    while number >= 0:
        chain.append(pairs[number])
        number = before[number]
    return chain[::-1]


def _between(box: _Box, anchors: Sequence[tuple[int, int]]) -> Iterator[_Box]:
    """Yield the boxes that anchors cut `box` into; each anchor begins the one behind it."""
    left, right = box.left, box.right
    for one, other in (*anchors, (box.left_end, box.right_end)):
        yield _Box(left, one, right, other, box.rounds + 1)
        left, right = one, other


def _best(left: Keys, right: Keys, box: _Box) -> Iterator[_Match]:
    """Yield what the longest common subsequence of a box has in common."""
    names: dict[Hashable, int] = {}
    one = [names.setdefault(key, len(names)) for key in left[box.left : box.left_end]]
    other = [names.setdefault(key, len(names)) for key in right[box.right : box.right_end]]
    for code in Indel.opcodes(one, other):
        if code.tag == "equal":
            size = code.src_end - code.src_start
            yield box.left + code.src_start, box.right + code.dest_start, size


def _pairs(box: _Box, left_kinds: Keys, right_kinds: Keys) -> list[_Match]:
    """Return what of a box is paired by its kind; of a very large one, what stands opposite."""
    lengths = box.left_end - box.left, box.right_end - box.right
    if not all(lengths):
        return []
    if lengths[0] * lengths[1] <= _CELLS:
        return list(_best(left_kinds, right_kinds, box))
    both = zip(range(box.left, box.left_end), range(box.right, box.right_end), strict=False)
    return [(one, other, 1) for one, other in both if left_kinds[one] == right_kinds[other]]
