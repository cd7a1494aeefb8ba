"""What a session's events say of its ports: each request with its answer, each run of a tool.

The log is the recording: there is no second format. Pure: a fold over the events.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import Any, Final

import attrs
import msgspec
from msgspec import Struct, structs

from turnlog.actors.core.rebuild import rebuild
from turnlog.actors.core.state import State, Turn
from turnlog.actors.core.turn import input_items
from turnlog.actors.ports import ToolResult
from turnlog.protocol.calls import ToolPlan
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.events import (
    ApprovalAsked,
    CallPlanned,
    CallSettled,
    ChildAsked,
    ChildStopping,
    ChildTold,
    Closes,
    ClosingFact,
    CompactionAsked,
    ContextAsked,
    EffectClosed,
    EffectLost,
    FilesSaved,
    ModelAsked,
    ModelItemReceived,
    OpeningDecision,
    Opens,
    OpReceived,
    PlanAsked,
    RateLimitsReceived,
    ScanAsked,
    ToolDispatched,
    ToolFinished,
    ToolStarted,
    TurnsRestored,
    TurnStopping,
    UndoAsked,
    UserShellAsked,
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

Ending = ClosingFact | EffectLost
USER_SHELL: Final = "user_shell"  # by which the user's own commands are told from the model's


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
    # What it saved of files before it changed them.
    saved: list[tuple[int, FilesSaved]] = attrs.field(factory=list[tuple[int, FilesSaved]])

    @property
    def result(self) -> ToolResult | None:
        """What the run has to say; None if it was stopped without a word, or crashed."""
        match self.ending:
            case ToolFinished() as done:
                return ToolResult.of(done)
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


@attrs.define
class ChildRun:
    """One prompt to a child session, and how the child came to rest."""

    asked: ChildAsked
    asked_at: int
    is_stopped: bool = False  # it was asked to stop before its end
    ended_at: int | None = None
    ending: Ending | None = None


@attrs.define
class Telling:
    """A word to a child that works. It may have come too late."""

    told: ChildTold
    asked_at: int
    ended_at: int | None = None
    ending: Ending | None = None


@attrs.define
class FileWork:
    """One scan of the workspace, or one undo."""

    asked_at: int
    saved: list[tuple[int, FilesSaved]] = attrs.field(factory=list[tuple[int, FilesSaved]])
    ended_at: int | None = None
    ending: Ending | None = None

    @property
    def is_stopped(self) -> bool:
        """Whether it was cut off, or the log ends before it does."""
        match self.ending:
            case EffectClosed(how="cancelled") | EffectLost() | None:
                return True
            case _:
                return False

    @property
    def touched_files(self) -> bool:
        """Whether an undo had files to bring back. One that had none asks nothing of a port."""
        match self.ending:
            case TurnsRestored(files=files):
                return bool(files or self.saved)
            case EffectClosed(how="failed"):
                return True
            case _:
                return bool(self.saved)


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
    replans: defaultdict[str, deque[ToolPlan]] = attrs.field(
        factory=lambda: defaultdict[str, deque[ToolPlan]](deque)
    )  # by call id, in order
    children: list[ChildRun] = attrs.field(factory=list[ChildRun])
    tellings: list[Telling] = attrs.field(factory=list[Telling])
    scans: list[FileWork] = attrs.field(factory=list[FileWork])
    restores: list[FileWork] = attrs.field(factory=list[FileWork])


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


def user_call(effect: EffectId, command: str) -> ToolCallItem:
    """Return the user's own command as a call, which no call of the model's is equal to."""
    return FunctionCall(effect, USER_SHELL, msgspec.json.encode({"cmd": command}).decode())


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


_Work = Exchange | ToolRun | Loading | ChildRun | Telling | FileWork


@attrs.define
class _Reader:
    after: int
    recording: Recording = attrs.field(factory=Recording)
    _state: State = attrs.field(factory=State)
    _open: dict[EffectId, _Work] = attrs.field(factory=dict[EffectId, _Work])
    _conversation: list[JsonText] = attrs.field(factory=list[JsonText])
    _asked: dict[int, int] = attrs.field(factory=dict[int, int])  # by turn
    _unsettled: dict[str, ToolRun] = attrs.field(factory=dict[str, ToolRun])  # by call id
    _planning: dict[EffectId, str] = attrs.field(factory=dict[EffectId, str])  # call ids

    def take(self, record: Recorded) -> None:
        rebuild((record,), self._state)
        if record.sequence <= self.after:
            if isinstance(record.event, ModelAsked | CompactionAsked):
                self._asked[record.turn] = self._asked.get(record.turn, 0) + 1
            return
        at = record.sequence
        match record.event:
            case ModelItemReceived(effect=effect) | RateLimitsReceived(effect=effect) as fact:
                exchange = self._open.get(effect)
                if isinstance(exchange, Exchange):
                    exchange.signals.append((at, fact))
                    self._plan(fact)
            case ToolStarted(effect=effect):
                run = self._open.get(effect)
                if isinstance(run, ToolRun):
                    run.started_at = at
            case FilesSaved(effect=effect) as saved:
                self._saved(at, effect, saved)
            case ChildStopping(effect=effect):
                self._stopping(effect)
            case TurnStopping():
                for effect in self._open:
                    self._stopping(effect)
            case CallPlanned(effect=effect, plan=plan):
                self._planned_again(effect, plan)
            case (Closes() | EffectLost()) as fact:
                if (ended := self._open.pop(fact.effect, None)) is not None:
                    ended.ended_at, ended.ending = at, fact
            case CallSettled(call_id=call_id, output=output):
                if (run := self._unsettled.pop(call_id, None)) is not None:
                    run.settled = output
            case Opens() as decision:
                self._begin(at, decision)
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

    def _planned_again(self, effect: EffectId, plan: ToolPlan) -> None:
        """Note a call's new plan. What was dispatched by the old one has not run."""
        call_id = self._planning.pop(effect, "")
        if isinstance(run := self._open.pop(effect, None), ToolRun):
            self.recording.runs.remove(run)
            call_id = run.item.call_id
        self.recording.replans[call_id].append(plan)

    def _saved(self, at: int, effect: EffectId, saved: FilesSaved) -> None:
        match self._open.get(effect):
            case ToolRun() | FileWork() as work:
                work.saved.append((at, saved))
            case _:
                pass

    def _stopping(self, effect: EffectId) -> None:
        if isinstance(run := self._open.get(effect), ChildRun):
            run.is_stopped = True

    def _begin(self, at: int, decision: OpeningDecision) -> None:
        turn, recording = self._state.turn, self.recording
        if turn is None:
            return
        effect = decision.effect
        match decision:
            case ContextAsked():
                self._open[effect] = loading = Loading(turn.number, at, input_items(turn.op.op))
                recording.loadings.append(loading)
            case ToolDispatched(call=call, call_id=call_id):
                self._open[effect] = run = ToolRun(turn.dispatched(call), at)
                self._unsettled[call_id] = run
                recording.runs.append(run)
            case UserShellAsked(command=command):
                self._open[effect] = run = ToolRun(user_call(effect, command), at)
                recording.runs.append(run)
            case ChildAsked():
                self._open[effect] = child = ChildRun(decision, at)
                recording.children.append(child)
            case ChildTold():
                self._open[effect] = telling = Telling(decision, at)
                recording.tellings.append(telling)
            case ScanAsked() | UndoAsked():
                self._open[effect] = work = FileWork(at)
                (recording.scans if isinstance(decision, ScanAsked) else recording.restores).append(
                    work
                )
            case ModelAsked() | CompactionAsked():
                if turn.settings is not None:
                    self._open[effect] = exchange = self._exchange(at, turn, decision)
                    recording.exchanges.append(exchange)
            case PlanAsked(call_id=call_id):
                self._planning[effect] = call_id
            case ApprovalAsked(question=name):
                known = recording.questions.get(name)
                recording.questions[name] = known or Question(
                    question_key(decision), turn=turn.number
                )
            case _:
                pass  # no port is asked

    def _exchange(self, at: int, turn: Turn, asked: ModelAsked | CompactionAsked) -> Exchange:
        number = self._asked[turn.number] = self._asked.get(turn.number, 0) + 1
        if isinstance(asked, CompactionAsked):
            parts = self._state.history.parts[asked.skipped : asked.parts]
            parts = [*parts, asked.prompt_json]
            return Exchange(turn.number, number, at, parts, len(parts), asked.settings, "[]", None)
        assert turn.settings is not None  # it has asked the model
        op = turn.op.op
        return Exchange(
            turn.number,
            number,
            at,
            self._shared(self._state.history.parts, asked.parts),
            asked.parts,
            turn.settings,
            turn.tools_json,
            op.final_output_json_schema if isinstance(op, UserTurn) else None,
        )

    def _shared(self, parts: list[JsonText], count: int) -> list[JsonText]:
        """Return a list that begins with the first `count` parts; it only grows, if they do."""
        known = len(self._conversation)
        if known > count or parts[:known] != self._conversation:
            self._conversation = []
        self._conversation += parts[len(self._conversation) : count]
        return self._conversation
