"""The tools by which the model leads sub-agents. The session itself does what they ask for.

Names and arguments are Codex's; models know them.
"""

from typing import Any, Final, TypeVar

import attrs
from msgspec import Struct

from turnlog.protocol.calls import (
    AgentRequest,
    AwaitAgents,
    CloseAgent,
    ListAgents,
    SpawnAgent,
    TellAgent,
    ToolPlan,
)
from turnlog.protocol.items import FunctionCall, ToolCallItem
from turnlog.protocol.settings import ReasoningEffort, SessionSettings, TurnSettings
from turnlog.runtime.tools.tool import CallRefused, parse_arguments

# Source: Codex's limits of wait_agent.
DEFAULT_WAIT_MS: Final = 30_000
LEAST_WAIT_MS: Final = 1_000
MOST_WAIT_MS: Final = 3_600_000


class _Arguments(Struct, frozen=True): ...


class SpawnArguments(_Arguments, frozen=True):
    """The arguments of `spawn_agent`."""

    message: str
    nickname: str | None = None
    model: str | None = None
    reasoning_effort: ReasoningEffort | None = None

    def request(self) -> AgentRequest:
        """Return what the session is to do. Raises CallRefused."""
        if not self.message.strip():
            raise CallRefused("failed to parse function arguments: message is empty")
        return SpawnAgent(self.message, self.nickname, self.model, self.reasoning_effort)


class SendArguments(_Arguments, frozen=True):
    """The arguments of `send_input`."""

    target: str
    message: str
    interrupt: bool = False

    def request(self) -> AgentRequest:
        """Return what the session is to do. Raises CallRefused."""
        if not self.message.strip():
            raise CallRefused("failed to parse function arguments: message is empty")
        return TellAgent(self.target, self.message, self.interrupt)


class WaitArguments(_Arguments, frozen=True):
    """The arguments of `wait_agent`."""

    targets: tuple[str, ...]
    timeout_ms: int = DEFAULT_WAIT_MS

    def request(self) -> AgentRequest:
        """Return what the session is to do. Raises CallRefused."""
        if not self.targets:
            raise CallRefused("failed to parse function arguments: targets is empty")
        return AwaitAgents(self.targets, max(LEAST_WAIT_MS, min(self.timeout_ms, MOST_WAIT_MS)))


class CloseArguments(_Arguments, frozen=True):
    """The arguments of `close_agent`."""

    target: str

    def request(self) -> AgentRequest:
        """Return what the session is to do."""
        return CloseAgent(self.target)


class ListArguments(_Arguments, frozen=True):
    """The arguments of `list_agents`: none."""

    def request(self) -> AgentRequest:
        """Return what the session is to do."""
        return ListAgents()


AgentArguments = SpawnArguments | SendArguments | WaitArguments | CloseArguments | ListArguments
A = TypeVar("A", bound=AgentArguments)


@attrs.frozen
class AgentTool:
    """One of the tools. It is never run: its plan says what the session is to do."""

    name: str
    spec: dict[str, Any]
    arguments: type[AgentArguments]

    def plan(self, call: ToolCallItem, settings: TurnSettings) -> ToolPlan:
        if not isinstance(call, FunctionCall):
            raise CallRefused(f"{self.name} is a function and takes JSON arguments, not free text")
        request = parse_arguments(call.arguments, self.arguments).request()
        return ToolPlan(self.name, parallel=True, agent=request)


def may_have_agents(settings: SessionSettings) -> bool:
    """Say whether a session may have agents: some, and not at the deepest level."""
    return settings.agents.most_running > 0 and settings.depth < settings.agents.most_depth


def _tool(
    name: str,
    description: str,
    arguments: type[AgentArguments],
    required: list[str],
    **properties: dict[str, Any],
) -> AgentTool:
    parameters = {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }
    spec = {
        "type": "function",
        "name": name,
        "description": description,
        "strict": False,
        "parameters": parameters,
    }
    return AgentTool(name, spec, arguments)


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}


AGENT_TOOLS: Final = (
    _tool(
        "spawn_agent",
        "Start an agent on a task of its own, and continue at once. Returns its id. It knows "
        "nothing of this conversation but your message. You are told when it is done.",
        SpawnArguments,
        ["message"],
        message=_text("The task, with everything that the agent must know."),
        nickname=_text("A name for people to see."),
        model=_text("Another model than yours."),
        reasoning_effort={
            "type": "string",
            "enum": ["none", "minimal", "low", "medium", "high", "xhigh"],
        },
    ),
    _tool(
        "send_input",
        "Say something to an agent: it steers one that works, and sets one to work that is done.",
        SendArguments,
        ["target", "message"],
        target=_text("The agent's id."),
        message=_text("What to say."),
        interrupt={"type": "boolean", "description": "Stop what it does first. Default: false."},
    ),
    _tool(
        "wait_agent",
        "Wait until one of these agents is done. Returns how those ended that are.",
        WaitArguments,
        ["targets"],
        targets={"type": "array", "items": {"type": "string"}, "description": "Ids of agents."},
        timeout_ms={
            "type": "integer",
            "description": "How long at most, from 1000 to 3600000. Default: 30000.",
        },
    ),
    _tool(
        "close_agent",
        "Stop an agent that you do not need any more.",
        CloseArguments,
        ["target"],
        target=_text("The agent's id."),
    ),
    _tool("list_agents", "List the agents, and what each of them does.", ListArguments, []),
)
