"""A tool's fault is the tool's: it costs its call, the model is told, and the turn continues."""

import errno
import os
import re
from collections.abc import AsyncGenerator, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
import trio

import turnlog
from tests.engine.kit import house, of, outputs, play, the, unchecked, until
from tests.errors import raises_code
from tests.warm.client import run
from tests.warm.request import Program
from turnlog.actors.ports import ToolMonitor, ToolOrder, ToolResult
from turnlog.protocol.calls import PatchReport, ToolPlan
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.events import (
    CallSettled,
    ModelItemReceived,
    ToolFinished,
    ToolStarted,
    TurnEnded,
)
from turnlog.protocol.items import ToolCallItem
from turnlog.protocol.ops import prompt
from turnlog.protocol.settings import TurnSettings
from turnlog.runtime.assembly import built_in_tools, open_sandbox
from turnlog.runtime.scripted_model.script import call
from turnlog.runtime.store.lmdb.log import open_log
from turnlog.runtime.tools.agents import AGENT_TOOLS
from turnlog.runtime.tools.shape import BUILT_IN
from turnlog.runtime.tools.tool import CallRefused, Tool

SPEC: Final[dict[str, Any]] = {"type": "function", "name": "weather", "parameters": {}}


@attrs.define(eq=False)
class Weather:
    """A tool that does what a test wants it to do."""

    does: Callable[[ToolMonitor], Any] = lambda _: ToolResult("done", "", "sunny")
    plans: Callable[[], Any] = lambda: ToolPlan("weather")
    starts: bool = True
    name: str = "weather"
    spec: dict[str, Any] = attrs.field(factory=lambda: SPEC)

    def plan(self, call: ToolCallItem, settings: TurnSettings) -> ToolPlan:
        plan: ToolPlan = self.plans()
        return plan

    async def run(self, order: ToolOrder, monitor: ToolMonitor) -> ToolResult:
        if self.starts:
            await monitor.started()
        result = self.does(monitor)
        if hasattr(result, "__await__"):
            result = await result
        found: ToolResult = result
        return found


def raises(error: BaseException) -> Callable[..., Any]:
    def does(*_: object) -> None:
        raise error

    return does


class TextRaises(Exception):
    def __str__(self) -> str:
        raise RuntimeError


RAISED: Final[dict[str, tuple[BaseException, str]]] = {
    "a value": (ValueError("boom"), "weather failed: ValueError: boom"),
    "no text": (KeyError(), "weather failed: KeyError"),
    "a key": (KeyError("x"), "weather failed: KeyError: 'x'"),
    "no unicode": (OSError("no file \udcff"), "weather failed: OSError: no file ?"),
    "no descriptor": (
        OSError(errno.EMFILE, os.strerror(errno.EMFILE)),
        "weather failed: OSError: [Errno 24] Too many open files",
    ),
    "no memory": (MemoryError(), "weather failed: MemoryError"),
    "its text raises": (TextRaises(), "weather failed: TextRaises: (it has no readable text)"),
    "an exit": (SystemExit(3), "weather failed: SystemExit: 3"),
    "of its own base": (BaseException("base"), "weather failed: BaseException: base"),
    "a group of one": (ExceptionGroup("g", [ValueError("in")]), "weather failed: ValueError: in"),
    "groups": (
        ExceptionGroup("g", [ExceptionGroup("h", [ValueError("in")]), *[OSError("x")] * 4]),
        "weather failed: ValueError: in; OSError: x; OSError: x; and 2 more",
    ),
    "a patch that failed": (CallRefused("not so"), "weather failed: CallRefused: not so"),
}


@pytest.mark.parametrize(("error", "told"), RAISED.values(), ids=RAISED)
async def test_what_a_tool_raises_is_a_failed_result_and_the_turn_continues(
    tmp_path: Path, error: BaseException, told: str
) -> None:
    warned: list[str] = []
    tool = Weather(raises(error))
    async with house(
        tmp_path, call("weather"), "so it is", more_tools=[tool], warn=warned.append
    ) as h:
        events = await play(await h.start())
        finished = the(ToolFinished, events)
        assert (finished.outcome, finished.preamble, finished.output) == ("failed", "", told)
        assert finished.traceback is not None
        assert finished.traceback.startswith(("Traceback (most recent", "  + Exception Group"))
        assert "in does" in finished.traceback
        assert warned == [f"the tool {told}\n{finished.traceback}".rstrip()]
        assert outputs(h.server) == [told]
        assert the(TurnEnded, events).last_agent_message == "so it is"


