"""Alignments cover both sides, in order, and pair only what may be paired."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnlog.replay.views import alignment
from turnlog.replay.views.alignment import Run, align

KEYS = st.lists(st.sampled_from("aabbccdefghij"), max_size=40)


def kinds(keys: Sequence[str]) -> list[bool]:
    return [key in "aeiou" for key in keys]


def aligned(left: Sequence[str], right: Sequence[str]) -> list[Run]:
    return align(left, right, kinds(left), kinds(right))


@given(KEYS, KEYS)
def test_runs_cover_both_sides_and_keep_their_promises(left: list[str], right: list[str]) -> None:
    verify(left, right, aligned(left, right))


@given(KEYS, KEYS)
def test_what_is_too_large_for_the_best_alignment_is_aligned_all_the_same(
    left: list[str], right: list[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alignment, "_CELLS", 0)
        verify(left, right, aligned(left, right))


def verify(left: Sequence[str], right: Sequence[str], runs: Sequence[Run]) -> None:
    at_left = at_right = 0
    for run in runs:
        assert (run.left, run.right) == (at_left, at_right)
        at_left, at_right = run.left_end, run.right_end
        one, other = left[run.left : run.left_end], right[run.right : run.right_end]
        match run.change:
            case "same":
                assert one == other
            case "changed":
                assert kinds(one) == kinds(other)
                assert all(a != b for a, b in zip(one, other, strict=True))
            case "removed":
                assert (bool(one), bool(other)) == (True, False)
            case "added":
                assert (bool(one), bool(other)) == (False, True)
    assert (at_left, at_right) == (len(left), len(right))
    assert all(one.change != other.change for one, other in pairwise(runs))


def test_a_change_an_insertion_and_a_removal_are_told_apart() -> None:
    assert aligned("abcdefgh", "abXdefghi") == [
        Run("same", 0, 2, 0, 2),
        Run("changed", 2, 3, 2, 3),
        Run("same", 3, 8, 3, 8),
        Run("added", 8, 8, 8, 9),
    ]
    assert aligned("abcd", "ad") == [
        Run("same", 0, 1, 0, 1),
        Run("removed", 1, 3, 1, 1),
        Run("same", 3, 4, 1, 2),
    ]


def test_what_moved_is_removed_in_one_place_and_added_in_the_other() -> None:
    runs = aligned("1234567", "4567123")
    assert [run.change for run in runs] == ["removed", "same", "added"]
