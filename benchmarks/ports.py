"""A world that answers at once: what is left of a turn's time is the actors' and the log's.

One turn is: prompt, a model response with one tool call, its result, a model response with the
answer. In strict mode it waits for the disk four times: before the model is asked, before the
tool runs, before the model is told its result, and before the end is announced.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import attrs

from turnlog.actors.ports import (
    Completed,
    ContextRequest,
    EventLog,
    ItemDone,
    ModelRequest,
    ModelSignal,
    PlanOrder,
    Ports,
    ToolMonitor,
    ToolOrder,
    ToolResult,
)
from turnlog.protocol.calls import ContextFragment, ToolPlan
from turnlog.protocol.events import ContextLoaded, TurnEnded
from turnlog.protocol.items import (
    ContentPart,
    FunctionCall,
    JsonText,
    Message,
    ToolCallItem,
    encode_item,
    text_message,
)
from turnlog.protocol.settings import Durability, SessionSettings, TurnSettings
from turnlog.protocol.usage import TokenUsage
from turnlog.runtime.assembly import SystemClock
from turnlog.runtime.engine.session import Session

_CALL: Final = encode_item(FunctionCall("call_1", "exec_command", '{"cmd": "ls"}', "fc_1"))
_ANSWER: Final = encode_item(Message("assistant", [ContentPart("output_text", text="done")], "m"))
_USAGE: Final = TokenUsage(input_tokens=9000, cached_input_tokens=8000, output_tokens=200)


@attrs.frozen
class Model:
    """Asks for one tool call, then answers."""

    async def call(
        self, request: ModelRequest, emit: Callable[[ModelSignal], Awaitable[None]]
    ) -> None:
        told = "function_call_output" in request.input[-1]
        await emit(ItemDone(_ANSWER if told else _CALL))
        await emit(Completed("resp_1", _USAGE))


@attrs.frozen
class Tools:
    """One tool, which says that it has begun and is done."""

    def specs(self, settings: SessionSettings) -> JsonText:
        return "[]"

    async def plan(self, call: ToolCallItem, settings: TurnSettings) -> ToolPlan:
        return ToolPlan("exec_command", parallel=True)

    async def plan_again(self, order: PlanOrder) -> ToolPlan:
        return await self.plan(order.call, order.settings)

    async def run(self, order: ToolOrder, monitor: ToolMonitor) -> ToolResult:
        await monitor.started()
        return ToolResult("done", "Exit code: 0\nOutput:\n", "a.py b.py c.py")


@attrs.frozen
class Context:
    """The same surroundings at each turn."""

    async def load(self, request: ContextRequest) -> ContextLoaded:
        fragments = (ContextFragment("environment", "user", "the same at each turn"),)
        return ContextLoaded(
            request.effect,
            TurnSettings(request.settings),
            "[]",
            fragments,
            text_message("user", "continue"),
        )


def world(log: EventLog) -> Ports:
    """Return the ports of a session over `log`."""
    return Ports(log, Model(), Tools(), Context(), SystemClock())


def defaults(durability: Durability = "strict") -> Callable[[str], SessionSettings]:
    """Return what gives a new session its settings, by its folder."""
    return lambda folder: SessionSettings(
        cwd=folder, model="none", approval_policy="never", durability=durability
    )


async def turn(session: Session) -> None:
    """Run one turn to its end, and see that it went as planned."""
    last = None
    async for recorded in session.run("continue"):
        last = recorded.event
    assert isinstance(last, TurnEnded), last
    assert last.status == "completed", last