GIVEN: Final[dict[str, tuple[object, str]]] = {
    "nothing": (None, "its result: None is not allowed; use ToolResult"),
    "a text": ("sunny", "its result: str is not allowed; use ToolResult"),
    "an object": (object(), "its result: a value of type object cannot be stored; "),
    "an outcome": (
        ToolResult(unchecked("ok"), "", "x"),
        "its result.outcome: 'ok' is not allowed; use one of done, failed, cancelled, crashed",
    ),
    "bytes": (
        ToolResult("done", "", unchecked(b"x")),
        "its result.output: a value of type bytes cannot be stored; ",
    ),
    "no unicode": (
        ToolResult("done", "", "half a pair: \ud800"),
        "its result.output: 'half a pair: \\ud800' is not Unicode text: character 13 ",
    ),
    "a report": (
        ToolResult("done", "", "x", report=unchecked("r")),
        "its result.report: str is not allowed; use one of CommandReport, PatchReport, None",
    ),
    "a report of reports": (
        ToolResult("done", "", "x", report=PatchReport(unchecked([1]), True)),
        "its result.report.changes[0]: int is not allowed; use FileChange",
    ),
}


@pytest.mark.parametrize(("given", "why"), GIVEN.values(), ids=GIVEN)
async def test_a_result_of_a_wrong_shape_is_a_failed_one(
    tmp_path: Path, given: object, why: str
) -> None:
    warned: list[str] = []
    tool = Weather(lambda _: given)
    async with house(tmp_path, call("weather"), "on", more_tools=[tool], warn=warned.append) as h:
        events = await play(await h.start())
        finished = the(ToolFinished, events)
        assert finished.outcome == "failed"
        assert finished.output.startswith(f"weather failed: {why}")
        assert warned == [f"the tool {finished.output}"]
        assert the(TurnEnded, events).status == "completed"


def gives(result: ToolResult, _: ToolMonitor) -> ToolResult:
    return result


async def test_three_megabytes_are_cut_as_the_output_of_a_command_is(tmp_path: Path) -> None:
    whole = "é" * 1_500_000
    for result in (
        ToolResult("done", "", whole),
        ToolResult("done", whole, ""),
        ToolResult("done", "", whole, full_output=whole),
    ):
        tool = Weather(partial(gives, result))
        async with house(tmp_path, call("weather"), "on", more_tools=[tool]) as h:
            finished = the(ToolFinished, await play(await h.start()))
            (told,) = outputs(h.server)
            assert told.startswith("Warning: truncated output (original token count: 750000)\n")
            assert len(told.encode()) < 41_000
            assert finished.full_output is not None
            assert len(finished.full_output.encode()) <= (1 << 20) + 100


async def test_a_long_error_is_cut_and_so_is_its_traceback(tmp_path: Path) -> None:
    tool = Weather(raises(ValueError("x" * 3_000_000)), lambda: ToolPlan("weather"))
    async with house(tmp_path, call("weather"), "on", more_tools=[tool]) as h:
        finished = the(ToolFinished, await play(await h.start()))
        assert finished.traceback is not None
        assert len(finished.output) < 41_000
        assert len(finished.traceback) < 17_000
        assert finished.traceback.startswith("Traceback")


async def test_a_tool_that_does_not_say_that_it_starts_is_told_so_once(tmp_path: Path) -> None:
    warned: list[str] = []
    tool = Weather(starts=False)
    script = (call("weather"), call("weather"), "on")
    async with house(tmp_path, *script, more_tools=[tool], warn=warned.append) as h:
        events = await play(await h.start())
        assert [event.output for event in of(ToolFinished, events)] == ["sunny", "sunny"]
        assert [text[:55] for text in warned] == [
            "the tool weather did not await monitor.started() before"
        ]


async def refused_plan(tmp_path: Path, plans: Callable[[], object]) -> tuple[str, str, str | None]:
    warned: list[str] = []
    tool = Weather(plans=plans)
    async with house(tmp_path, call("weather"), "on", more_tools=[tool], warn=warned.append) as h:
        events = await play(await h.start())
        assert the(TurnEnded, events).status == "completed"
        settled = the(CallSettled, events)
        assert outputs(h.server) == [settled.output]
        received = [event.plan for event in of(ModelItemReceived, events) if event.plan]
        return settled.outcome, settled.output, received[0].traceback


async def test_a_plan_that_raises_costs_its_call(tmp_path: Path) -> None:
    outcome, output, traceback = await refused_plan(tmp_path, raises(KeyError("x")))
    assert (outcome, output) == ("refused", "weather failed: KeyError: 'x'")
    assert traceback is not None
    assert "in does" in traceback


