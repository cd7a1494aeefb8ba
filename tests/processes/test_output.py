"""Output is bounded, decoded and cut; the texts are those that models know."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnlog.protocol.calls import Leftover
from turnlog.runtime.processes.output import (
    OUTPUT_LIMIT,
    HeadTailBuffer,
    count_tokens,
    decode_output,
    exec_reply,
    left_note,
    truncate_for_model,
)

CHUNKS = st.lists(st.binary(max_size=40))
LIMITS = st.integers(min_value=1, max_value=30).map(lambda half: 2 * half)


def filled(limit: int, chunks: list[bytes]) -> HeadTailBuffer:
    buffer = HeadTailBuffer(limit)
    for chunk in chunks:
        buffer.append(chunk)
    return buffer


@given(LIMITS, CHUNKS)
def test_a_buffer_keeps_everything_or_both_ends_and_the_count_between(
    limit: int, chunks: list[bytes]
) -> None:
    whole = b"".join(chunks)
    buffer = filled(limit, chunks)
    if len(whole) <= limit:
        assert (buffer.value(), buffer.omitted_bytes) == (whole, 0)
    else:
        omitted = len(whole) - limit
        marker = f"\n... {omitted} bytes omitted ...\n".encode()
        expected = whole[: limit // 2] + marker + whole[-limit // 2 :]
        assert (buffer.value(), buffer.omitted_bytes) == (expected, omitted)


@given(LIMITS, CHUNKS)
def test_a_buffer_does_not_see_how_the_stream_was_cut(limit: int, chunks: list[bytes]) -> None:
    assert filled(limit, chunks).value() == filled(limit, [b"".join(chunks)]).value()


def test_a_buffer_of_a_command_holds_512_kib_of_each_end() -> None:
    half = OUTPUT_LIMIT // 2
    assert half == 524_288
    buffer = filled(OUTPUT_LIMIT, [b"a" * half, b"x", b"b" * half])
    assert buffer.value() == b"a" * half + b"\n... 1 bytes omitted ...\n" + b"b" * half


@given(st.binary())
def test_decoded_output_can_always_be_encoded(output: bytes) -> None:
    decode_output(output).encode()


@pytest.mark.parametrize(
    ("output", "text"),
    [
        (b"", ""),
        ("naïve 日本 😀".encode(), "naïve 日本 😀"),
        (b"\xff\xfe end\x1b[31mred\n", "\ufffd\ufffd end\x1b[31mred\n"),
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),  # an encoded lone surrogate
    ],
)
def test_what_is_not_utf_8_becomes_a_replacement_character(output: bytes, text: str) -> None:
    assert decode_output(output) == text


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("abcd", 1), ("abcde", 2), ("日本", 2)])
def test_a_token_is_four_bytes_rounded_up(text: str, tokens: int) -> None:
    assert count_tokens(text) == tokens


@given(st.text(), st.integers(min_value=0, max_value=20))
def test_a_text_within_its_budget_is_not_touched(text: str, spare: int) -> None:
    assert truncate_for_model(text, count_tokens(text) + spare) == text


@given(st.text(min_size=1), st.data())
def test_a_text_over_its_budget_keeps_both_ends_and_no_more_than_the_budget(
    text: str, data: st.DataObject
) -> None:
    budget = data.draw(st.integers(min_value=0, max_value=count_tokens(text) - 1))
    cut = truncate_for_model(text, budget)
    shape = (
        rf"Warning: truncated output \(original token count: {count_tokens(text)}\)\n"
        r"Total output lines: [0-9]+\n\n"
        rf"(.*)…{count_tokens(text) - budget} tokens truncated…(.*)"
    )
    match = re.fullmatch(shape, cut, re.DOTALL)
    assert match is not None
    head, tail = match.groups()
    assert text.startswith(head)
    assert text.endswith(tail)
    kept = len(head.encode()) + len(tail.encode())
    assert 4 * budget - 6 <= kept <= 4 * budget  # a cut character costs up to 3 bytes an end
    cut.encode()


def test_a_long_output_is_cut_in_the_middle_with_its_lines_counted() -> None:
    text = "a" * 20_000 + "\n" + "b" * 20_000 + "\n"
    assert truncate_for_model(text, 10_000) == (
        "Warning: truncated output (original token count: 10001)\n"
        "Total output lines: 2\n\n" + "a" * 20_000 + "…1 tokens truncated…" + "b" * 19_999 + "\n"
    )


def test_past_the_buffer_the_omitted_bytes_are_told_instead_of_the_lines() -> None:
    assert truncate_for_model("aaaa____bbbb", 2, omitted_bytes=400) == (
        "Warning: truncated output (original token count: 103)\n"
        "... 400 bytes omitted ...\n\naaaa…101 tokens truncated…bbbb"
    )


@pytest.mark.parametrize(("text", "lines"), [("a" * 9, 1), ("aaaa\naaaa", 2), ("aaaa\naaa\n\n", 3)])
def test_lines_are_counted_as_a_reader_counts_them(text: str, lines: int) -> None:
    assert f"Total output lines: {lines}\n" in truncate_for_model(text, 1)


def test_a_reply_has_the_five_lines_that_the_model_knows() -> None:
    assert exec_reply("b555fd", 0.73281, 0, "one\n", 10_000) == (
        "Chunk ID: b555fd\nWall time: 0.7328 seconds\nProcess exited with code 0\n"
        "Original token count: 1\nOutput:\none\n"
    )


def test_a_reply_counts_the_tokens_before_the_cut() -> None:
    assert exec_reply("931355", 1.0, 137, "aaaabbbbcccc", 2) == (
        "Chunk ID: 931355\nWall time: 1.0000 seconds\nProcess exited with code 137\n"
        "Original token count: 3\nOutput:\n"
        "Warning: truncated output (original token count: 3)\n"
        "Total output lines: 1\n\naaaa…1 tokens truncated…cccc"
    )


@pytest.mark.parametrize(
    ("left", "note"),
    [
        (None, ""),
        (Leftover(), ""),
        (Leftover(1, ("sleep 9 (pid 5)",)), "[ended with the call: sleep 9 (pid 5)]\n"),
        (Leftover(3, ("a (pid 5)",)), "[ended with the call: a (pid 5), 2 more]\n"),
        (
            Leftover(survivors=(5, 7), lost=True),
            "[could not be ended and still run: processes 5, 7]\n"
            "[the process that watches over this command was killed: something of it may still "
            "run]\n",
        ),
    ],
)
def test_the_model_is_told_what_outlived_a_command(left: Leftover | None, note: str) -> None:
    assert left_note(left) == note
