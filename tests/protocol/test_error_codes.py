"""The list of codes is closed, the source uses all of it, and one place prints a code."""

import pickle
import re

import pytest
from docs.generator.errors import error_classes, errors, makers, source_files

from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import Busy, TurnlogError, UsageError, with_code


def test_each_code_that_the_source_gives_is_in_the_list() -> None:
    assert set(makers()) - set(ErrorCode) == set()


def test_each_code_of_the_list_is_given_somewhere() -> None:
    assert [code for code in ErrorCode if code not in makers()] == []


def test_each_code_is_raised_with_one_class() -> None:
    classes = {kind.__name__ for kind in error_classes()}
    several = {
        code: found & classes for code, found in makers().items() if len(found & classes) > 1
    }
    assert several == {}


def test_each_code_says_what_happened_and_what_to_do() -> None:
    texts = [text for code in ErrorCode for text in (code.happened, code.advice)]
    assert [text for text in texts if not re.fullmatch(r"[A-Za-z`].*\.", text)] == []


def test_each_code_has_its_section_on_the_page_of_errors() -> None:
    page = errors()
    assert [code for code in ErrorCode if f"### {code}\n" not in page] == []


def test_the_list_is_in_order() -> None:
    assert [*ErrorCode] == sorted(ErrorCode)
    assert [code.value for code in ErrorCode] == [code.name.lower() for code in ErrorCode]


def test_a_code_in_brackets_is_typed_in_one_place_only() -> None:
    code = rf"(\{{[\w.]*\bcode\}}|{'|'.join(ErrorCode)})"
    words = "|".join(code for code in ErrorCode if "_" in code)  # others are words of a text, too
    written = re.compile(rf" (\[{code}\]|\(({words})\))")
    found = {path.name for path in source_files() if written.search(path.read_text())}
    assert found == {"errors.py"}
    assert with_code("no such thing.", "session_not_found") == "no such thing. [session_not_found]"


@pytest.mark.parametrize("kind", [UsageError, Busy])
def test_an_error_has_its_text_and_a_plain_code_also_after_pickling(
    kind: type[TurnlogError],
) -> None:
    for error in (
        raised := kind(ErrorCode.SESSION_BUSY, "wait."),
        pickle.loads(pickle.dumps(raised)),
    ):
        assert (str(error), error.code, type(error.code)) == ("wait.", "session_busy", str)
