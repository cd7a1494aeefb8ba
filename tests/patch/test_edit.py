import difflib

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.errors import raises_code
from turnlog.protocol.error_codes import ErrorCode
from turnlog.runtime.patch.edit import edited
from turnlog.runtime.patch.match import LineFinder
from turnlog.runtime.patch.parse import UpdateFile, parse_patch


def apply(content: str, body: str) -> str:
    patch = parse_patch(f"*** Begin Patch\n*** Update File: f\n{body}\n*** End Patch\n")
    (hunk,) = patch.hunks
    assert isinstance(hunk, UpdateFile)
    return edited(content.encode(), hunk.chunks, "f").decode()


def refusal(content: str, body: str) -> str:
    with raises_code(ErrorCode.PATCH_INVALID) as caught:
        apply(content, body)
    return str(caught.value)


def chunks_of(old: list[str], new: list[str], context: int) -> str:
    """Write the difference as chunks, each with `context` unchanged lines around it."""
    body: list[str] = []
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for group in matcher.get_grouped_opcodes(context):
        body.append("@@")
        for tag, i, j, k, m in group:
            if tag == "equal":
                body += [f" {line}" for line in old[i:j]]
            else:
                body += [f"-{line}" for line in old[i:j]] + [f"+{line}" for line in new[k:m]]
    return "\n".join(body)


lines = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=8)
files = st.lists(lines, max_size=12)
endings = st.sampled_from(["\n", "\r\n"])


def joined(lines: list[str], ending: str) -> str:
    return "".join(line + ending for line in lines)


@given(files, files, endings)
def test_a_chunk_that_repeats_the_whole_file_gives_exactly_the_edit(
    old: list[str], new: list[str], ending: str
) -> None:
    assume(old and old != new)
    body = chunks_of(old, new, context=len(old))
    assert apply(joined(old, ending), body) == joined(new, ending)


@given(st.lists(lines | st.none(), min_size=1, max_size=30), st.integers(1, 3), endings, st.data())
def test_chunks_with_a_little_context_give_exactly_the_edit(
    edits: list[str | None], context: int, ending: str, data: st.DataObject
) -> None:
    old = [f"line {number}" for number in range(len(edits))]
    new: list[str] = []
    for line, edit in zip(old, edits, strict=True):
        kept = data.draw(st.sampled_from(["keep", "keep", "drop", "insert"]))
        new += [] if kept == "drop" else [line]
        new += [f"new {edit}"] if kept == "insert" else []
    assume(old != new)
    assert apply(joined(old, ending), chunks_of(old, new, context)) == joined(new, ending)


@given(st.lists(st.tuples(lines, endings), min_size=2, max_size=12), st.data())
def test_lines_that_are_kept_keep_their_own_endings(
    source: list[tuple[str, str]], data: st.DataObject
) -> None:
    gone = data.draw(st.integers(0, len(source) - 1))
    body = "\n".join(
        f"-{text}\n+new" if number == gone else f" {text}"
        for number, (text, _) in enumerate(source)
    )
    expected = list(source)
    expected[gone] = ("new", source[0][1])
    assert apply("".join(map("".join, source)), body) == "".join(map("".join, expected))


@given(st.lists(st.text("ab \t", max_size=3), max_size=12), st.text("ab \t", max_size=3), st.data())
def test_a_run_is_found_where_a_plain_scan_finds_it(
    source: list[str], line: str, data: st.DataObject
) -> None:
    wanted = [line, *data.draw(st.lists(st.text("ab \t", max_size=2), max_size=2))]
    start = data.draw(st.integers(0, len(source)))
    places = range(start, len(source) - len(wanted) + 1)
    expected = None
    for normalise in (str, str.rstrip, str.strip):
        goal = list(map(normalise, wanted))
        for at in places:
            if list(map(normalise, source[at : at + len(wanted)])) == goal and expected is None:
                expected = at
    finder = LineFinder(source)
    assert finder.find(wanted, start) == expected
    at_end = finder.find(wanted, start, at_end=True)
    assert at_end is None or at_end == len(source) - len(wanted) >= start


def test_an_exact_run_wins_over_a_loose_one_before_it() -> None:
    assert apply("  x\nx \nx\n", "-x") == "  x\nx \n"


@pytest.mark.parametrize(
    "found", ["x = 'a-b'  ", "\tx = 'a-b'", "x = \u2018a\u2013b\u2019", "\ufeffx = 'a-b'"]
)
def test_lines_are_matched_loosely(found: str) -> None:
    assert apply(f"1\n{found}\n3\n", " 1\n-x = 'a-b'\n+y\n 3") == "1\ny\n3\n"


def test_a_kept_line_that_matched_loosely_stays_as_the_file_has_it() -> None:
    source = "\tif x:  \n\t\ta \u2013 b\n\t\tc\n"
    assert apply(source, " if x:\n a - b\n-c\n+d") == "\tif x:  \n\t\ta \u2013 b\nd\n"


