"""Small ports that run inside the scheduler: no thread, no socket, no process, no real time.

With them a session's interleavings are trio's alone, so MockClock and drawn seeds work.
"""

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

import attrs
import trio
from msgspec import structs

from turnlog.actors.ports import (
    Completed,
    ContextRequest,
    EventLog,
    ItemDone,
    ModelClient,
    ModelRequest,
    ModelSignal,
    PlanOrder,
    Ports,
    TextDelta,
    ToolMonitor,
    ToolOrder,
    ToolResult,
)
from turnlog.protocol.calls import ToolPlan
from turnlog.protocol.events import ContextLoaded
from turnlog.protocol.items import (
    ContentPart,
    FunctionCall,
    JsonText,
    Message,
    ToolCallItem,
    encode_item,
    text_message,
)
from turnlog.protocol.ops import TextInput
from turnlog.protocol.settings import Durability, SandboxPolicy, SessionSettings, TurnSettings
from turnlog.protocol.usage import TokenUsage
from turnlog.runtime.engine.engine import Engine, running_sessions
from turnlog.runtime.engine.open_sessions import OpenSessions

PATIENCE = 120.0  # seconds; a test that waits for longer hangs
Emit = Callable[[ModelSignal], Awaitable[None]]
Handler = Callable[[str, ToolMonitor], Awaitable[str]]


def said(text: str) -> JsonText:
    return encode_item(Message("assistant", [ContentPart("output_text", text=text)]))


def called(name: str, call_id: str) -> JsonText:
    return encode_item(FunctionCall(call_id, name, "{}"))


@attrs.define(eq=False)
class Ticking:
    """A `Clock` that advances a millisecond each time it is read."""

    now: int = 1_700_000_000_000_000

    def now_us(self) -> int:
        self.now += 1000
        return self.now


@attrs.define(eq=False)
class Inline:
    """A `ModelClient` whose answer is a function of the request: asked again, it says the same."""

    respond: Callable[[ModelRequest], Iterable[JsonText]]
    asked: list[ModelRequest] = attrs.field(factory=list[ModelRequest])

    async def call(self, request: ModelRequest, emit: Emit) -> None:
        self.asked.append(request)
        for item in self.respond(request):
            await trio.lowlevel.checkpoint()
            await emit(TextDelta("."))
            await emit(ItemDone(item))
        await emit(Completed(f"response {len(self.asked)}", TokenUsage(10, 0, 0, 1)))


def in_turn(*responses: Iterable[JsonText]) -> Inline:
    """Return a model that gives these responses, one a request."""
    left = deque(responses)
    return Inline(lambda request: left.popleft())


def working(*call_ids: str, tool: str = "work") -> Inline:
    """Return a model that makes these calls at once, and is done when it has all the outputs."""

    def respond(request: ModelRequest) -> list[JsonText]:
        text = "".join(request.input)
        todo = [call_id for call_id in call_ids if f'output","call_id":"{call_id}"' not in text]
        return [called(tool, call_id) for call_id in todo] or [said("done")]

    return Inline(respond)


@attrs.define(eq=False)
class Handlers:
    """`Tools` that are functions, by name. A name that ends in `!` may not overlap with others."""

    handlers: dict[str, Handler]

    def specs(self, settings: SessionSettings) -> JsonText:
        return "[]"

    async def plan(self, call: ToolCallItem, settings: TurnSettings) -> ToolPlan:
        await trio.lowlevel.checkpoint()
        return ToolPlan(call.name, parallel=not call.name.endswith("!"))

    async def plan_again(self, order: PlanOrder) -> ToolPlan:
        return await self.plan(order.call, order.settings)

    async def run(self, order: ToolOrder, monitor: ToolMonitor) -> ToolResult:
        await monitor.started()
        handler = self.handlers[order.call.name]
        return ToolResult("done", "", await handler(order.call.call_id, monitor))


@attrs.define(eq=False)
class Prompt:
    """A `ContextLoader` that has nothing to tell but the prompt."""

    async def load(self, request: ContextRequest) -> ContextLoaded:
        await trio.lowlevel.checkpoint()
        text = " ".join(item.text for item in request.input if isinstance(item, TextInput))
        return ContextLoaded(
            request.effect, TurnSettings(request.settings), "[]", (), text_message("user", text)
        )


def settings_in(folder: str) -> SessionSettings:
    plain = SandboxPolicy(mode="danger-full-access")
    return SessionSettings(folder, "test", approval_policy="never", sandbox=plain)


@asynccontextmanager
async def inline_engine(
    log: EventLog, model: ModelClient, *, durability: Durability = "strict", **handlers: Handler
) -> AsyncGenerator[Engine]:
    """Run an engine in which only the scheduler decides what comes first."""
    async with inline_sessions(log, model, durability=durability, **handlers) as sessions:
        yield Engine(sessions)


@asynccontextmanager
async def inline_sessions(
    log: EventLog, model: ModelClient, *, durability: Durability = "strict", **handlers: Handler
) -> AsyncGenerator[OpenSessions]:
    """Run sessions as `inline_engine` does."""
    ports = Ports(log, model, Handlers(handlers), Prompt(), Ticking())

    def settings(folder: str) -> SessionSettings:
        return structs.replace(settings_in(folder), durability=durability)

    async with running_sessions(ports, settings) as sessions:
        with trio.fail_after(PATIENCE):
            yield sessions
