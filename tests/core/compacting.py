"""Sessions that are long enough to be compacted."""

import json
from collections.abc import Iterator

from tests.core.play import SETTINGS, Play
from turnlog.protocol.events import Compacted, CompactionAsked, SessionDecision
from turnlog.protocol.ops import Compact
from turnlog.protocol.settings import CompactionLimits, RetryLimits, TurnSettings

ANSWER = "word " * 80  # 400 bytes
PROMPT = "do " * 20


def limited(
    at_tokens: int | None = None,
    user_tokens: int = 1000,
    window: int | None = None,
    retry: RetryLimits | None = None,
    most_in_a_row: int = 3,
) -> TurnSettings:
    limits = CompactionLimits(at_tokens, user_tokens, most_in_a_row)
    return TurnSettings(SETTINGS, retry or RetryLimits(), context_window=window, compaction=limits)


def grown(limits: TurnSettings | None = None, turns: int = 3) -> Play:
    """Return an idle session after so many turns, of some 130 tokens each."""
    play = Play.started(limits=limits or limited(), retry=limits.retry if limits else None)
    for number in range(1, turns + 1):
        play.talk(f"{number} {PROMPT}", f"{number} {ANSWER}")
    return play


def compacting(limits: TurnSettings | None = None, turns: int = 3) -> Play:
    """Return a session whose summary has been asked for, in a turn of its own."""
    play = grown(limits, turns)
    play.op(Compact())
    play.load()
    return play


def told(play: Play) -> list[str]:
    """Return the conversation: what was said, the calls, and the outputs."""
    return list(map(_summary, play.state.history.texts()))


def _summary(part: str) -> str:
    item = json.loads(part)
    if item["type"] == "message":
        return "".join(one.get("text", "[image]") for one in item["content"])
    return f"{item['type']} {item['call_id']}"


def asked(decided: list[SessionDecision]) -> CompactionAsked:
    return next(one for one in decided if isinstance(one, CompactionAsked))


def compacted(decided: list[SessionDecision]) -> Compacted:
    return next(one for one in decided if isinstance(one, Compacted))


def kinds(decided: list[SessionDecision]) -> list[str]:
    return [type(one).__name__ for one in decided]


def requests(play: Play) -> Iterator[CompactionAsked]:
    return (one for one in play.events if isinstance(one, CompactionAsked))
