"""What a session's events say of its ports: each request with its answer, each run of a tool.

The log is the recording: there is no second format. Pure: a fold over the events.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import attrs
import msgspec
from msgspec import Struct, structs

from turnlog.actors.core.rebuild import rebuild
from turnlog.actors.core.state import State
from turnlog.actors.core.turn import input_items
from turnlog.actors.ports import ToolResult
from turnlog.protocol.calls import ToolPlan
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.events import (
    ApprovalAsked,
    CallSettled,
    ContextAsked,
    ContextLoaded,
    EffectClosed,
    EffectLost,
    ModelAsked,
    ModelCompleted,
    ModelFailed,
    ModelItemReceived,
    OpReceived,
    RateLimitsReceived,
    ToolDispatched,
    ToolFinished,
    ToolStarted,
)
from turnlog.protocol.ids import EffectId
from turnlog.protocol.items import CustomToolCall, FunctionCall, JsonText, ToolCallItem, read_item
from turnlog.protocol.ops import (
    ApprovalAnswer,
    ExecApproval,
    PatchApproval,
    UserInputItem,
    UserTurn,
)
from turnlog.protocol.settings import TurnSettings

Ending = ModelCompleted | ModelFailed | ContextLoaded | ToolFinished | EffectClosed | EffectLost


@attrs.define
class Exchange:
    """One attempt at the model, and what came of it."""

    turn: int
    number: int  # of the attempt within its turn, from 1
    asked_at: int  # sequence of the request
    conversation: Sequence[JsonText]  # shared with other exchanges; the first `count` are its own
    count: int
    settings: TurnSettings
    tools_json: JsonText
    output_schema: dict[str, Any] | None
    signals: list[tuple[int, ModelItemReceived | RateLimitsReceived]] = attrs.field(
        factory=list[tuple[int, ModelItemReceived | RateLimitsReceived]]
    )
    ended_at: int | None = None  # None: the log ends before the answer does
    ending: Ending | None = None

    @property
    def parts(self) -> Sequence[JsonText]:
        return self.conversation[: self.count]

    @property
    def items(self) -> list[JsonText]:
        return [fact.item_json for _, fact in self.signals if isinstance(fact, ModelItemReceived)]


@attrs.define
class ToolRun:
    """One run of a call."""

    item: ToolCallItem
    dispatched_at: int
    started_at: int | None = None
    ended_at: int | None = None
    ending: Ending | None = None
    settled: str | None = None  # what the model was told of one that gave no result of its own

    @property
    def result(self) -> ToolResult | None:
        """What the run has to say; None if it was stopped without a word, or crashed."""
        match self.ending:
            case ToolFinished() as done:
                return ToolResult(
                    done.outcome, done.preamble, done.output, done.full_output, done.report
                )
            case EffectLost() | None if self.settled is not None:
                return ToolResult("crashed", "", self.settled)
            case _:
                return None


@attrs.define
class Loading:
    """One loading of what a turn starts with."""

    turn: int
    asked_at: int
    input: tuple[UserInputItem, ...]
    ended_at: int | None = None
    ending: Ending | None = None


class Question(Struct, frozen=True):
    """A question, and its answer. None: nobody gave one."""

    key: str  # equal keys are the same question
    answer: ApprovalAnswer | None = None
    answered_at: int | None = None
    turn: int = 0


@attrs.define
class Recording:
    """Everything that a session's ports said, in the order in which it was asked for."""

    exchanges: list[Exchange] = attrs.field(factory=list[Exchange])
    runs: list[ToolRun] = attrs.field(factory=list[ToolRun])
    loadings: list[Loading] = attrs.field(factory=list[Loading])
    questions: dict[str, Question] = attrs.field(factory=dict[str, Question])  # by id, in order
    plans: list[tuple[ToolCallItem, ToolPlan]] = attrs.field(
        factory=list[tuple[ToolCallItem, ToolPlan]]
    )


def question_key(asked: ApprovalAsked) -> str:
    """Return what is the same in two sessions that ask the same thing."""
    return asked.plan.approval_key or msgspec.json.encode(asked.plan).decode()


def call_key(call: ToolCallItem) -> tuple[str, str]:
    """Return a call's name and arguments, JSON in one form."""
    if isinstance(call, CustomToolCall):
        return call.name, call.input
    name = f"{call.namespace}.{call.name}" if call.namespace else call.name
    try:
        decoded = msgspec.json.decode(call.arguments)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return name, call.arguments
    return name, msgspec.json.encode(decoded, order="sorted").decode()


