"""Script files: what people write, and what they are told when it is wrong."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.errors import raises_code
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import UsageError
from turnlog.protocol.usage import RateLimits, RateLimitWindow, TokenUsage
from turnlog.runtime.scripted_model.reading import load_script, parse_script
from turnlog.runtime.scripted_model.script import (
    Failure,
    Response,
    Script,
    call,
    custom,
    message,
    reasoning,
)

ROLLOUTS = Path(__file__).parents[1] / "data" / "rollouts"


def test_the_short_forms_say_what_they_look_like() -> None:
    text = b"""{"loop": true, "responses": [
        "Plain.",
        {"message": "Looking.", "phase": "commentary", "usage": {"input_tokens": 7}},
        {"items": [
            {"reasoning": ["**Plan**", "more"], "content": "raw", "encrypted_content": "e"},
            {"call": "exec_command", "arguments": {"cmd": "ls"}},
            {"call": "echo", "arguments": "{broken", "namespace": "mcp__echo", "call_id": "c1"},
            {"custom": "apply_patch", "input": "*** Begin Patch"},
            {"item": {"type": "web_search_call", "status": "completed"}},
            "and a text"]},
        {"message": "ab", "times": 3, "deltas": false, "only_for": "the counting"},
        {"failed": {"code": "insufficient_quota", "message": "no"}, "delay_ms": 5},
        {"status": 429, "headers": {"retry-after": "1"}, "repeat": 2, "body": {"error": {}},
         "rate_limits": {"primary": {"used_percent": 99.5, "window_minutes": 300}}}]}"""
    assert parse_script(text, "s.json") == Script(
        loop=True,
        responses=[
            Response(items=[message("Plain.")]),
            Response(
                items=[message("Looking.", phase="commentary")], usage=TokenUsage(input_tokens=7)
            ),
            Response(
                items=[
                    reasoning("**Plan**", "more", content="raw", encrypted_content="e"),
                    call("exec_command", {"cmd": "ls"}),
                    call("echo", "{broken", namespace="mcp__echo", call_id="c1"),
                    custom("apply_patch", "*** Begin Patch"),
                    {"type": "web_search_call", "status": "completed"},
                    message("and a text"),
                ]
            ),
            Response(items=[message("ababab")], deltas=False, only_for="the counting"),
            Response(failed=Failure(code="insufficient_quota", message="no"), delay_ms=5),
            Response(
                status=429,
                headers={"retry-after": "1"},
                repeat=2,
                body={"error": {}},
                rate_limits=RateLimits(primary=RateLimitWindow(99.5, 300)),
            ),
        ],
    )


def test_a_toml_script_says_the_same() -> None:
    toml = b"""
    loop = true
    [[responses]]
    message = "hi"
    delay_ms = 20
    [[responses]]
    items = [{call = "exec_command", arguments = {cmd = "ls"}}, "done"]
    """
    json = b"""{"loop": true, "responses": [{"message": "hi", "delay_ms": 20},
        {"items": [{"call": "exec_command", "arguments": {"cmd": "ls"}}, "done"]}]}"""
    assert parse_script(toml, "s.toml") == parse_script(json, "s.json")


def test_a_list_alone_and_a_byte_order_mark_are_fine() -> None:
    assert parse_script(b'\xef\xbb\xbf["hi"]', "s.json") == Script.of("hi")


def test_a_rollout_is_a_script(tmp_path: Path) -> None:
    script = load_script(ROLLOUTS / "text.jsonl")
    assert [item["content"][0]["text"] for item in script.responses[0].items] == ["Plain answer."]


def test_of_takes_texts_items_lists_and_responses() -> None:
    listing = call("exec_command", {"cmd": "ls"})
    assert Script.of("a", listing, [message("b"), listing], Response(status=500)) == Script(
        [
            Response(items=[message("a")]),
            Response(items=[listing]),
            Response(items=[message("b"), listing]),
            Response(status=500),
        ]
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"", "s.json: Expecting value: line 1 column 1 (char 0)"),
        (b'["a",\n "b"', "s.json: Expecting ',' delimiter: line 2 column 5 (char 10)"),
        (b"\xff", "s.json: expected UTF-8; byte 0 is not"),
        (b"7", "s.json: expected `responses`, a list with one entry per request"),
        (b"[]", "s.json: responses: expected at least one"),
        (b'{"responses": ["a"], "lop": true}', "s.json: Object contains unknown field `lop`"),
        (b'{"responses": ["a"], "loop": 1}', "s.json: loop: Expected `bool`, got `int`"),
        (b'["a", 7]', "s.json: responses[1]: expected a text or an object, got a number"),
        (b'[{"items": {}}]', "s.json: responses[0].items: expected a list, got an object"),
        (
            b'[{"message": "a", "delay": 5}]',
            "s.json: responses[0]: Object contains unknown field `delay`",
        ),
        (
            b'[{"delay_m": 5}]',
            "s.json: responses[0]: Object contains unknown field `delay_m`; "
            "did you mean `delay_ms`?",
        ),
        (
            b'[{"usage": {"input_tokens": "7"}}]',
            "s.json: responses[0].usage.input_tokens: Expected `int`, got `str`",
        ),
        (
            b'[{"items": ["a", {"call": "f", "arguments": 7}]}]',
            "s.json: responses[0].items[1].arguments: Expected `str | object`, got `int`",
        ),
        (
            b'[{"items": [{"message": "a", "call": "f"}]}]',
            "s.json: responses[0].items[0]: expected one of message, reasoning, call, custom, "
            "item; it has message and call; put several under `items`",
        ),
        (
            b'[{"items": [{"type": "message"}]}]',
            "s.json: responses[0].items[0]: expected one of message, reasoning, call, custom, "
            "item; it has type; the API's own form goes under `item`",
        ),
        (
            b'[{"message": "a", "items": ["b"]}]',
            "s.json: responses[0]: expected `items`, or one item in their place, not both",
        ),
        (
            b'[{"item": {}}]',
            "s.json: responses[0]: an item needs a `type`, such as message or function_call",
        ),
        (
            b'["a", {"cut_after": 1, "stall_after": 2}]',
            "s.json: responses[1]: a response ends in one way, not by stall_after and cut_after",
        ),
        (
            b'[{"status": 500, "message": "a"}]',
            "s.json: responses[0]: a response with a `status` or a `body` cannot have items "
            "or an end",
        ),
        (
            b'[{"status": 304}]',
            "s.json: responses[0]: status 304 has no body; use another",
        ),
        (
            b'["a", {"message": "b", "only_for": 7}]',
            "s.json: responses[1].only_for: Expected `str | null`, got `int`",
        ),
        (
            b'[{"message": "b", "only_for": " "}]',
            "s.json: responses[0]: `only_for` needs a text that tells its requests from others",
        ),
        (
            b'[{"headers": {"x": "a\\r\\ny: b"}}]',
            "s.json: responses[0]: 'x': 'a\\r\\ny: b' cannot be sent as an HTTP header",
        ),
        (
            b'[{"headers": {"Content-Length": "3"}}]',
            "s.json: responses[0]: the header content-length is set by the server; "
            "see `content_type`",
        ),
        (
            b'[{"message": "a", "times": 99999999999}]',
            "s.json: responses[0]: `times` makes a text of over 67108864 code points",
        ),
        (
            b'["\\ud800"]',
            "s.json: Input data was truncated; expected strict JSON, without NaN or half of a "
            "surrogate pair",
        ),
        (b"[" * 100_000, "s.json: values are nested too deep"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: bytes, complaint: str) -> None:
    with raises_code(ErrorCode.SCRIPT_INVALID) as caught:
        parse_script(text, "s.json")
    assert str(caught.value).startswith(complaint)


def test_a_toml_error_has_its_line() -> None:
    with raises_code(ErrorCode.SCRIPT_INVALID, match=r"^s\.toml: .*at line 2, column"):
        parse_script(b"loop = true\nresponses = ]", "s.toml")


@given(st.binary() | st.text().map(str.encode))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    for name in ("s.json", "s.toml", "s.jsonl"):
        try:
            parse_script(data, name)
        except UsageError as problem:
            assert str(problem).startswith(name)  # noqa: PT017 - valid input is fine as well


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 999) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*Response.__struct_fields__, "message", "call", "reasoning", "item"]),
            inner,
            max_size=3,
        )
    ),
)


@given(st.lists(JSON, max_size=3))
def test_no_json_raises_anything_else(responses: list[Any]) -> None:
    try:
        parse_script(msgspec.json.encode({"responses": responses}), "s.json")
    except UsageError as problem:
        assert str(problem).startswith("s.json: ")  # noqa: PT017 - valid input is fine as well


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with raises_code(ErrorCode.INPUT_UNREADABLE, match="No such file"):
        load_script(tmp_path / "missing.json")
    folder = tmp_path / "folder.json"
    folder.mkdir()
    with raises_code(ErrorCode.INPUT_UNREADABLE, match="cannot be read: Is a directory"):
        load_script(folder)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    with raises_code(
        ErrorCode.SCRIPT_INVALID, match=r"expected a \.json or \.toml script.*not \.yaml"
    ):
        load_script(tmp_path / "script.yaml")
