"""Orders: what a port is given for an effect, taken from the state at once.

The state changes while an order waits for the disk. What the order holds does not. Pure.
"""

from typing import Final

import msgspec
from msgspec import Struct

from turnlog.actors.core.approval import unanswered
from turnlog.actors.core.grants import PLAIN
from turnlog.actors.core.state import OpenTurn, State, Turn
from turnlog.actors.core.turn import input_items
from turnlog.actors.ports import ContextRequest, ModelRequest, PlanOrder, ToolOrder
from turnlog.protocol.calls import ToolPlan
from turnlog.protocol.events import (
    ApprovalAsked,
    CompactionAsked,
    ContextAsked,
    PlanAsked,
    ScanAsked,
    ToolDispatched,
    TurnKind,
    UndoAsked,
    UserShellAsked,
)
from turnlog.protocol.ids import EffectId, SessionId
from turnlog.protocol.items import FunctionCall
from turnlog.protocol.ops import UserTurn

WITHOUT_MODEL: Final[frozenset[TurnKind]] = frozenset({"undo", "redo", "shell"})
USER_SHELL: Final = "exec_command"  # the tool that runs what the user types


class QuestionOrder(Struct, frozen=True):
    """A question to a person, and how long it waits for the answer."""

    timeout_ms: int | None  # None: it waits without end
    session: SessionId
    question: str
    tool: str


class ScanOrder(Struct, frozen=True):
    """The folder that a scan looks at, and for which session."""

    effect: EffectId
    session: SessionId
    cwd: str


class UndoOrder(Struct, frozen=True):
    """What an undo brings back, and where."""

    session: SessionId
    asked: UndoAsked
    cwd: str


def context_request(state: State, turn: OpenTurn, asked: ContextAsked) -> ContextRequest:
    """Return what a turn's context is loaded for."""
    settings = state.settings
    assert settings is not None  # a session starts with them
    words, asks_model = input_items(turn.op.op), turn.kind not in WITHOUT_MODEL
    return ContextRequest(asked.effect, state.session, settings, words, asks_model)


def model_request(state: State, turn: Turn, parts: int) -> ModelRequest:
    """Return what the model is asked with the first `parts` parts of the conversation."""
    op = turn.op.op
    return ModelRequest(
        state.session,
        turn.turn_id,
        turn.settings,
        turn.tools_json,
        tuple(state.history.texts(end=parts)),
        op.final_output_json_schema if isinstance(op, UserTurn) else None,
        state.cache_key,
    )


def summary_request(state: State, turn: Turn, asked: CompactionAsked) -> ModelRequest:
    """Return what the model is asked for a summary."""
    parts = state.history.texts(asked.skipped, asked.parts)
    return ModelRequest(
        state.session,
        turn.turn_id,
        asked.settings,
        "[]",
        (*parts, asked.prompt_json),
        cache_key=state.cache_key,
    )


def tool_order(turn: Turn, dispatched: ToolDispatched) -> ToolOrder:
    """Return a call as its tool runs it."""
    item, plan = turn.dispatched(dispatched.call), turn.call(dispatched.call).plan
    return ToolOrder(item, plan, dispatched, turn.settings)


def user_shell_order(turn: Turn, asked: UserShellAsked) -> ToolOrder:
    """Return the user's own command as a call."""
    arguments = msgspec.json.encode({"cmd": asked.command}).decode()
    dispatched = ToolDispatched(asked.effect, 0, asked.effect, USER_SHELL, PLAIN)
    call = FunctionCall(asked.effect, USER_SHELL, arguments)
    return ToolOrder(call, ToolPlan(USER_SHELL), dispatched, turn.settings)


def plan_order(turn: Turn, asked: PlanAsked) -> PlanOrder:
    """Return a call that is planned once more."""
    return PlanOrder(asked.effect, turn.dispatched(asked.call), turn.settings)


def question_order(state: State, turn: Turn, asked: ApprovalAsked) -> QuestionOrder:
    """Return a question with its limit of time, where somebody has set one."""
    plan, settings = turn.call(asked.call).plan, turn.settings
    waits = unanswered(plan, settings) == "wait"
    timeout_ms = None if waits else settings.approval_timeout_ms
    return QuestionOrder(timeout_ms, state.session, asked.question, plan.tool)


def scan_order(state: State, turn: Turn, asked: ScanAsked) -> ScanOrder:
    """Return what is scanned before the tools of a turn run."""
    return ScanOrder(asked.effect, state.session, turn.settings.session.cwd)


def undo_order(state: State, turn: Turn, asked: UndoAsked) -> UndoOrder:
    """Return what an undo brings back."""
    return UndoOrder(state.session, asked, turn.settings.session.cwd)
