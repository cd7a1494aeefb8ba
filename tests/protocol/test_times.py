"""Times of the log, as people and programs write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnlog.protocol.times import rfc3339, time_us


@given(st.integers(0, 4_000_000_000_000_000))
def test_a_time_comes_back_from_its_text(time: int) -> None:
    assert time_us(rfc3339(time)) == time


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:01Z", 1_000_000),
        ("1970-01-01T00:00:01", 1_000_000),
        ("1970-01-01T01:00:01+01:00", 1_000_000),
        ("yesterday", None),
        (12, None),
    ],
)
def test_a_time_of_a_file_is_read_or_is_none(text: object, expected: int | None) -> None:
    assert time_us(text) == expected
