"""A real engine for tests: actors, tools and a log in memory. No configuration, no network.

What the model is told of its surroundings is fixed: no date, no path, no name of a machine. So
the requests of a test are the same on every machine and every day.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import groupby
from typing import Any, Final

import attrs
import msgspec

from turnlog.actors.ports import (
    Completed,
    ContextLoader,
    ContextRequest,
    EventLog,
    ItemDone,
    ModelCallFailed,
    ModelClient,
    ModelRequest,
    ModelSignal,
    Ports,
    TextDelta,
    Tools,
)
from turnlog.protocol.calls import ContextFragment, ModelFailure
from turnlog.protocol.events import ContextLoaded
from turnlog.protocol.settings import RetryLimits, SessionSettings, TurnSettings
from turnlog.runtime.assembly import SystemClock
from turnlog.runtime.context.user_input import user_message
from turnlog.runtime.engine.engine import Engine, running
from turnlog.runtime.scripted_model.script import Item, Response, Script
from turnlog.runtime.store.memory.log import MemoryLog
from turnlog.runtime.tools.registry import ToolRegistry
from turnlog.runtime.tools.tool import Tool

SETTINGS: Final = SessionSettings(cwd="/", model="test-model", approval_policy="never")
RETRY: Final = RetryLimits(request_max_retries=1, stream_max_retries=2)
_OUTPUTS: Final = frozenset({"function_call_output", "custom_tool_call_output"})
Emit = Callable[[ModelSignal], Awaitable[None]]


@attrs.frozen
class PlainContext:
    """A `ContextLoader` that tells the model of its instructions and its tools, and no more."""

    tools: Tools
    retry: RetryLimits = RETRY

    async def load(self, request: ContextRequest) -> ContextLoaded:
        told = {
            "base_instructions": request.settings.base_instructions,
            "developer_instructions": request.settings.developer_instructions,
        }
        return ContextLoaded(
            request.effect,
            TurnSettings(request.settings, self.retry),
            self.tools.specs(request.settings),
            tuple(ContextFragment(kind, "developer", text) for kind, text in told.items() if text),
            user_message(request.input),
        )


class ScriptedModel:
    """A `ModelClient` that plays a script in this process, and keeps no place in it.

    Which response is due is seen from the request: it is the number of the model's responses that
    the conversation holds. So a request that is asked again after a crash gets the same answer.
    Of a response, `items`, `usage`, `failed`, and whether it is cut off count.

    Args:
        script: as `Script.of` takes it: a text is a message, an item or several are a response.
    """

    def __init__(self, *script: Response | Item | str | Sequence[Item]) -> None:
        self._responses = Script.of(*script).responses

    async def call(self, request: ModelRequest, emit: Emit) -> None:
        number = _responses_in(request)
        if number >= len(self._responses):
            text = f"the script has {len(self._responses)} responses, and another one is asked for"
            raise ModelCallFailed(ModelFailure("bad_request", text))
        response = self._responses[number]
        for index, item in enumerate(response.items):
            if item["type"] == "message":
                await emit(TextDelta("".join(part["text"] for part in item["content"])))
            await emit(ItemDone(_numbered(item, f"call-{number + 1}-{index + 1}")))
        if response.failed is not None:
            raise ModelCallFailed(ModelFailure("server_error", response.failed.message, "stream"))
        if response.cut_after is not None or response.end_after is not None:
            raise ModelCallFailed(ModelFailure("stream_disconnected", "cut off", "stream"))
        await emit(Completed(response.id or f"resp-{number + 1}", response.usage))


def scripted(*script: Response | Item | str | Sequence[Item]) -> ScriptedModel:
    """Return a model that says what a script says, for `open_engine(model=...)`.

    It runs in this process and needs no server, no key and no configuration.

    Args:
        script: its responses, in order. A text is a message; an item, such as `call(...)`, or
            several are a response.
    """
    return ScriptedModel(*script)


def _responses_in(request: ModelRequest) -> int:
    """Count the model's responses: what it said between inputs of others."""
    items: list[dict[str, Any]] = [msgspec.json.decode(part) for part in request.input]
    runs = groupby(items, _is_the_model_s)
    return sum(1 for by_model, _ in runs if by_model)


def _is_the_model_s(item: dict[str, Any]) -> bool:
    if item.get("type") == "message":
        return item.get("role") == "assistant"
    return item.get("type") not in _OUTPUTS


def _numbered(item: Item, call_id: str) -> str:
    if item["type"] in {"function_call", "custom_tool_call"} and "call_id" not in item:
        item = {**item, "call_id": call_id}
    return msgspec.json.encode(item).decode()


def ports_of(
    model: ModelClient,
    tools: Sequence[Tool] = (),
    *,
    log: EventLog | None = None,
    context: ContextLoader | None = None,
) -> Ports:
    """Return the ports of an engine for tests."""
    registry = ToolRegistry(tools)
    return Ports(
        log or MemoryLog(), model, registry, context or PlainContext(registry), SystemClock()
    )


@asynccontextmanager
async def open_test_engine(
    model: ModelClient,
    tools: Sequence[Tool] = (),
    *,
    settings: SessionSettings = SETTINGS,
    log: EventLog | None = None,
    context: ContextLoader | None = None,
) -> AsyncGenerator[Engine]:
    """Run an engine over a model and tools; on leaving, close its sessions.

    Args:
        model: such as `ScriptedModel`.
        tools: all that the model can call.
        settings: of new sessions.
        log: where sessions are kept. Default: in memory.
        context: what a turn starts with. Default: `PlainContext`.
    """
    ports = ports_of(model, tools, log=log, context=context)
    async with running(ports, lambda folder: settings) as engine:
        yield engine
