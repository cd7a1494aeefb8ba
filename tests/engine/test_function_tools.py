"""`@turnlog.tool`: a function is a tool, and its annotations are its specification."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, Literal, cast

import attrs
import pytest
import trio
from msgspec import Meta, Struct
from trio.testing import MockClock

import turnlog
from tests.engine.kit import house, outputs, play, the, unchecked
from tests.errors import raises_code
from turnlog import Tool, ToolMonitor, ToolResult
from turnlog.protocol.calls import ToolPlan
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.events import ApprovalAsked, ModelItemReceived, ToolFinished
from turnlog.protocol.items import FunctionCall
from turnlog.protocol.settings import SettingsUpdate
from turnlog.runtime.scripted_model.script import call
from turnlog.runtime.tools.shape import checked_tools
from turnlog.runtime.tools.tool import CallRefused


class Shelf(Struct, frozen=True):
    """A shelf of the store."""

    row: int
    side: Literal["left", "right"] = "left"


@turnlog.tool
async def move(
    count: Annotated[int, Meta(ge=1, le=5, description="how many")],
    to: Shelf,
    labels: list[str] = [],  # noqa: B006 - each call has a list of its own
    why: str | None = None,
) -> str:
    """Move things from one shelf to another.

    They are carried one by one.

    Args:
        count: not shown, since the annotation says it.
        to: where they go,
            which may be far.
        why (str): for the books.

    Returns:
        What was done.
    """
    labels.append("moved")
    return f"{count} to {to.side} {to.row}: {labels}"


MOVE: Final = {
    "type": "function",
    "name": "move",
    "strict": False,
    "description": "Move things from one shelf to another.\n\nThey are carried one by one.",
    "parameters": {
        "type": "object",
        "properties": {
            "count": {"type": "integer", "minimum": 1, "maximum": 5, "description": "how many"},
            "to": {"$ref": "#/$defs/Shelf", "description": "where they go, which may be far."},
            "labels": {"type": "array", "items": {"type": "string"}},
            "why": {
                "anyOf": [{"type": "string"}, {"type": "null"}],
                "default": None,
                "description": "for the books.",
            },
        },
        "required": ["count", "to"],
        "additionalProperties": False,
        "$defs": {
            "Shelf": {
                "title": "Shelf",
                "description": "A shelf of the store.",
                "type": "object",
                "properties": {
                    "row": {"type": "integer"},
                    "side": {"enum": ["left", "right"], "default": "left"},
                },
                "required": ["row"],
            }
        },
    },
}


def test_annotations_and_docstring_are_the_specification() -> None:
    assert move.spec == MOVE
    assert checked_tools([move]) == (move,)


async def test_it_is_still_the_function_that_it_was() -> None:
    assert await move(2, Shelf(3), []) == "2 to left 3: ['moved']"
    assert (move.__doc__ or "").startswith("Move things")


async def test_a_call_gets_what_the_model_gave_and_the_model_what_is_returned(
    tmp_path: Path,
) -> None:
    given = {"count": 2, "to": {"row": 3, "side": "right"}}
    script = (call("move", given), call("move", given), "on")
    async with house(tmp_path, *script, more_tools=[move]) as h:
        await play(await h.start())
        # The second call has a fresh default, not the list that the first one has changed.
        assert outputs(h.server) == ["2 to right 3: ['moved']"] * 2


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"count": 9, "to": {"row": 1}}, "Expected `int` <= 5 - at `$.count`"),
        ({"count": 1}, "Object missing required field `to`"),
        ({"count": 1, "to": {"row": 1}, "x": 1}, "Object contains unknown field `x`"),
        ("{", "Input data was truncated"),
    ],
)
async def test_arguments_that_do_not_fit_are_refused_before_the_function_runs(
    tmp_path: Path, arguments: dict[str, object] | str, why: str
) -> None:
    async with house(tmp_path, call("move", arguments), "on", more_tools=[move]) as h:
        await play(await h.start())
        assert outputs(h.server) == [f"failed to parse function arguments: {why}"]


async def result_of(tmp_path: Path, function: Callable[..., Any]) -> ToolFinished:
    """Return what the fact says of a call of a tool that is made from `function`."""
    tool = turnlog.tool(function, name="do")
    async with house(tmp_path, call("do"), "on", more_tools=[tool]) as h:
        return the(ToolFinished, await play(await h.start()))


def returns(value: object) -> Callable[[], Any]:
    async def do() -> object:
        await trio.lowlevel.checkpoint()
        return value

    return do


@pytest.mark.parametrize(
    ("value", "outcome", "output"),
    [
        ("sunny", "done", "sunny"),
        ("", "done", ""),
        (None, "done", "done"),
        ({"degrees": 3, "wet": True}, "done", '{"degrees":3,"wet":true}'),
        (Shelf(1), "done", '{"row":1,"side":"left"}'),
        (7, "done", "7"),
        (ToolResult("failed", "", "no sun"), "failed", "no sun"),
        (b"x", "failed", "do failed: TypeError: a tool returns text, data that JSON can hold, or "),
        (object(), "failed", "do failed: TypeError: Encoding objects of type object is unsup"),
    ],
)
async def test_text_is_sent_as_it_is_and_data_as_json(
    tmp_path: Path, value: object, outcome: str, output: str
) -> None:
    finished = await result_of(tmp_path, returns(value))
    assert finished.outcome == outcome
    assert finished.output.startswith(output) if outcome == "failed" else finished.output == output


@pytest.mark.parametrize("error", [ValueError("boom"), CallRefused("boom")])
async def test_an_exception_is_the_model_s_error_text(tmp_path: Path, error: Exception) -> None:
    async def do() -> None:
        raise error

    finished = await result_of(tmp_path, do)
    told = f"do failed: {type(error).__name__}: boom"
    assert (finished.outcome, finished.output) == ("failed", told)
    assert finished.traceback is not None


async def test_a_plain_function_runs_in_a_thread(tmp_path: Path) -> None:
    def do() -> bool:
        return threading.current_thread() is threading.main_thread()

    assert (await result_of(tmp_path, do)).output == "false"


async def test_a_call_that_takes_too_long_is_stopped(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    ended: list[str] = []

    async def do() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append("cleaned up")

    tool = turnlog.tool(do, timeout=0.5)
    order = Order(FunctionCall(name="do", arguments="{}", call_id="c"))
    result = await tool.run(unchecked(order), unchecked(Quiet()))
    assert result == ToolResult("failed", "", "do was stopped after 0.5 seconds")
    assert ended == ["cleaned up"]


@attrs.frozen
class Order:
    call: FunctionCall


class Quiet:
    async def started(self) -> None:
        await trio.lowlevel.checkpoint()


# --- state ---------------------------------------------------------------------------------------


@attrs.define
class Shelves:
    left: int = 10

    @turnlog.tool
    async def take(self, count: int) -> int:
        """Take some from the left shelf."""
        self.left -= count
        return self.left

    async def __call__(self, count: int) -> int:
        """Count again."""
        self.left = count
        return count


async def test_a_method_is_a_tool_of_its_instance(tmp_path: Path) -> None:
    shelves = Shelves()
    script = (call("take", {"count": 3}), call("recount", {"count": 99}), "on")
    tools = [shelves.take, turnlog.tool(shelves, name="recount")]
    assert [tool.description for tool in tools] == [
        "Take some from the left shelf.",
        "Count again.",
    ]
    async with house(tmp_path, *script, more_tools=tools) as h:
        await play(await h.start())
        assert outputs(h.server) == ["7", "99"]
    assert shelves.left == 99


async def test_a_parameter_that_takes_the_monitor_is_not_shown(tmp_path: Path) -> None:
    async def do(monitor: ToolMonitor) -> str:
        monitor.output("working ...")
        return str(monitor.effect)

    assert turnlog.tool(do).spec["parameters"]["properties"] == {}
    assert (await result_of(tmp_path, do)).output.endswith(".tool.0")


# --- approval ------------------------------------------------------------------------------------


@turnlog.tool(needs_approval=True, parallel=True)
async def deploy(version: str) -> str:
    return f"deployed {version}"


ONE_POINT_TWO: Final = call("deploy", {"version": "1.2"})


async def test_a_tool_that_needs_approval_asks_before_each_call(tmp_path: Path) -> None:
    asked: list[ToolPlan] = []
    async with house(tmp_path, ONE_POINT_TWO, "on", more_tools=[deploy]) as h:
        session = await h.start(update=SettingsUpdate(approval_policy="on-request"))
        async for recorded in session.run("go"):
            if isinstance(recorded.event, ApprovalAsked):
                asked.append(recorded.event.plan)
                await session.answer(recorded.event.question, "approved")
        assert outputs(h.server) == ["deployed 1.2"]
    assert [(plan.reason, plan.parallel) for plan in asked] == [('deploy {"version":"1.2"}', True)]


async def test_where_no_question_is_allowed_it_is_refused(tmp_path: Path) -> None:
    async with house(tmp_path, ONE_POINT_TWO, "on", more_tools=[deploy]) as h:
        await play(await h.start())
        (told,) = outputs(h.server)
        assert told.startswith("deploy needs the approval of a person, and the approval policy ")


@pytest.mark.parametrize(("needs_approval", "known_safe"), [(None, False), (False, True)])
async def test_what_changes_nothing_is_never_asked_about(
    tmp_path: Path, needs_approval: bool | None, known_safe: bool
) -> None:
    tool = turnlog.tool(returns("x"), needs_approval=needs_approval)
    async with house(tmp_path, call("do"), "on", more_tools=[tool]) as h:
        events = await play(await h.start())
        plan = the(ModelItemReceived, events[:-8]).plan
        assert plan is not None
        assert (plan.wants, plan.known_safe) == ("inside", known_safe)


# --- what is no tool -----------------------------------------------------------------------------


async def starred(*counts: int) -> None: ...
async def positional(count: int, /) -> None: ...
async def bare(count: int) -> None: ...
async def strange(count: Path | trio.Event) -> None: ...
async def missing(count: int) -> None: ...
def plain() -> None: ...


del bare.__annotations__["count"]
missing.__annotations__["count"] = "Nothing"


NO_TOOLS: Final[list[tuple[Callable[..., Any], str]]] = [
    (starred, "the parameter `*counts: int` has no name for a model to use"),
    (positional, "the parameter `count: int` has no name for a model to use"),
    (bare, "the parameter `count` needs an annotation: its type"),
    (Shelves.take, "the parameter `self` needs an annotation: its type. A method is given "),
    (strange, "an annotation cannot be shown to a model: "),
    (missing, "an annotation names a type that is not there: name 'Nothing' is not defined"),
]


@pytest.mark.parametrize(("function", "why"), NO_TOOLS)
def test_a_function_that_no_model_could_call_is_refused_when_an_engine_is_opened(
    function: Callable[..., Any], why: str
) -> None:
    kind: type[object] = type(function)
    tool: Tool = cast(Tool, function) if hasattr(kind, "spec") else turnlog.tool(function)
    with raises_code(ErrorCode.TOOL_INVALID) as refused:
        checked_tools([tool])
    assert str(refused.value).startswith(f"tools[0] (FunctionTool), {tool.name}: {why}")


@pytest.mark.parametrize(
    ("function", "options", "why"),
    [
        (5, {}, "int is not a function; use `@turnlog.tool` on `def` or `async def`"),
        (Shelves, {}, "Shelves is not a function; use "),
        (plain, {"timeout": 1}, "plain: a timeout needs `async def`; a thread cannot be stopped"),
        (returns(1), {"timeout": 0}, "do: the timeout 0 is not allowed; use seconds above 0"),
    ],
)
def test_a_wrong_use_of_the_decorator_is_told_at_once(
    function: Callable[..., Any], options: dict[str, Any], why: str
) -> None:
    with raises_code(ErrorCode.TOOL_INVALID) as refused:
        turnlog.tool(function, **options)
    assert str(refused.value).startswith(why)
