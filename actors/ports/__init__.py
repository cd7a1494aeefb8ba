"""The ports through which the actors reach the world. The runtime gives the real ones."""

from collections.abc import Callable

from msgspec import Struct

from turnlog.actors.ports.log import (
    Batch,
    Claim,
    EventLog,
    Fate,
    Head,
    Refused,
    Stored,
    StoredSnapshot,
    Ticket,
    Unknown,
)
from turnlog.actors.ports.model import (
    Completed,
    ItemDone,
    LimitsReported,
    ModelCallFailed,
    ModelClient,
    ModelRequest,
    ModelSignal,
    RawReasoningDelta,
    ReasoningBreak,
    ReasoningDelta,
    TextDelta,
)
from turnlog.actors.ports.tools import (
    PlanOrder,
    ToolMonitor,
    ToolOrder,
    ToolResult,
    Tools,
)
from turnlog.actors.ports.world import (
    ChildOrder,
    Children,
    ChildResult,
    Clock,
    ContextLoader,
    ContextRequest,
    Processes,
    RestoreRequest,
    RestoreResult,
    Save,
    ScanResult,
    Workspace,
)


class Ports(Struct, frozen=True):
    """The world, as one session sees it."""

    log: EventLog
    model: ModelClient
    tools: Tools
    context: ContextLoader
    clock: Clock
    children: Children | None = None  # None: no agents and no reviews
    workspace: Workspace | None = None  # None: undo brings no files back
    processes: Processes | None = None  # None: tools start none that could outlive the engine
    remind: Callable[[str], None] | None = None  # told of a question that nobody answers


__all__ = [
    "Batch",
    "ChildOrder",
    "ChildResult",
    "Children",
    "Claim",
    "Clock",
    "Completed",
    "ContextLoader",
    "ContextRequest",
    "EventLog",
    "Fate",
    "Head",
    "ItemDone",
    "LimitsReported",
    "ModelCallFailed",
    "ModelClient",
    "ModelRequest",
    "ModelSignal",
    "PlanOrder",
    "Ports",
    "Processes",
    "RawReasoningDelta",
    "ReasoningBreak",
    "ReasoningDelta",
    "Refused",
    "RestoreRequest",
    "RestoreResult",
    "Save",
    "ScanResult",
    "Stored",
    "StoredSnapshot",
    "TextDelta",
    "Ticket",
    "ToolMonitor",
    "ToolOrder",
    "ToolResult",
    "Tools",
    "Unknown",
    "Workspace",
]
