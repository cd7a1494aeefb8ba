"""Whatever crashes inside an actor ends its turn with an error; the session stays usable."""

from collections.abc import Awaitable, Callable
from pathlib import Path

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
    PlanOrder,
    ToolMonitor,
    ToolOrder,
    ToolResult,
    Tools,
)
from turnlog.protocol.calls import ErrorInfo, ToolPlan
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import UsageError
from turnlog.protocol.events import (
    CallSettled,
    ContextLoaded,
    EffectClosed,
    ToolStarted,
    TurnEnded,
)
from turnlog.protocol.items import JsonText, ToolCallItem
from turnlog.protocol.settings import SessionSettings, TurnSettings
from turnlog.runtime.scripted_model.script import call


@attrs.define(eq=False)
class Breaking:
    """A `Tools` port that breaks at each run, before or after it says that it begins.

    What a tool does wrong never gets here: the registry answers for it.
    """

    tools: Tools
    begins: bool
    error: Exception

    def specs(self, settings: SessionSettings) -> JsonText:
        return self.tools.specs(settings)

    async def plan(self, call: ToolCallItem, settings: TurnSettings) -> ToolPlan:
        return await self.tools.plan(call, settings)

    async def plan_again(self, order: PlanOrder) -> ToolPlan:
        return await self.tools.plan_again(order)

    async def run(self, order: ToolOrder, monitor: ToolMonitor) -> ToolResult:
        if order.plan.tool != "update_plan":
            return await self.tools.run(order, monitor)
        if self.begins:
            await monitor.started()
        raise self.error


def breaking(error: Exception, *, begins: bool = True) -> Callable[[Tools], Tools]:
    return lambda tools: Breaking(tools, begins, error)


BREAK = call("update_plan", {"plan": []})


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
async def test_a_registry_that_crashes(begins: bool, tmp_path: Path) -> None:
    tools = breaking(ZeroDivisionError("by zero"), begins=begins)
    async with house(tmp_path, BREAK, "next", wrap_tools=tools) as h:
        session = await h.start()
        events = await play(session)
        crash = ErrorInfo("crashed", "ZeroDivisionError: by zero")
        assert ended(events) == ("failed", crash)
        assert the(CallSettled, events).outcome == ("stopped" if begins else "unknown")
        assert ended(await play(session)) == ("completed", None)


async def test_a_crash_stops_the_calls_beside_it(tmp_path: Path) -> None:
    tools = breaking(ValueError("oh"))
    async with house(tmp_path, [shell("sleep 1000"), BREAK], "next", wrap_tools=tools) as h:
        session = await h.start()
        with trio.fail_after(60):
            events = await play(session)
        assert ended(events)[0] == "failed"
        assert kinds(events).count("tool_finished") == 1
        assert ended(await play(session)) == ("completed", None)


async def test_a_crash_whose_text_is_no_unicode_is_recorded_all_the_same(tmp_path: Path) -> None:
    tools = breaking(OSError("no such file: \udcff"))
    async with house(tmp_path, BREAK, "next", wrap_tools=tools) as h:
        session = await h.start()
        assert ended(await play(session)) == (
            "failed",
            ErrorInfo("crashed", "OSError: no such file: ?"),
        )
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
        return OnceBroken(
            context=loader, error=UsageError(ErrorCode.INPUT_UNREADABLE, "no such image")
        )

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
    loaders: list[OnceBroken] = []

    def broken(loader: ContextLoader) -> ContextLoader:
        loaders.append(OnceBroken(context=loader))
        return loaders[0]

    script = (shell("until [ -e go ]; do :; done"), "one")
    async with house(tmp_path, *script, wrap_context=broken) as h:
        steady, shaky = await h.start(), await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, steady)
            await until(steady, ToolStarted, after=0)
            loaders[0].error = ValueError("oh")
            assert ended(await play(shaky))[0] == "failed"
            (tmp_path / "go").touch()
        assert the(TurnEnded, await h.events(steady)).status == "completed"
