"""What an attendant tells its engine arrives as it was said, and fits in a record."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnlog.runtime.launcher.messages import (
    MAX_MESSAGE,
    MOST_NAMED,
    Ended,
    Refused,
    Started,
    clean,
    decode,
    encode,
)

NUMBERS = st.integers(0, 2**63)
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=200)


@given(
    st.builds(Started, NUMBERS, NUMBERS, NUMBERS)
    | st.builds(Refused, TEXTS)
    | st.builds(
        Ended,
        st.integers(0, 255),
        st.integers(0, 10**6),
        st.lists(TEXTS.map(clean), max_size=MOST_NAMED).map(tuple),
        st.lists(NUMBERS, max_size=50).map(tuple),
    )
)
def test_a_message_arrives_as_it_was_said(message: Started | Refused | Ended) -> None:
    record = encode(message)
    assert len(record) <= MAX_MESSAGE
    heard = decode(record)
    assert type(heard) is type(message)
    assert vars(heard) == vars(message)


@given(st.binary(max_size=200))
def test_what_is_no_message_is_passed_over(record: bytes) -> None:
    assert isinstance(decode(record), Started | Refused | Ended | None)


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("node server.js", "node server.js"),
        ("a\nb\tc", "a b c"),
        ("\x1b[31mred\x1b[0m", "[31mred [0m"),
        (" \u202eevil\u200b ", "evil"),
        ("x" * 100, "x" * 79 + "…"),
        ("\ud800", ""),
    ],
)
def test_a_name_is_one_printable_line(name: str, cleaned: str) -> None:
    assert clean(name) == cleaned


@given(st.text())
def test_cleaning_twice_changes_nothing(name: str) -> None:
    assert clean(clean(name)) == clean(name)
    assert clean(name).isprintable()
