"""Jobs: an effect with everything that its task needs, taken from the state at once.

The state goes on while a job waits for the disk; what the job was given does not change.
"""

from typing import assert_never

from msgspec import Struct

from turnlog.actors.core.effects import (
    AskQuestion,
    CallModel,
    Effect,
    LoadContext,
    RunTool,
    Wait,
)
from turnlog.actors.core.state import State, Turn
from turnlog.actors.core.turn import input_items
from turnlog.actors.ports import ContextRequest, ModelRequest, ToolOrder
from turnlog.protocol.events import ToolDispatched
from turnlog.protocol.ids import EffectId
from turnlog.protocol.ops import UserTurn
from turnlog.protocol.settings import TurnSettings


class ModelJob(Struct, frozen=True):
    effect: EffectId
    request: ModelRequest


class ToolJob(Struct, frozen=True):
    effect: EffectId
    order: ToolOrder


class ContextJob(Struct, frozen=True):
    effect: EffectId
    request: ContextRequest


class QuestionJob(Struct, frozen=True):
    effect: EffectId
    timeout_ms: int | None


class TimerJob(Struct, frozen=True):
    effect: EffectId
    delay_ms: int


Job = ModelJob | ToolJob | ContextJob | QuestionJob | TimerJob


def job_for(state: State, turn: Turn, effect: Effect, dispatched: ToolDispatched | None) -> Job:
    """Return the job of `effect`, which the step in hand has opened."""
    match effect:
        case LoadContext(effect=name):
            settings = state.settings
            assert settings is not None  # a session starts with them
            return ContextJob(
                name, ContextRequest(name, state.session, settings, input_items(turn.op.op))
            )
        case CallModel(effect=name, parts=parts):
            return ModelJob(name, _model_request(state, turn, parts))
        case RunTool(effect=name, call=call):
            assert dispatched is not None  # it is what opened the effect
            known = turn.call(call)
            return ToolJob(name, ToolOrder(known.item, known.plan, dispatched, _settings(turn)))
        case AskQuestion(effect=name):
            return QuestionJob(name, _settings(turn).approval_timeout_ms)
        case Wait(effect=name, delay_ms=delay_ms):
            return TimerJob(name, delay_ms)
        case _:
            assert_never(effect)


def _settings(turn: Turn) -> TurnSettings:
    assert turn.settings is not None  # nothing but the context is asked for before
    return turn.settings


def _model_request(state: State, turn: Turn, parts: int) -> ModelRequest:
    op = turn.op.op
    return ModelRequest(
        state.session,
        turn.turn_id,
        _settings(turn),
        turn.tools_json,
        tuple(state.history.parts[:parts]),
        op.final_output_json_schema if isinstance(op, UserTurn) else None,
    )
