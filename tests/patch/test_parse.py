from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.errors import raises_code
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import UsageError
from turnlog.runtime.patch.parse import (
    MAX_PATCH_BYTES,
    AddFile,
    ChangeLine,
    Chunk,
    DeleteFile,
    Patch,
    UpdateFile,
    parse_patch,
)


def test_every_kind_of_hunk_is_read_in_order() -> None:
    text = """*** Begin Patch
*** Add File: sub/new.txt
+Hello
+wörld ✓
*** Delete File: old.txt
*** Update File: a.py
*** Move to: b.py
@@ class A
@@     def f(self):
 keep

-old
+new
*** End of File
*** End Patch
"""
    chunk = Chunk(
        contexts=("class A", "    def f(self):"),
        lines=(
            ChangeLine(" ", "keep"),
            ChangeLine(" ", ""),
            ChangeLine("-", "old"),
            ChangeLine("+", "new"),
        ),
        end_of_file=True,
        number=8,
    )
    assert parse_patch(text) == Patch(
        (
            AddFile("sub/new.txt", ("Hello", "wörld ✓"), 2),
            DeleteFile("old.txt", 5),
            UpdateFile("a.py", "b.py", (chunk,), 6),
        )
    )


def test_a_first_chunk_needs_no_marker_and_later_ones_do() -> None:
    body = "*** Update File: a\n-1\n@@\n-2\n*** End of File\n\n@@ x\n+3"
    text = f"*** Begin Patch\n{body}\n*** End Patch"
    assert parse_patch(text).hunks == (
        UpdateFile(
            "a",
            None,
            (
                Chunk((), (ChangeLine("-", "1"),), False, 3),
                Chunk((), (ChangeLine("-", "2"),), True, 4),
                Chunk(("x",), (ChangeLine("+", "3"),), False, 8),
            ),
            2,
        ),
    )


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("*** Begin Patch\n*** Add File: a\n+1\n*** End Patch", 2),
        ("\n  *** Begin Patch  \n  *** Add File:  a  \n+1\n *** End Patch \n\n", 3),
        ("<<EOF\n*** Begin Patch\n*** Add File: a\n+1\n*** End Patch\nEOF", 3),
        ("<<'EOF'\n*** Begin Patch\n*** Add File: a\n+1\n*** End Patch\nEOF\n", 3),
        ('<<"EOF"\n*** Begin Patch\n*** Add File: a\n+1\n*** End Patch\nEOF\n', 3),
        ("*** Begin Patch\r\n*** Add File: a\r\n+1\r\n*** End Patch\r\n", 2),
        ("*** Begin Patch\n\n*** Add File: a\n+1\n\n*** End Patch\n", 3),
    ],
)
def test_what_models_put_around_an_envelope_is_ignored(text: str, first: int) -> None:
    assert parse_patch(text) == Patch((AddFile("a", ("1",), first),))


def test_an_environment_header_is_kept() -> None:
    text = "*** Begin Patch\n*** Environment ID: remote\n*** Delete File: a\n*** End Patch"
    assert parse_patch(text) == Patch((DeleteFile("a", 3),), "remote")


def test_an_empty_envelope_has_no_hunks() -> None:
    assert parse_patch("*** Begin Patch\n*** End Patch\n") == Patch(())


def test_a_first_context_line_may_be_blank_or_look_like_a_marker() -> None:
    text = "*** Begin Patch\n*** Update File: a\n{}\n-x\n*** End Patch"
    for line in (" ", " *** Add File: b"):
        (hunk,) = parse_patch(text.format(line)).hunks
        assert isinstance(hunk, UpdateFile)
        assert hunk.chunks[0].lines == (ChangeLine(" ", line[1:]), ChangeLine("-", "x"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "patch line 1: expected '*** Begin Patch', found ''."),
        ("hello\n*** End Patch", "patch line 1: expected '*** Begin Patch', found 'hello'."),
        (
            "*** Begin Patch\n*** Delete File: a\n",
            "patch line 2: expected '*** End Patch' as the last line, found '*** Delete File: a'.",
        ),
        (
            "*** Begin Patch\n*** Begin Patch\n*** End Patch",
            "patch line 2: expected '*** Add File:', '*** Delete File:' or '*** Update File:' and "
            "a path (each line of an added file begins with '+', each line of a chunk with ' ', "
            "'-' or '+'), found '*** Begin Patch'.",
        ),
        (
            "*** Begin Patch\n*** Update File: a\n*** End Patch",
            "patch line 3: expected changes for 'a' before this, found '*** End Patch'.",
        ),
        (
            "*** Begin Patch\n*** Update File: a\n@@ def f\n*** End Patch",
            "patch line 4: expected a line that begins with ' ', '-' or '+', "
            "found '*** End Patch'.",
        ),
        (
            "*** Begin Patch\n*** Update File: a\n-1\n*** End of File\n-2\n*** End Patch",
            "patch line 5: expected '@@' or the header of the next file, found '-2'.",
        ),
        (
            "*** Begin Patch\n*** Add File:  \n*** End Patch",
            "patch line 2: expected a path after '*** Add File:', found '*** Add File:  '.",
        ),
        (
            "*** Begin Patch\n*** Delete File: a/\n*** End Patch",
            "patch line 2: expected the path of a file, of at most 4096 bytes, "
            "found '*** Delete File: a/'.",
        ),
        (
            "*** Begin Patch\n*** Add File: a\n+\ud800\n*** End Patch",
            "patch line 3: half of a surrogate pair, which no UTF-8 file can hold.",
        ),
    ],
)
def test_an_error_names_the_line_and_what_was_expected(text: str, message: str) -> None:
    with raises_code(ErrorCode.PATCH_INVALID) as caught:
        parse_patch(text)
    assert str(caught.value) == message


def test_a_patch_that_is_too_large_is_refused() -> None:
    with raises_code(ErrorCode.PATCH_INVALID, match=f"at most {MAX_PATCH_BYTES} are accepted"):
        parse_patch("é" * (MAX_PATCH_BYTES // 2 + 1))


MARKERS = [
    "*** Begin Patch",
    "*** End Patch",
    "*** Add File: a",
    "*** Delete File: a",
    "*** Update File: a",
    "*** Move to: b",
    "*** End of File",
    "*** Environment ID: e",
    "***",
    "@@",
    "@@ x",
    "<<EOF",
    "EOF",
]
any_line = st.sampled_from(MARKERS) | st.text(max_size=5) | st.text("+- @*\r\t\0", max_size=3)


@given(st.lists(any_line, max_size=12), st.booleans())
@example(["*** Add File: \0"], True)
@example([], False)
def test_garbage_raises_nothing_but_patch_invalid(lines: list[str], enveloped: bool) -> None:
    if enveloped:
        lines = ["*** Begin Patch", *lines, "*** End Patch"]
    with suppress(UsageError):
        parse_patch("\n".join(lines))


@given(st.text(st.characters(codec=None, categories=None), max_size=200))
def test_any_text_at_all_raises_nothing_but_patch_invalid(text: str) -> None:
    with suppress(UsageError):
        parse_patch(text)