def record_ports(records: Iterable[Recorded], *, after: int = 0) -> Recording:
    """Return the recording of a session.

    Args:
        records: the session from its first event on.
        after: what was asked for at this event or before is left out.
    """
    reader = _Reader(after)
    for record in records:
        reader.take(record)
    return reader.recording


@attrs.define
class _Reader:
    after: int
    recording: Recording = attrs.field(factory=Recording)
    _state: State = attrs.field(factory=State)
    _open: dict[EffectId, Exchange | ToolRun | Loading] = attrs.field(
        factory=dict[EffectId, Exchange | ToolRun | Loading]
    )
    _conversation: list[JsonText] = attrs.field(factory=list[JsonText])
    _asked: dict[int, int] = attrs.field(factory=dict[int, int])  # by turn
    _unsettled: dict[str, ToolRun] = attrs.field(factory=dict[str, ToolRun])  # by call id

    def take(self, record: Recorded) -> None:
        rebuild((record,), self._state)
        if record.sequence <= self.after:
            if isinstance(record.event, ModelAsked):
                self._asked[record.turn] = self._asked.get(record.turn, 0) + 1
            return
        at = record.sequence
        match record.event:
            case ModelAsked() | ContextAsked() | ToolDispatched() as decision:
                self._begin(at, decision)
            case ModelItemReceived(effect=effect) | RateLimitsReceived(effect=effect) as fact:
                exchange = self._open.get(effect)
                if isinstance(exchange, Exchange):
                    exchange.signals.append((at, fact))
                    self._plan(fact)
            case ToolStarted(effect=effect):
                run = self._open.get(effect)
                if isinstance(run, ToolRun):
                    run.started_at = at
            case (
                ModelCompleted(effect=effect)
                | ModelFailed(effect=effect)
                | ContextLoaded(effect=effect)
                | ToolFinished(effect=effect)
                | EffectClosed(effect=effect)
                | EffectLost(effect=effect)
            ) as fact:
                if (ended := self._open.pop(effect, None)) is not None:
                    ended.ended_at, ended.ending = at, fact
            case CallSettled(call_id=call_id, output=output):
                if (run := self._unsettled.pop(call_id, None)) is not None:
                    run.settled = output
            case ApprovalAsked() as asked:
                known = self.recording.questions.get(asked.question)
                self.recording.questions[asked.question] = known or Question(
                    question_key(asked), turn=record.turn
                )
            case OpReceived(op=ExecApproval() | PatchApproval() as op):
                question = self.recording.questions.get(op.id)
                if question is not None and self._state.belongs_to is not None:  # else: too late
                    self.recording.questions[op.id] = structs.replace(
                        question, answer=op.decision, answered_at=at
                    )
            case _:
                pass

    def _plan(self, fact: ModelItemReceived | RateLimitsReceived) -> None:
        if isinstance(fact, ModelItemReceived) and fact.plan is not None:
            item = read_item(fact.item_json)
            if isinstance(item, FunctionCall | CustomToolCall):
                self.recording.plans.append((item, fact.plan))

    def _begin(self, at: int, decision: ModelAsked | ContextAsked | ToolDispatched) -> None:
        turn = self._state.turn
        if turn is None:
            return
        match decision:
            case ContextAsked(effect=effect):
                loading = Loading(turn.number, at, input_items(turn.op.op))
                self.recording.loadings.append(loading)
                self._open[effect] = loading
            case ToolDispatched(effect=effect, call=call, call_id=call_id):
                run = ToolRun(turn.call(call).item, at)
                self.recording.runs.append(run)
                self._open[effect] = self._unsettled[call_id] = run
            case ModelAsked(effect=effect, parts=parts) if turn.settings is not None:
                number = self._asked[turn.number] = self._asked.get(turn.number, 0) + 1
                op = turn.op.op
                exchange = Exchange(
                    turn.number,
                    number,
                    at,
                    self._shared(self._state.history.parts, parts),
                    parts,
                    turn.settings,
                    turn.tools_json,
                    op.final_output_json_schema if isinstance(op, UserTurn) else None,
                )
                self.recording.exchanges.append(exchange)
                self._open[effect] = exchange
            case ModelAsked():
                pass

    def _shared(self, parts: list[JsonText], count: int) -> list[JsonText]:
        """Return a list that begins with the first `count` parts; it only grows, if they do."""
        known = len(self._conversation)
        if known > count or parts[:known] != self._conversation:
            self._conversation = []
        self._conversation += parts[len(self._conversation) : count]
        return self._conversation
