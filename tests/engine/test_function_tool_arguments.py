"""What annotations of a function's tool say to the model, and what the function is given."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import pytest
import trio
from msgspec import Meta, Struct

import turnlog
from tests.engine.kit import PATIENCE, house, outputs, play
from turnlog.runtime.scripted_model.script import Response, call


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Size(Struct, frozen=True, kw_only=True):
    width: int
    height: int = 1


@dataclass
class Place:
    city: str


SIZE: Final = {
    "title": "Size",
    "type": "object",
    "properties": {"width": {"type": "integer"}, "height": {"type": "integer", "default": 1}},
    "required": ["width"],
}
PLACE: Final = {
    "title": "Place",
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
COLOUR: Final = {"title": "Colour", "enum": ["blue", "red"]}


@pytest.mark.parametrize(
    ("annotation", "shown", "parts", "given", "received"),
    [
        (
            Annotated[str, Meta(pattern="^[a-z]+$", max_length=9, description="a word")],
            {"type": "string", "pattern": "^[a-z]+$", "maxLength": 9, "description": "a word"},
            {},
            "abc",
            "'abc'",
        ),
        (Annotated[float, Meta(gt=0, lt=1)], None, {}, 0.5, "0.5"),
        (Literal["fast", "slow"], {"enum": ["fast", "slow"]}, {}, "slow", "'slow'"),
        (Colour, {"$ref": "#/$defs/Colour"}, {"Colour": COLOUR}, "red", "<Colour.RED: 'red'>"),
        (
            dict[str, int],
            {"type": "object", "additionalProperties": {"type": "integer"}},
            {},
            {"a": 1},
            "{'a': 1}",
        ),
        (
            Annotated[list[Size], Meta(min_length=1)],
            {"type": "array", "items": {"$ref": "#/$defs/Size"}, "minItems": 1},
            {"Size": SIZE},
            [{"width": 2}],
            "[Size(width=2, height=1)]",
        ),
        (
            Place,
            {"$ref": "#/$defs/Place"},
            {"Place": PLACE},
            {"city": "Oslo"},
            "Place(city='Oslo')",
        ),
        (
            int | None,
            {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            {},
            None,
            "None",
        ),
    ],
)
async def test_an_annotation_is_shown_as_json_schema_and_decides_what_the_function_gets(
    tmp_path: Path,
    annotation: Any,  # noqa: ANN401
    shown: dict[str, Any] | None,
    parts: dict[str, Any],
    given: object,
    received: str,
) -> None:
    async def do(value: object) -> str:
        return repr(value)

    do.__annotations__["value"] = annotation
    tool = turnlog.tool(do)
    parameters = tool.spec["parameters"]
    if shown is not None:
        assert parameters["properties"] == {"value": shown}
    assert parameters.get("$defs", {}) == parts
    assert parameters["required"] == ["value"]
    async with house(tmp_path, call("do", {"value": given}), "on", more_tools=[tool]) as h:
        await play(await h.start())
        assert outputs(h.server) == [received]


async def test_a_default_is_shown_and_used(tmp_path: Path) -> None:
    @turnlog.tool
    async def do(speed: Literal["fast", "slow"] = "slow", times: int = 2) -> str:
        """Do it."""
        return f"{speed} {times}"

    assert do.spec["parameters"] == {
        "type": "object",
        "properties": {
            "speed": {"enum": ["fast", "slow"], "default": "slow"},
            "times": {"type": "integer", "default": 2},
        },
        "required": [],
        "additionalProperties": False,
    }
    async with house(tmp_path, call("do", {"times": 3}), "on", more_tools=[do]) as h:
        await play(await h.start())
        assert outputs(h.server) == ["slow 3"]


@pytest.mark.parametrize(("parallel", "most"), [(True, 2), (False, 1)])
async def test_calls_overlap_only_where_their_tool_says_so(
    tmp_path: Path, parallel: bool, most: int
) -> None:
    running: set[int] = set()
    seen: list[int] = []

    @turnlog.tool(parallel=parallel)
    async def do(number: int) -> str:
        """Do it."""
        running.add(number)
        with trio.fail_after(PATIENCE):
            while len(running) < most:  # until the other one runs, too
                await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        seen.append(len(running))
        if not parallel:
            running.remove(number)
        return "done"

    calls = [call("do", {"number": 1}), call("do", {"number": 2})]
    async with house(tmp_path, Response(items=calls), "on", more_tools=[do]) as h:
        await play(await h.start())
        assert outputs(h.server) == ["done", "done"]
    assert max(seen) == most