@pytest.mark.parametrize(
    ("plan", "why"),
    [
        (None, "its plan: None is not allowed; use ToolPlan"),
        ("weather", "its plan: str is not allowed; use ToolPlan"),
        (ToolPlan(unchecked(5)), "its plan.tool: int is not allowed; use text"),
        (
            ToolPlan("weather", wants=unchecked("both")),
            "its plan.wants: 'both' is not allowed; use one of inside, outside",
        ),
        (ToolPlan("weather", reason="\ud800"), "its plan.reason: '\\ud800' is not Unicode text"),
    ],
)
async def test_a_plan_of_a_wrong_shape_costs_its_call(
    tmp_path: Path, plan: object, why: str
) -> None:
    outcome, output, _ = await refused_plan(tmp_path, lambda: plan)
    assert outcome == "refused"
    assert output.startswith(f"weather failed: {why}")


async def test_a_plan_that_must_be_awaited_costs_its_call(tmp_path: Path) -> None:
    async def plan() -> ToolPlan:
        return ToolPlan("weather")

    _, output, _ = await refused_plan(tmp_path, plan)
    assert output == "weather failed: plan must be a plain function, not `async def`"


async def test_a_refusal_is_cut_too(tmp_path: Path) -> None:
    for plans in (
        raises(CallRefused("x" * 3_000_000)),
        lambda: ToolPlan("weather", refusal="x" * 3_000_000),
    ):
        _, output, _ = await refused_plan(tmp_path, plans)
        assert len(output) < 41_000


async def stopped_while(tmp_path: Path, does: Callable[[ToolMonitor], Any]) -> ToolFinished:
    """Return how a call ended whose turn was interrupted while it ran."""
    async with house(tmp_path, call("weather"), "on", more_tools=[Weather(does)]) as h:
        session = await h.start()
        await session.submit(prompt("go"))
        await until(session, ToolStarted, after=0)
        await session.interrupt()
        end = await until(session, TurnEnded, after=0)
        assert end.status == "interrupted"
        return the(ToolFinished, await h.events(session))


async def test_what_is_raised_in_place_of_a_cancellation_is_the_tool_s(tmp_path: Path) -> None:
    async def does(_: ToolMonitor) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("while leaving")

    finished = await stopped_while(tmp_path, does)
    assert (finished.outcome, finished.output) == (
        "failed",
        "weather failed: ValueError: while leaving",
    )


async def test_what_is_raised_beside_a_cancellation_is_the_tool_s(tmp_path: Path) -> None:
    async def fails_on_the_way() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("beside")

    async def does(_: ToolMonitor) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails_on_the_way)
            nursery.start_soon(trio.sleep_forever)

    assert (await stopped_while(tmp_path, does)).output == "weather failed: ValueError: beside"


async def test_a_last_word_of_a_wrong_shape_is_the_tool_s(tmp_path: Path) -> None:
    async def does(monitor: ToolMonitor) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            monitor.stopped(unchecked("stopped"))
            raise

    finished = await stopped_while(tmp_path, does)
    assert finished.output == (
        "weather failed: UsageError: result: str is not allowed; use ToolResult"
    )


def says_bytes(monitor: ToolMonitor) -> None:
    monitor.output(unchecked(b"bytes"))


def says_half_a_pair(monitor: ToolMonitor) -> None:
    monitor.output("\ud800")


async def saves_a_number(monitor: ToolMonitor) -> None:
    await monitor.saved(unchecked(5))


async def saves_a_name(monitor: ToolMonitor) -> None:
    await monitor.saved(unchecked(["a file"]))


def asks_for_nothing_there_is(monitor: ToolMonitor) -> None:
    unchecked(monitor).nothing()


@pytest.mark.parametrize(
    "does",
    [says_bytes, says_half_a_pair, saves_a_number, saves_a_name, asks_for_nothing_there_is],
)
async def test_a_monitor_that_is_told_nonsense_costs_the_call(
    tmp_path: Path, does: Callable[[ToolMonitor], Any]
) -> None:
    async with house(tmp_path, call("weather"), "on", more_tools=[Weather(does)]) as h:
        events = await play(await h.start())
        assert the(ToolFinished, events).outcome == "failed"
        assert the(TurnEnded, events).status == "completed"


# --- shapes that are refused when an engine is opened --------------------------------------------


class Nothing: ...


class Sync(Weather):
    def run(self, order: ToolOrder, monitor: ToolMonitor) -> ToolResult:  # type: ignore[override]
        return ToolResult("done", "", "")


