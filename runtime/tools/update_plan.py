"""The tool `update_plan`: the model shows what it is going to do. Nothing is run."""

from typing import Any, Final

import attrs
from msgspec import Struct

from turnlog.actors.ports import ToolMonitor, ToolOrder, ToolResult
from turnlog.protocol.calls import PlanPreview, PlanStep, ToolPlan
from turnlog.protocol.items import ToolCallItem
from turnlog.protocol.settings import TurnSettings
from turnlog.runtime.tools.tool import parse_arguments

_DONE: Final = "Plan updated"  # models know this answer; measured on Codex 0.169


class PlanArguments(Struct, frozen=True):
    """The arguments of `update_plan`."""

    plan: tuple[PlanStep, ...]
    explanation: str | None = None


SPEC: Final[dict[str, Any]] = {
    "type": "function",
    "name": "update_plan",
    "description": "Show the user your plan: every step, with its status. Send it whole each time.",
    "strict": False,
    "parameters": {
        "type": "object",
        "properties": {
            "explanation": {"type": "string", "description": "Why the plan changes."},
            "plan": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "step": {"type": "string"},
                        "status": {
                            "type": "string",
                            "enum": ["pending", "in_progress", "completed"],
                        },
                    },
                    "required": ["step", "status"],
                    "additionalProperties": False,
                },
            },
        },
        "required": ["plan"],
        "additionalProperties": False,
    },
}


@attrs.frozen
class UpdatePlan:
    """The plan is in the call; a client shows it from there."""

    name: str = "update_plan"
    spec: dict[str, Any] = attrs.field(factory=lambda: SPEC)

    def plan(self, call: ToolCallItem, settings: TurnSettings) -> ToolPlan:
        steps = parse_arguments(call, PlanArguments).plan
        return ToolPlan(self.name, parallel=True, preview=PlanPreview(steps))

    async def run(self, order: ToolOrder, monitor: ToolMonitor) -> ToolResult:
        await monitor.started()
        return ToolResult("done", "", _DONE)
