"""The registry: owns the specifications that the model is shown, and the tools that they are of."""

from collections.abc import Sequence
from functools import cached_property

import attrs
import msgspec
import trio
from msgspec import Raw, structs

from turnlog.actors.ports import PlanOrder, ToolMonitor, ToolOrder, ToolResult
from turnlog.protocol.calls import NamedFile, ToolPlan
from turnlog.protocol.items import FunctionCall, JsonText, ToolCallItem
from turnlog.protocol.settings import SessionSettings, TurnSettings
from turnlog.runtime.engine.warn import Warn, unheard
from turnlog.runtime.tools.agents import AGENT_TOOLS, AgentTool, may_have_agents
from turnlog.runtime.tools.guard import Guard, refusal
from turnlog.runtime.tools.named_files import files_of, may_be_asked
from turnlog.runtime.tools.shape import SPEC
from turnlog.runtime.tools.tool import Tool


@attrs.frozen
class ToolRegistry:
    """The `Tools` port. Tools are shown to the model in the order in which they are given.

    The tools for agents come last, and only in sessions that may have agents. A tool's name and
    specification are read once. An error in a tool is a failed call.

    Args:
        warn: is told of what a tool did wrong.
    """

    tools: Sequence[Tool]
    agent_tools: Sequence[AgentTool] = AGENT_TOOLS
    warn: Warn = unheard

    @cached_property
    def _guards(self) -> dict[str, Guard]:
        return {tool.name: Guard(tool.name, tool, self.warn) for tool in self.tools}

    @cached_property
    def _agent_guards(self) -> dict[str, Guard]:
        return {tool.name: Guard(tool.name, tool, self.warn) for tool in self.agent_tools}

    @cached_property
    def _specs(self) -> list[Raw]:
        return [Raw(msgspec.json.encode(SPEC.take("spec", tool.spec))) for tool in self.tools]

    def specs(self, settings: SessionSettings) -> JsonText:
        specs: list[object] = [*self._specs]
        if may_have_agents(settings):
            specs += [tool.spec for tool in self.agent_tools]
        return msgspec.json.encode(specs).decode()

    async def plan(self, call: ToolCallItem, settings: TurnSettings) -> ToolPlan:
        name = _qualified(call)
        guard = self._guards.get(name)
        if guard is None and may_have_agents(settings.session):
            guard = self._agent_guards.get(name)
        if guard is None:
            return refusal(name, f"unsupported call: {name}", settings.tool_output_tokens)
        plan = guard.plan(call, settings)
        return await _with_files(plan, settings) if may_be_asked(plan, settings) else plan

    async def plan_again(self, order: PlanOrder) -> ToolPlan:
        return await self.plan(order.call, order.settings)

    async def run(self, order: ToolOrder, monitor: ToolMonitor) -> ToolResult:
        guard = self._guards.get(_qualified(order.call))
        if guard is None:  # it was there when the call was planned, by an engine that had it
            return ToolResult("failed", "", f"unsupported call: {order.plan.tool}")
        return await guard.run(order, monitor)


async def _with_files(plan: ToolPlan, settings: TurnSettings) -> ToolPlan:
    """Return the plan with the files that it is for, besides those that its tool names."""
    found = await trio.to_thread.run_sync(files_of, plan, settings)
    return structs.replace(plan, files=tuple(sorted({*plan.files, *found}, key=_path_of)))


def _path_of(file: NamedFile) -> str:
    return file.path


def _qualified(call: ToolCallItem) -> str:
    namespace = call.namespace if isinstance(call, FunctionCall) else None
    return f"{namespace}.{call.name}" if namespace else call.name
