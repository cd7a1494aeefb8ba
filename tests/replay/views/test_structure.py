"""Where two values differ, and that the differences lead from the one to the other."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import events
from turnlog.protocol.envelope import UnknownEvent
from turnlog.protocol.events import ModelItemReceived, SessionEvent, TurnOpened
from turnlog.protocol.ids import EffectId, TurnId
from turnlog.replay.views.structure import (
    ABSENT,
    Difference,
    differences,
    equal,
    excerpts,
    patched,
    path_text,
    plain,
    value_text,
)

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text("xy", max_size=2), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(VALUES, VALUES)
def test_differences_applied_to_the_left_value_give_the_right_one(
    left: object, right: object
) -> None:
    before = json.dumps(left)
    found = differences(left, right)
    assert equal(patched(left, found), right)
    assert json.dumps(left) == before
    assert (not found) == equal(left, right)


@given(events(), events())
def test_events_are_led_from_one_to_the_other(left: SessionEvent, right: SessionEvent) -> None:
    assert equal(patched(plain(left), differences(left, right)), plain(right))
    assert differences(left, left) == []


def test_what_is_appended_to_a_list_is_added_and_nothing_is_changed() -> None:
    assert differences({"a": [1, 2]}, {"a": [1, 2, 3, 4]}) == [
        Difference(("a", 2), ABSENT, 3),
        Difference(("a", 3), ABSENT, 4),
    ]
    assert differences([1, 2, 9], [9]) == [
        Difference((0,), 1, ABSENT),
        Difference((1,), 2, ABSENT),
    ]


def test_true_is_not_one_and_nothing_is_not_none() -> None:
    assert differences([1], [True]) == [Difference((0,), 1, True)]
    assert differences({"a": None}, {}) == [Difference(("a",), None, ABSENT)]


def test_json_text_is_compared_by_what_it_says() -> None:
    left = ModelItemReceived(EffectId("1.model.0"), '{"type":"message","n":1}')
    right = ModelItemReceived(EffectId("1.model.0"), '{ "n": 2, "type": "message" }')
    assert differences(left, right) == [Difference(("item", "n"), 1, 2)]


def test_events_of_two_kinds_differ_in_their_kind_first() -> None:
    opened, unknown = TurnOpened(1, TurnId("t"), "op"), UnknownEvent(99, True, b"\x90")
    assert differences(opened, unknown)[0] == Difference(("kind",), "turn_opened", "unknown_99")
    assert differences(None, unknown) == [Difference((), None, plain(unknown))]


def test_what_is_nested_too_deep_to_be_looked_into_is_compared_all_the_same() -> None:
    def nested(core: object) -> object:
        for _ in range(300):
            core = [core]
        return core

    assert differences(nested(1), nested(1)) == []
    [found] = differences(nested(1), nested(2))
    assert len(found.path) == 100


@given(st.text("ab", max_size=60), st.text("ab", max_size=60), st.integers(5, 30))
def test_excerpts_are_short_and_show_where_two_texts_part(
    left: str, right: str, width: int
) -> None:
    one, other = excerpts(left, right, width)
    assert max(len(one), len(other)) <= width
    assert (one == other) == (left == right)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), "."),
        (("items", 0, "text"), "items[0].text"),
        ((3,), "[3]"),
        (("outstanding", "5.tool.0", "call"), 'outstanding["5.tool.0"].call'),
    ],
)
def test_a_path_is_written_as_in_code(path: tuple[str | int, ...], text: str) -> None:
    assert path_text(path) == text


def test_values_are_written_as_json_and_texts_as_they_are() -> None:
    assert [value_text(value) for value in (ABSENT, "a\nb", None, [True, "é"])] == [
        "(absent)",
        "a\nb",
        "null",
        '[true, "é"]',
    ]
