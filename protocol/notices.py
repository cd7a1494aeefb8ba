"""What a live subscriber sees beside the events of the log.

A notice is not stored; the item or output that it announces is. It keeps its order: it never
overtakes an event that came before it.
"""

from msgspec import Struct

from turnlog.protocol.envelope import Recorded
from turnlog.protocol.ids import EffectId
from turnlog.protocol.items import JsonText


class _Notice(Struct, frozen=True, tag_field="type"): ...


class AgentMessageDelta(_Notice, frozen=True, tag="agent_message_delta"):
    """A piece of a message of the model."""

    effect: EffectId
    delta: str


class AgentReasoningDelta(_Notice, frozen=True, tag="agent_reasoning_delta"):
    """A piece of a reasoning summary."""

    effect: EffectId
    delta: str


class AgentReasoningSectionBreak(_Notice, frozen=True, tag="agent_reasoning_section_break"):
    """A new part of a reasoning summary begins."""

    effect: EffectId


class AgentReasoningRawContentDelta(_Notice, frozen=True, tag="agent_reasoning_raw_content_delta"):
    """A piece of raw reasoning; only where `show_raw_agent_reasoning` is set."""

    effect: EffectId
    delta: str


class ToolOutputDelta(_Notice, frozen=True, tag="tool_output_delta"):
    """Output of a running tool; bytes that are not UTF-8 are shown as U+FFFD."""

    effect: EffectId
    delta: str


class BackgroundEvent(_Notice, frozen=True, tag="background_event"):
    """A diagnostic for the user."""

    message: str


class TurnDiff(_Notice, frozen=True, tag="turn_diff"):
    """What a turn has changed so far, as one unified diff."""

    turn: int
    unified_diff: str


class HistoryEntry(_Notice, frozen=True, tag="history_entry"):
    """Answers `get_history_entry_request`; without a text, there is no such entry."""

    offset: int
    log_id: int
    text: str | None = None


class McpToolsListed(_Notice, frozen=True, tag="mcp_tools_listed"):
    """Answers `list_mcp_tools`: the tools' specifications, by qualified name."""

    tools: dict[str, JsonText]


class CustomPromptsListed(_Notice, frozen=True, tag="custom_prompts_listed"):
    """Answers `list_custom_prompts`: the prompts, by name."""

    prompts: dict[str, str]


class SubscriberLagged(_Notice, frozen=True, tag="subscriber_lagged"):
    """This subscriber was too slow: that many notices were dropped. Events are never dropped."""

    missed: int


Notice = (
    AgentMessageDelta
    | AgentReasoningDelta
    | AgentReasoningSectionBreak
    | AgentReasoningRawContentDelta
    | ToolOutputDelta
    | BackgroundEvent
    | TurnDiff
    | HistoryEntry
    | McpToolsListed
    | CustomPromptsListed
    | SubscriberLagged
)
Publication = Recorded | Notice
