"""Effects: what a decision asks of the world. Each is open until its one closing event."""

from msgspec import Struct

from turnlog.protocol.events import (
    AgentsAwaited,
    ApprovalAsked,
    ChildAsked,
    ChildTold,
    CompactionAsked,
    ContextAsked,
    ModelAsked,
    PlanAsked,
    RetryScheduled,
    ScanAsked,
    SessionDecision,
    ToolDispatched,
    UndoAsked,
    UserShellAsked,
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


class PlanCall(Struct, frozen=True):
    """Plan a call anew. Closed by CallPlanned. Reads only."""

    effect: EffectId
    call: int


class AskQuestion(Struct, frozen=True):
    """Put a question. Closed by the op that answers it, or once nobody needs an answer."""

    effect: EffectId
    question: str
    call: int


class Wait(Struct, frozen=True):
    """Let time pass. Closed by TimerFired."""

    effect: EffectId
    delay_ms: int


class Summarize(Struct, frozen=True):
    """Ask the model to sum up the conversation. Closed by ModelCompleted or ModelFailed."""

    effect: EffectId


class RunChild(Struct, frozen=True):
    """Give a child session a prompt, and wait until it rests. Closed by ChildEnded."""

    effect: EffectId
    asked: ChildAsked


class TellChild(Struct, frozen=True):
    """Steer a child session. Closed by EffectDone."""

    effect: EffectId
    told: ChildTold


class WaitForAgents(Struct, frozen=True):
    """Let time pass until an agent rests. Closed by TimerFired, or by the call's settlement."""

    effect: EffectId
    call: int
    delay_ms: int


class ScanWorkspace(Struct, frozen=True):
    """Save what commands may change. Closed by WorkspaceScanned."""

    effect: EffectId


class RestoreTurns(Struct, frozen=True):
    """Bring back files and conversation. Closed by TurnsRestored. It finds what is done already."""

    effect: EffectId


class RunUserShell(Struct, frozen=True):
    """Run the user's own command. Closed by ToolFinished. Never repeated."""

    effect: EffectId
    command: str


Effect = (
    LoadContext
    | CallModel
    | RunTool
    | PlanCall
    | AskQuestion
    | Wait
    | Summarize
    | RunChild
    | TellChild
    | WaitForAgents
    | ScanWorkspace
    | RestoreTurns
    | RunUserShell
)


def effect_of(decision: SessionDecision) -> Effect | None:
    """Return what is to be done in the world because of `decision`."""
    match decision:
        case ContextAsked(effect=effect):
            return LoadContext(effect)
        case ModelAsked(effect=effect, parts=parts):
            return CallModel(effect, parts)
        case ToolDispatched(effect=effect, call=call):
            return RunTool(effect, call)
        case PlanAsked(effect=effect, call=call):
            return PlanCall(effect, call)
        case ApprovalAsked(effect=effect, question=question, call=call):
            return AskQuestion(effect, question, call)
        case RetryScheduled(effect=effect, delay_ms=delay_ms):
            return Wait(effect, delay_ms)
        case CompactionAsked(effect=effect):
            return Summarize(effect)
        case ChildAsked(effect=effect):
            return RunChild(effect, decision)
        case ChildTold(effect=effect):
            return TellChild(effect, decision)
        case AgentsAwaited(effect=effect, call=call, delay_ms=delay_ms):
            return WaitForAgents(effect, call, delay_ms)
        case ScanAsked(effect=effect):
            return ScanWorkspace(effect)
        case UndoAsked(effect=effect):
            return RestoreTurns(effect)
        case UserShellAsked(effect=effect, command=command):
            return RunUserShell(effect, command)
        case _:
            return None
