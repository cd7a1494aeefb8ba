"""What a session gives: events, which are in its log, and notices, which are shown only once."""

from turnlog.protocol import events
from turnlog.protocol.events import *  # noqa: F403 - each of them is public
from turnlog.protocol.notices import (
    AgentMessageDelta,
    AgentReasoningDelta,
    AgentReasoningRawContentDelta,
    AgentReasoningSectionBreak,
    BackgroundEvent,
    CustomPromptsListed,
    HistoryEntry,
    McpToolsListed,
    Notice,
    Publication,
    SubscriberLagged,
    ToolOutputDelta,
    TurnDiff,
)

__all__ = [
    "AgentMessageDelta",
    "AgentReasoningDelta",
    "AgentReasoningRawContentDelta",
    "AgentReasoningSectionBreak",
    "BackgroundEvent",
    "CustomPromptsListed",
    "HistoryEntry",
    "McpToolsListed",
    "Notice",
    "Publication",
    "SubscriberLagged",
    "ToolOutputDelta",
    "TurnDiff",
]
__all__ += events.__all__
