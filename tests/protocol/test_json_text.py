"""JSON text of values whose strings are not valid Unicode."""

import json

import pytest
from msgspec import Raw, Struct

from turnlog.protocol.json_text import json_line, json_text


class Named(Struct, tag="named"):
    name: str
    more: Raw = Raw(b"null")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"name": "\udcff"}, {"name": "\udcff"}),
        (Named("\udcff"), {"type": "named", "name": "\udcff", "more": None}),
        ([Named("a\udcff", Raw(b'{"x":"\\ud800"}'))], [
            {"type": "named", "name": "a\udcff", "more": {"x": "\ud800"}}
        ]),
    ],
)  # fmt: skip
def test_half_of_a_surrogate_pair_is_escaped(value: object, expected: object) -> None:
    text = json_text(value)
    assert text.isascii()
    assert json.loads(text) == expected


def test_a_line_of_valid_text_is_raw_utf_8_and_has_one_line_end() -> None:
    assert json_line({"name": "ä\n"}) == '{"name":"ä\\n"}\n'.encode()
