"""Sessions whose model leads agents."""

import json
from typing import Any

from msgspec import structs

from tests.core.compacting import told
from tests.core.play import SETTINGS, Play
from turnlog.actors.core import texts
from turnlog.protocol.calls import (
    ErrorInfo,
    SpawnAgent,
)
from turnlog.protocol.events import (
    CallSettled,
    ChildAsked,
    ChildEnded,
    SessionDecision,
)
from turnlog.protocol.ids import SessionId
from turnlog.protocol.settings import AgentLimits, SessionSettings
from turnlog.protocol.usage import TokenUsage

TWO = structs.replace(SETTINGS, agents=AgentLimits(2, 1))


def talking(settings: SessionSettings = TWO) -> Play:
    play = Play.started(settings)
    play.ask("go")
    return play


def answer(decided: list[SessionDecision]) -> Any:  # noqa: ANN401
    """Return what the call was answered."""
    settled = next(one for one in decided if isinstance(one, CallSettled))
    assert settled.outcome == "answered"
    return json.loads(settled.output)


def spawn(play: Play, call_id: str = "spawn", request: SpawnAgent | None = None) -> str:
    answered = answer(play.agent_call(call_id, request or SpawnAgent("do this")))
    return str(answered["agent_id"])


def with_agent(settings: SessionSettings = TWO) -> tuple[Play, str]:
    """Return a play whose agent works, while the model is asked what is next."""
    play = talking(settings)
    child = spawn(play)
    play.complete()
    return play, child


def end(
    play: Play, child: str, status: str = "completed", output: str | None = "found it"
) -> list[SessionDecision]:
    effect = next(one.effect for one in play.all(ChildAsked) if one.child == child)
    error = ErrorInfo("server_error", "503") if status == "failed" else None
    usage = TokenUsage(100, 0, 0, 10)
    assert status in ("completed", "interrupted", "failed")
    kept = output if status == "completed" else None
    fact = ChildEnded(effect, SessionId(child), "completed", 9, "00" * 16, kept, usage, error)
    return play.send(structs.replace(fact, status=status))


def notes(play: Play) -> list[Any]:
    """Return what the model was told of agents' ends by notes."""
    begin, after = texts.AGENT_ENDED.split("{text}")
    return [
        json.loads(text.removeprefix(begin).removesuffix(after))
        for text in told(play)
        if text.startswith(begin)
    ]
