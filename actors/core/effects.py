"""Effects: what a decision asks of the world. Each is open until its one closing event."""

from msgspec import Struct

from turnlog.protocol.events import (
    ApprovalAsked,
    ContextAsked,
    ModelAsked,
    RetryScheduled,
    SessionDecision,
    ToolDispatched,
)
from turnlog.protocol.ids import EffectId


class LoadContext(Struct, frozen=True):
    """Load what the turn starts with. Closed by ContextLoaded. Reads only."""

    effect: EffectId


class CallModel(Struct, frozen=True):
    """Make one attempt at the model. Closed by ModelCompleted or ModelFailed."""

    effect: EffectId
    parts: int


class RunTool(Struct, frozen=True):
    """Run a call. Closed by ToolFinished. Never repeated."""

    effect: EffectId
    call: int
    started: bool = False


class AskQuestion(Struct, frozen=True):
    """Put a question. Closed by the op that answers it."""

    effect: EffectId
    question: str
    call: int


class Wait(Struct, frozen=True):
    """Let time pass. Closed by TimerFired."""

    effect: EffectId
    delay_ms: int


Effect = LoadContext | CallModel | RunTool | AskQuestion | Wait


def effect_of(decision: SessionDecision) -> Effect | None:
    """Return what is to be done in the world because of `decision`."""
    match decision:
        case ContextAsked(effect=effect):
            return LoadContext(effect)
        case ModelAsked(effect=effect, parts=parts):
            return CallModel(effect, parts)
        case ToolDispatched(effect=effect, call=call):
            return RunTool(effect, call)
        case ApprovalAsked(effect=effect, question=question, call=call):
            return AskQuestion(effect, question, call)
        case RetryScheduled(effect=effect, delay_ms=delay_ms):
            return Wait(effect, delay_ms)
        case _:
            return None
