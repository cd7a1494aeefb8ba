"""Whatever crashes inside an actor ends its turn with an error; the session stays usable."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from tests.engine.kit import house, kinds, of, play, shell, the, until
from turnlog.actors.ports import (
    ContextLoader,
    ContextRequest,
    ModelClient,
    ModelRequest,
    ModelSignal,
    ToolMonitor,
    ToolOrder,
    ToolResult,
)
from turnlog.protocol.calls import ErrorInfo, ToolPlan
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.errors import InputUnreadable
from turnlog.protocol.events import (
    CallSettled,
    ContextLoaded,
    EffectClosed,
    ToolStarted,
    TurnEnded,
)
from turnlog.protocol.items import ToolCallItem
from turnlog.protocol.settings import TurnSettings
from turnlog.runtime.scripted_model.script import call


@attrs.define(eq=False)
class Breaking:
    """A tool that breaks, before or after it says that it begins."""

    begins: bool
    error: Exception
    name: str = "break"
    spec: dict[str, Any] = attrs.field(
        factory=lambda: {"type": "function", "name": "break", "parameters": {}}
    )

    def plan(self, call: ToolCallItem, settings: TurnSettings) -> ToolPlan:
        return ToolPlan(self.name, parallel=True)

    async def run(self, order: ToolOrder, monitor: ToolMonitor) -> ToolResult:
        if self.begins:
            await monitor.started()
        raise self.error


@attrs.define(eq=False)
class OnceBroken:
    """A model client or a context loader that raises the first time, then does as it should."""

    model: ModelClient | None = None
    context: ContextLoader | None = None
    error: Exception | None = None

    def fail_once(self) -> None:
        error, self.error = self.error, None
        if error is not None:
            raise error

    async def call(
        self, request: ModelRequest, emit: Callable[[ModelSignal], Awaitable[None]]
    ) -> None:
        assert self.model is not None
        self.fail_once()
        await self.model.call(request, emit)

    async def load(self, request: ContextRequest) -> ContextLoaded:
        assert self.context is not None
        self.fail_once()
        return await self.context.load(request)


def ended(events: list[Recorded]) -> tuple[str, ErrorInfo | None]:
    event = the(TurnEnded, events)
    return event.status, event.error


@pytest.mark.parametrize("begins", [True, False])
async def test_a_tool_that_crashes(begins: bool, tmp_path: Path) -> None:
    tool = Breaking(begins, ZeroDivisionError("by zero"))
    async with house(tmp_path, call("break"), "next", more_tools=[tool]) as h:
        session = await h.start()
        events = await play(session)
        crash = ErrorInfo("crashed", "ZeroDivisionError: by zero")
        assert ended(events) == ("failed", crash)
        assert the(CallSettled, events).outcome == ("stopped" if begins else "unknown")
        assert ended(await play(session)) == ("completed", None)


async def test_a_tool_that_crashes_stops_the_calls_beside_it(tmp_path: Path) -> None:
    tool = Breaking(True, ValueError("oh"))
    async with house(
        tmp_path, [shell("sleep 1000"), call("break")], "next", more_tools=[tool]
    ) as h:
        session = await h.start()
        with trio.fail_after(20):
            events = await play(session)
        assert ended(events)[0] == "failed"
        assert kinds(events).count("tool_finished") == 1
        assert ended(await play(session)) == ("completed", None)


async def test_a_crash_whose_text_is_no_unicode_is_recorded_all_the_same(tmp_path: Path) -> None:
    tool = Breaking(True, OSError("no such file: \udcff"))
    async with house(tmp_path, call("break"), "next", more_tools=[tool]) as h:
        session = await h.start()
        assert ended(await play(session)) == (
            "failed",
            ErrorInfo("crashed", "OSError: no such file: ?"),
        )
        assert ended(await play(session)) == ("completed", None)


@attrs.define(eq=False)
class Garbled(Breaking):
    async def run(self, order: ToolOrder, monitor: ToolMonitor) -> ToolResult:
        await monitor.started()
        return ToolResult("done", "", "half a pair: \ud800")


async def test_a_result_that_cannot_be_stored_is_a_crash_of_its_tool(tmp_path: Path) -> None:
    tool = Garbled(True, ValueError())
    async with house(tmp_path, call("break"), "next", more_tools=[tool]) as h:
        session = await h.start()
        status, error = ended(await play(session))
        assert status == "failed"
        assert error is not None
        assert error.message.startswith("UnicodeEncodeError")
        assert ended(await play(session)) == ("completed", None)


async def test_a_model_client_that_crashes(tmp_path: Path) -> None:
    def broken(model: ModelClient) -> ModelClient:
        return OnceBroken(model=model, error=RuntimeError("what now"))

    async with house(tmp_path, "next", wrap_model=broken) as h:
        session = await h.start()
        crash = ErrorInfo("crashed", "RuntimeError: what now")
        assert ended(await play(session)) == ("failed", crash)
        assert ended(await play(session)) == ("completed", None)


async def test_a_context_loader_that_crashes(tmp_path: Path) -> None:
    def broken(loader: ContextLoader) -> ContextLoader:
        return OnceBroken(context=loader, error=KeyError("lost"))

    async with house(tmp_path, "next", wrap_context=broken) as h:
        session = await h.start()
        crash = ErrorInfo("crashed", "KeyError: 'lost'")
        assert ended(await play(session, "alpha")) == ("failed", crash)
        assert ended(await play(session, "omega")) == ("completed", None)
        assert sum("alpha" in part for part in session.history()) == 1  # it was said, so it stays


async def test_a_context_that_cannot_be_loaded_fails_the_turn_with_its_own_code(
    tmp_path: Path,
) -> None:
    def unreadable(loader: ContextLoader) -> ContextLoader:
        return OnceBroken(context=loader, error=InputUnreadable("no such image"))

    async with house(tmp_path, "next", wrap_context=unreadable) as h:
        session = await h.start()
        events = await play(session)
        assert ended(events) == ("failed", ErrorInfo("input_unreadable", "no such image"))
        assert [event.how for event in of(EffectClosed, events)] == ["failed"]
        assert ended(await play(session)) == ("completed", None)


async def test_a_model_that_is_not_there_fails_the_turn_after_its_retries(tmp_path: Path) -> None:
    from turnlog.runtime.scripted_model.script import Response

    gone = [Response(status=500, body={"error": {"message": "no"}}) for _ in range(6)]
    async with house(tmp_path, *gone, "next") as h:
        session = await h.start()
        events = await play(session)
        assert the(TurnEnded, events).status == "failed"
        assert kinds(events).count("retry_scheduled") == 5
        assert len(h.server.requests) == 6  # (1 + 1) * (1 + 2), as Codex counts
        assert ended(await play(session)) == ("completed", None)


async def test_a_crash_of_one_session_does_not_reach_another(tmp_path: Path) -> None:
    tool = Breaking(True, ValueError("oh"))
    async with house(
        tmp_path, shell("until [ -e go ]; do :; done"), call("break"), "one", more_tools=[tool]
    ) as h:
        steady, shaky = await h.start(), await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, steady)
            await until(steady, ToolStarted, after=0)
            assert ended(await play(shaky))[0] == "failed"
            (tmp_path / "go").touch()
        assert the(TurnEnded, await h.events(steady)).status == "completed"