def test_contexts_choose_among_equal_places() -> None:
    source = "class A\n  def f\n    x\nclass B\n  def g\n    x\n  def f\n    x\n"
    changed = "class A\n  def f\n    x\nclass B\n  def g\n    x\n  def f\n    y\n"
    assert apply(source, "@@ class B\n@@ def f\n-    x\n+    y") == changed


def test_end_of_file_pins_a_chunk_to_the_end() -> None:
    assert apply("x\ny\nx\n", "@@\n-x\n+z\n*** End of File") == "x\ny\nz\n"
    assert apply("x\ny\n", "-x\n+z") == "z\ny\n"


@pytest.mark.parametrize(
    ("source", "body", "expected"),
    [
        ("a\nb\n", "@@\n+c", "a\nb\nc\n"),
        ("a\nb\n\n", "@@\n+c", "a\nb\nc\n\n"),
        ("", "+c", "c\n"),
        ("a\nb\n", "@@ a\n+c", "a\nc\nb\n"),
        ("a\nb\n", "@@ a\n+c\n@@ b\n+d", "a\nc\nb\nd\n"),
        ("a\nb\n", "@@ a\n+c\n*** End of File", "a\nb\nc\n"),
        ("a\n\nb\n", "@@ b\n+c\n\n", "a\n\nb\nc\n"),
        ("a\nb\n", "@@\n+c\n@@\n-a\n+A", "A\nb\nc\n"),
    ],
)
def test_an_insertion_goes_after_its_context_or_to_the_end(
    source: str, body: str, expected: str
) -> None:
    assert apply(source, body) == expected


@pytest.mark.parametrize(
    ("source", "body", "expected"),
    [
        ("a\nb\n", "-a\n+x\n", "x\nb\n"),
        ("a\n", " a\n\n+b", "a\n\nb\n"),
        ("a\n", " a\n+b\n", "a\nb\n"),
    ],
)
def test_an_empty_last_line_that_the_file_lacks_is_forgiven(
    source: str, body: str, expected: str
) -> None:
    assert apply(source, body) == expected


@pytest.mark.parametrize(
    ("source", "body", "expected"),
    [
        ("a\nb", "-a\n+x", "x\nb\n"),
        ("a\r\nb", "-a\n+x", "x\r\nb\r\n"),
        ("a\r\nb", "@@\n+c", "a\r\nb\r\nc\r\n"),
        ("a\n\n\n", "-a\n+x", "x\n\n\n"),
        ("a\n", "-a", ""),
        ("\ufeffa\r\nb\r\n", "-a\n+x", "\ufeffx\r\nb\r\n"),
        ("\ufeffa\nb\n", "-\ufeffa\n+\ufeffx", "\ufeffx\nb\n"),
        ("\ufeffa\nb\n", "-\ufeffa\n+x", "x\nb\n"),
        ("\ufeffa\nb\n", "-a\n+\ufeffx", "\ufeffx\nb\n"),
        ("a\x0bb\x85\u2028\nc\n", "-c\n+d", "a\x0bb\x85\u2028\nd\n"),
    ],
)
def test_endings_and_byte_order_marks_survive(source: str, body: str, expected: str) -> None:
    assert apply(source, body) == expected


def test_lines_that_are_not_there_are_shown_with_what_to_do() -> None:
    assert refusal("a\nb\n", "@@\n a\n-c\n+d") == (
        "f: the lines expected by the chunk at patch line 3 are not in the file:\na\nc\n"
        "Read the file again and repeat its lines exactly."
    )
    assert refusal("a\nb\n", "-b\n@@\n-a") == (
        "f: the lines expected by the chunk at patch line 4 are not in the file after line 2:\na\n"
        "They are at line 1: give chunks in file order, each line once."
    )
    assert refusal("a\nb\n", "-a\n*** End of File") == (
        "f: the lines expected by the chunk at patch line 3 are not in the file at its end:\na\n"
        "They are at line 1: leave out '*** End of File'."
    )
    assert refusal("a\n", "@@ class X\n-a") == (
        "f: the context 'class X' of the chunk at patch line 3 is not in the file after line 0. "
        "Name a line that is there."
    )


def test_a_file_that_is_not_utf8_is_refused() -> None:
    with raises_code(ErrorCode.PATCH_INVALID) as caught:
        edited(b"a\n\xff\n", (), "pic.png")
    assert str(caught.value) == (
        "pic.png is not UTF-8 (byte 2 is 0xff); a patch edits UTF-8 text only. "
        "Use a command that edits bytes."
    )


def test_a_search_in_repetitive_lines_is_linear() -> None:
    def scanned(count: int) -> int:
        finder = LineFinder(["a"] * count)
        assert finder.find(["a"] * (count // 2) + ["b"], 0) is None
        return finder.scanned

    assert scanned(40_000) < 2.1 * scanned(20_000)


def test_a_patch_that_would_search_for_ever_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("turnlog.runtime.patch.edit.MAX_SCANNED", 10_000)
    source = "x \n" * 1000
    assert "takes too long" in refusal(source, "\n".join(["@@\n-x"] * 20))
