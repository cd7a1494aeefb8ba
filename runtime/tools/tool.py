"""What a tool is to the registry."""

from typing import Any, Protocol, TypeVar

import msgspec

from turnlog.actors.ports import ToolMonitor, ToolOrder, ToolResult
from turnlog.protocol.calls import ToolPlan
from turnlog.protocol.items import FunctionCall, ToolCallItem
from turnlog.protocol.settings import TurnSettings

T = TypeVar("T")


class CallRefused(Exception):
    """The call makes no sense. The text is the answer that the model gets."""


class Tool(Protocol):
    """One tool: its specification and its handler. It must be safe to plan any call."""

    @property
    def name(self) -> str: ...

    @property
    def spec(self) -> dict[str, Any]:
        """The specification as the Responses API takes it. Constant for a session's life."""
        ...

    def plan(self, call: ToolCallItem, settings: TurnSettings) -> ToolPlan:
        """Say what the call would do, without changing anything in the world.

        Where somebody may be asked about it, the files that its preview names are added.

        Raises:
            CallRefused: it cannot be done; the model is told why.
        """
        ...

    async def run(self, order: ToolOrder, monitor: ToolMonitor) -> ToolResult:
        """Do it. See `Tools.run` in `turnlog.actors.ports`."""
        ...


def parse_arguments(call: ToolCallItem | str, kind: type[T]) -> T:
    """Return the arguments of a call, or of the JSON text that a call has.

    Raises:
        CallRefused: they are not JSON, or not of `kind`.
    """
    if isinstance(call, FunctionCall):
        call = call.arguments
    if not isinstance(call, str):
        raise CallRefused(f"{call.name} is a function and takes JSON arguments, not free text")
    try:
        return msgspec.json.decode(call, type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise CallRefused(f"failed to parse function arguments: {error}") from error