class Generator(Weather):
    async def run(self, order: ToolOrder, monitor: ToolMonitor) -> AsyncGenerator[ToolResult]:  # type: ignore[override]
        yield ToolResult("done", "", "")


class AwaitedPlan(Weather):
    async def plan(self, call: ToolCallItem, settings: TurnSettings) -> ToolPlan:  # type: ignore[override]
        return ToolPlan("weather")


class FewArguments(Weather):
    async def run(self) -> ToolResult:  # type: ignore[override]
        return ToolResult("done", "", "")


class RaisingSpec(Nothing):
    name = "weather"

    @property
    def spec(self) -> dict[str, Any]:
        raise KeyError("x")


def with_spec(**fields: object) -> Weather:
    return Weather(spec={**SPEC, **fields})


SHAPES: Final[list[tuple[Any, str]]] = [
    (5, "tools: int is not allowed; use a list of tools"),
    ("weather", "tools: str is not allowed; use a list of tools"),
    ([Nothing()], "tools[0] (Nothing): it has no `name`; a tool has name, spec, plan and run"),
    ([Weather], "tools[0] (Weather): this is a class; give an instance of it: Weather()"),
    ([Weather(name="")], "tools[0] (Weather): the name '' is not allowed; use 1 to 128 letters, "),
    ([Weather(name=unchecked(5))], "tools[0] (Weather): the name 5 is not allowed; use 1 to 128 "),
    (
        [Weather(name="exec_command")],
        "tools[0] (Weather): the name 'exec_command' is taken by a tool of turnlog's own. Choose",
    ),
    (
        [Weather(), Weather()],
        "tools[1] (Weather): the name 'weather' is taken by another of these tools. Choose",
    ),
    (
        [with_spec(name="wetter")],
        "tools[0] (Weather), weather: its spec has the name 'wetter', by which the model would "
        "call it; the two must be equal",
    ),
    ([with_spec(type=None)], "tools[0] (Weather), weather: its spec has no `type`; use 'function'"),
    (
        [with_spec(parameters=object())],
        "tools[0] (Weather), weather: spec['parameters']: a value of type object cannot be stored",
    ),
    (
        [Weather(spec=unchecked("spec"))],
        "tools[0] (Weather), weather: spec: str is not allowed; ",
    ),
    ([RaisingSpec()], "tools[0] (RaisingSpec), weather: its `spec` raises KeyError: 'x'"),
    ([Sync()], "tools[0] (Sync), weather: run must be a coroutine function: `async def run(...)`"),
    ([Generator()], "tools[0] (Generator), weather: run must be a coroutine function: "),
    ([AwaitedPlan()], "tools[0] (AwaitedPlan), weather: plan must be a plain function, not "),
    ([FewArguments()], "tools[0] (FewArguments), weather: its `run` must take two arguments: "),
]


@pytest.mark.parametrize(("tools", "why"), SHAPES, ids=[why[:50] for _, why in SHAPES])
async def test_what_is_no_tool_is_refused_when_the_engine_is_opened(
    tmp_path: Path, tools: Iterable[Tool], why: str
) -> None:
    with raises_code(ErrorCode.TOOL_INVALID, match=re.escape(why)):
        async with turnlog.open_engine(home=tmp_path / "home", tools=tools):
            pass
    assert not (tmp_path / "home").exists()


async def test_the_names_of_turnlog_s_own_tools_are_those_that_are_taken(tmp_path: Path) -> None:
    environ = {"TURNLOG_HOME": str(tmp_path)}
    async with open_sandbox(environ) as sandbox:
        registry = built_in_tools(environ, sandbox)
        own = {tool.name for tool in registry.tools} | {tool.name for tool in AGENT_TOOLS}
    assert own == BUILT_IN


async def test_show_prints_the_traceback_below_its_event(tmp_path: Path) -> None:
    tool = Weather(raises(ValueError("boom")))
    async with (
        open_log(tmp_path / "home" / "store") as log,
        house(tmp_path, call("weather"), "on", log=log, more_tools=[tool]) as h,
    ):
        session = await h.start()
        at = next(r.sequence for r in await play(session) if r.kind == "tool_finished")
    for words in ((), ("--at", str(at))):
        environment = {**os.environ, "TURNLOG_HOME": str(tmp_path / "home")}
        done = await run(Program(str(tmp_path), environment, ("show", session.id, *words)))
        lines = [line.strip() for line in done.out.decode().splitlines()]
        after = next(number for number, line in enumerate(lines) if "weather failed" in line)
        assert lines[after + 1] == "Traceback (most recent call last):"
        assert "ValueError: boom" in lines[after + 2 : after + 20]
