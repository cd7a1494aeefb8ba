"""The registry: owns the specifications that the model is shown, and the handlers behind them."""

from collections.abc import Sequence

import attrs
import msgspec

from turnlog.actors.ports import ToolMonitor, ToolOrder, ToolResult
from turnlog.protocol.calls import ToolPlan
from turnlog.protocol.items import FunctionCall, JsonText, ToolCallItem
from turnlog.protocol.settings import SessionSettings, TurnSettings
from turnlog.runtime.tools.agents import AGENT_TOOLS, AgentTool, may_have_agents
from turnlog.runtime.tools.tool import CallRefused, Tool


@attrs.frozen
class ToolRegistry:
    """The `Tools` port. Tools are shown to the model in the order in which they are given.

    Those that lead agents come last, and only in sessions that may have some.
    """

    tools: Sequence[Tool]
    agent_tools: Sequence[AgentTool] = AGENT_TOOLS

    def specs(self, settings: SessionSettings) -> JsonText:
        specs = [tool.spec for tool in self.tools]
        if may_have_agents(settings):
            specs += [tool.spec for tool in self.agent_tools]
        return msgspec.json.encode(specs).decode()

    async def plan(self, call: ToolCallItem, settings: TurnSettings) -> ToolPlan:
        name = _qualified(call)
        tool: Tool | AgentTool | None = self._find(name)
        if tool is None and may_have_agents(settings.session):
            tool = next((one for one in self.agent_tools if one.name == name), None)
        if tool is None:
            return ToolPlan(name, parallel=True, refusal=f"unsupported call: {name}")
        try:
            return tool.plan(call, settings)
        except CallRefused as refused:
            return ToolPlan(name, parallel=True, refusal=str(refused))

    async def run(self, order: ToolOrder, monitor: ToolMonitor) -> ToolResult:
        tool = self._find(_qualified(order.call))
        if tool is None:  # it was there when the call was planned, by an engine that had it
            return ToolResult("failed", "", f"unsupported call: {order.plan.tool}")
        return await tool.run(order, monitor)

    def _find(self, name: str) -> Tool | None:
        return next((tool for tool in self.tools if tool.name == name), None)


def _qualified(call: ToolCallItem) -> str:
    namespace = call.namespace if isinstance(call, FunctionCall) else None
    return f"{namespace}.{call.name}" if namespace else call.name
