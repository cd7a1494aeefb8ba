"""The lines of rollout files, whole and damaged."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.errors import raises_code
from tests.replay.rollouts import kit
from tests.replay.rollouts.kit import answered, said
from turnlog.protocol.error_codes import ErrorCode
from turnlog.replay.rollouts.importing import import_rollout
from turnlog.replay.rollouts.reading import Note, Skipped, parse_rollout, read_rollout

WHOLE = kit.rollout(said("hello"), answered("hi"))


def read(data: bytes) -> tuple[int, list[tuple[int, str]], list[tuple[int, str]]]:
    """Return how many lines could be read, what was skipped, and what was noted."""
    file = parse_rollout(data, "a.jsonl")
    named = {one.file for one in file.skipped} | {one.file for one in file.notes}
    assert named <= {"a.jsonl"}
    return (
        len(file.lines),
        [(one.line, one.reason) for one in file.skipped],
        [(one.line, one.text) for one in file.notes],
    )


def test_a_whole_file_is_read_without_a_word() -> None:
    assert read(WHOLE) == (3, [], [])


def test_a_torn_tail_is_told_from_a_broken_line() -> None:
    lines = WHOLE.split(b"\n")
    torn = b"\n".join([lines[0], lines[1], lines[2][:30]])
    assert read(torn) == (2, [(3, "torn: the file ends in the middle of it")], [])
    broken = b"\n".join([lines[0], lines[1][:30], lines[2], b""])
    found, skipped, notes = read(broken)
    assert (found, skipped) == (2, [(2, "no line of a rollout")])
    assert notes == [(3, "the ordinal is 2, where 1 was to come")]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\0\0\0\0", b"\n\n  \n"])
def test_how_a_file_ends_does_not_matter(end: bytes) -> None:
    assert read(WHOLE.removesuffix(b"\n") + end) == (3, [], [])


def test_a_line_that_was_written_again_counts_once() -> None:
    lines = WHOLE.split(b"\n")
    again = b"\n".join([*lines[:2], lines[1][:20], lines[1], *lines[2:]])
    assert read(again) == (
        3,
        [(3, "no line of a rollout"), (4, "a repetition of an earlier line")],
        [],
    )


def test_equal_lines_of_an_old_rollout_count_once_where_they_follow_each_other() -> None:
    lines = kit.rollout(said("a"), answered("b"), paginated=False).split(b"\n")
    assert read(b"\n".join([lines[0], lines[1], lines[1], lines[2]]))[0] == 3
    assert read(b"\n".join([lines[0], lines[1], lines[2], lines[1]]))[0] == 4


def test_a_missing_ordinal_is_noted_and_the_line_is_read() -> None:
    lines = [json.loads(one) for one in WHOLE.split(b"\n") if one]
    del lines[1]["ordinal"]
    assert read(kit.text(lines)) == (3, [], [(2, "the ordinal is missing")])


def test_old_rollouts_need_no_ordinals() -> None:
    assert read(kit.rollout(said("a"), answered("b"), paginated=False)) == (3, [], [])


def test_half_of_a_surrogate_pair_costs_no_line() -> None:
    data = WHOLE.replace(b'"hi"', b'"hi \\ud83d"')
    assert read(data) == (3, [], [])
    assert "\\ud83d" in import_rollout(parse_rollout(data, "a")).newest.history[-1]


def test_line_breaks_within_a_text_are_none_of_the_file() -> None:
    data = WHOLE.replace(b'"hello"', '"a\u2028b\u0085c"'.encode())
    assert read(data) == (3, [], [])


def test_the_session_is_named_by_its_first_line_or_by_its_file() -> None:
    name = f"/x/rollout-2026-11-21T10-00-00-{kit.SESSION}.jsonl"
    assert parse_rollout(WHOLE, "a").session == kit.SESSION
    headless = b"\n".join(WHOLE.split(b"\n")[1:])
    assert parse_rollout(headless, name).session == kit.SESSION
    assert parse_rollout(headless, "a").session is None


def test_a_file_that_is_not_there_has_a_typed_error(tmp_path: Path) -> None:
    with raises_code(ErrorCode.INPUT_UNREADABLE, match=r"gone\.jsonl cannot be read: No such file"):
        read_rollout(tmp_path / "gone.jsonl")
    with raises_code(ErrorCode.INPUT_UNREADABLE, match="Is a directory"):
        read_rollout(tmp_path)


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\0\0\0"])
def test_an_empty_file_has_an_error_of_its_own(data: bytes) -> None:
    with raises_code(ErrorCode.ROLLOUT_EMPTY, match="is empty") as caught:
        parse_rollout(data, "a.jsonl")
    assert caught.value.code == "rollout_empty"


@pytest.mark.parametrize("data", [b"hello", b"[1, 2]\n{}\n", b'{"type": "x"}\n', b"\xff\xfe"])
def test_a_file_of_something_else_is_no_rollout(data: bytes) -> None:
    with raises_code(ErrorCode.ROLLOUT_INVALID, match="is no rollout") as caught:
        parse_rollout(data, "a.jsonl")
    assert caught.value.code == "rollout_invalid"


@given(at=st.integers(0, len(WHOLE) - 1), byte=st.integers(0, 255))
def test_any_one_byte_may_be_wrong(at: int, byte: int) -> None:
    damaged = WHOLE[:at] + bytes([byte]) + WHOLE[at + 1 :]
    file = parse_rollout(damaged, "a")
    assert len(file.lines) + len(file.skipped) == file.count
    kit.checked(import_rollout(file))


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
_NAMES = ("type", "role", "content", "call_id", "output", "item", "info", "error", "usage", "id")
_KINDS = ("message", "function_call", "function_call_output", "reasoning", "task_started", "x")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ("session_meta", "response_item", "event_msg", "turn_context", "compacted")
            ),
            st.dictionaries(st.sampled_from(_NAMES), _VALUES | st.sampled_from(_KINDS)),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_any_payload_is_taken_without_an_error(lines: list[tuple[str, kit.Json]]) -> None:
    data = kit.text(kit.line(kind, payload, number) for number, (kind, payload) in enumerate(lines))
    kit.checked(import_rollout(parse_rollout(data, "a")))


def test_reports_are_values() -> None:
    assert Skipped(1, "a", "b") == Skipped(1, "a", "b")
    assert Note(1, "a", "b") != Note(2, "a", "b")
