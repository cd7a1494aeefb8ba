"""Jobs: an effect with everything that its task needs, taken from the state at once.

The state goes on while a job waits for the disk; what the job was given does not change.
"""

from typing import Final, assert_never

import msgspec
from msgspec import Struct

from turnlog.actors.core.approval import unanswered
from turnlog.actors.core.grants import PLAIN
from turnlog.actors.core.state import Call, State, Turn
from turnlog.actors.core.turn import input_items
from turnlog.actors.ports import ChildOrder, ContextRequest, ModelRequest, PlanOrder, ToolOrder
from turnlog.protocol.calls import ToolPlan
from turnlog.protocol.events import (
    AgentsAwaited,
    ApprovalAsked,
    ChildAsked,
    ChildTold,
    CompactionAsked,
    ContextAsked,
    ModelAsked,
    OpeningDecision,
    PlanAsked,
    RetryScheduled,
    ScanAsked,
    ToolDispatched,
    TurnKind,
    UndoAsked,
    UserShellAsked,
)
from turnlog.protocol.ids import EffectId, SessionId
from turnlog.protocol.items import FunctionCall
from turnlog.protocol.ops import UserTurn
from turnlog.protocol.settings import TurnSettings


class ModelJob(Struct, frozen=True):
    effect: EffectId
    request: ModelRequest
    quiet: bool = False  # what it says is not meant for whoever watches


class ToolJob(Struct, frozen=True):
    effect: EffectId
    order: ToolOrder


class PlanJob(Struct, frozen=True):
    effect: EffectId
    order: PlanOrder


class ContextJob(Struct, frozen=True):
    effect: EffectId
    request: ContextRequest


class QuestionJob(Struct, frozen=True):
    effect: EffectId
    timeout_ms: int | None  # None: it waits for ever
    session: SessionId
    question: str
    tool: str


class TimerJob(Struct, frozen=True):
    effect: EffectId
    delay_ms: int


class ChildJob(Struct, frozen=True):
    effect: EffectId
    order: ChildOrder


class TellJob(Struct, frozen=True):
    effect: EffectId
    told: ChildTold


class ScanJob(Struct, frozen=True):
    effect: EffectId
    session: SessionId
    cwd: str


class UndoJob(Struct, frozen=True):
    effect: EffectId
    session: SessionId
    asked: UndoAsked
    cwd: str
    rules: int


Job = (
    ModelJob
    | ToolJob
    | PlanJob
    | ContextJob
    | QuestionJob
    | TimerJob
    | ChildJob
    | TellJob
    | ScanJob
    | UndoJob
)
WITHOUT_MODEL: Final[frozenset[TurnKind]] = frozenset({"undo", "redo", "shell"})
USER_SHELL: Final = "exec_command"  # the tool that runs what the user types


def job_for(state: State, turn: Turn, effect: OpeningDecision) -> Job:
    """Return the job of the effect that this decision of the step in hand has opened."""
    match effect:
        case ContextAsked(effect=name):
            settings = state.settings
            assert settings is not None  # a session starts with them
            words, asks_model = input_items(turn.op.op), turn.kind not in WITHOUT_MODEL
            request = ContextRequest(name, state.session, settings, words, asks_model)
            return ContextJob(name, request)
        case ModelAsked(effect=name, parts=parts):
            return ModelJob(name, model_request(state, turn, parts))
        case CompactionAsked(effect=name):
            return ModelJob(name, summary_request(state, turn, effect), quiet=True)
        case ToolDispatched(effect=name, call=call):
            item, plan = turn.dispatched(call), turn.call(call).plan
            return ToolJob(name, ToolOrder(item, plan, effect, _settings(turn)))
        case PlanAsked(effect=name, call=call):
            return PlanJob(name, PlanOrder(name, turn.dispatched(call), _settings(turn)))
        case UserShellAsked(effect=name, command=command):
            return ToolJob(name, _user_shell(turn, name, command))
        case ApprovalAsked(effect=name, call=call, question=question):
            asked = turn.call(call)
            timeout_ms = _timeout_ms(turn, asked)
            return QuestionJob(name, timeout_ms, state.session, question, asked.plan.tool)
        case RetryScheduled(effect=name, delay_ms=delay_ms):
            return TimerJob(name, delay_ms)
        case AgentsAwaited(effect=name, delay_ms=delay_ms):
            return TimerJob(name, delay_ms)
        case ChildAsked(effect=name):
            return ChildJob(name, ChildOrder(state.session, effect))
        case ChildTold(effect=name):
            return TellJob(name, effect)
        case ScanAsked(effect=name):
            return ScanJob(name, state.session, _settings(turn).session.cwd)
        case UndoAsked(effect=name):
            return UndoJob(name, state.session, effect, _settings(turn).session.cwd, state.rules)
        case _:
            assert_never(effect)


def _timeout_ms(turn: Turn, call: Call) -> int | None:
    settings = _settings(turn)
    waits = unanswered(call.plan, settings) == "wait"
    return None if waits else settings.approval_timeout_ms


def _user_shell(turn: Turn, effect: EffectId, command: str) -> ToolOrder:
    arguments = msgspec.json.encode({"cmd": command}).decode()
    dispatched = ToolDispatched(effect, 0, effect, USER_SHELL, PLAIN)
    call = FunctionCall(effect, USER_SHELL, arguments)
    return ToolOrder(call, ToolPlan(USER_SHELL), dispatched, _settings(turn))


def summary_request(state: State, turn: Turn, asked: CompactionAsked) -> ModelRequest:
    """Return what the model is asked for a summary."""
    parts = state.history.parts[asked.skipped : asked.parts]
    return ModelRequest(
        state.session,
        turn.turn_id,
        asked.settings,
        "[]",
        (*parts, asked.prompt_json),
        cache_key=state.cache_key,
    )


def _settings(turn: Turn) -> TurnSettings:
    assert turn.settings is not None  # nothing but the context is asked for before
    return turn.settings


def model_request(state: State, turn: Turn, parts: int) -> ModelRequest:
    """Return what the model is asked with the first `parts` parts of the conversation."""
    op = turn.op.op
    return ModelRequest(
        state.session,
        turn.turn_id,
        _settings(turn),
        turn.tools_json,
        tuple(state.history.parts[:parts]),
        op.final_output_json_schema if isinstance(op, UserTurn) else None,
        state.cache_key,
    )
