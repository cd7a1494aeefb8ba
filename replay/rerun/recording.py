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
    AgentsAwaited,
    ApprovalAsked,
    CallPlanned,
    CallSettled,
    ChildAsked,
    ChildStopping,
    Closes,
    ClosingFact,
    CompactionAsked,
    ContextAsked,
    EffectClosed,
    EffectLost,
    FilesSaved,
    ModelAsked,
    ModelFailed,
    ModelItemReceived,
    OpeningDecision,
    Opens,
    OpReceived,
    PlanAsked,
    RateLimitsReceived,
    RetryScheduled,
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


_Saved = tuple[int, FilesSaved]  # with the sequence of its event


@attrs.define
class Work:
    """Something that was asked of a port, and how it ended."""

    asked_at: int  # sequence of the decision
    ended_at: int | None = attrs.field(default=None, init=False)  # None: the log ends earlier
    ending: Ending | None = attrs.field(default=None, init=False)

    @property
    def was_stopped(self) -> bool:
        """Whether it was cancelled, or the log ends before it does."""
        match self.ending:
            case None | EffectClosed(how="cancelled") | ToolFinished(outcome="cancelled"):
                return True
            case ModelFailed(failure=failure):
                return failure.code == "cancelled"
            case _:
                return False


@attrs.define
class Exchange(Work):
    """One attempt at the model, and its answer."""

    turn: int
    number: int  # of the attempt within its turn, from 1
    conversation: Sequence[JsonText]  # shared with other exchanges; the first `count` are its own
    count: int
    settings: TurnSettings
    tools_json: JsonText
    output_schema: dict[str, Any] | None
    signals: list[tuple[int, ModelItemReceived | RateLimitsReceived]] = attrs.field(
        factory=list[tuple[int, ModelItemReceived | RateLimitsReceived]], init=False
    )

    @property
    def parts(self) -> Sequence[JsonText]:
        """The input of the request."""
        return self.conversation[: self.count]

    @property
    def items(self) -> list[JsonText]:
        """The items of the answer."""
        return [fact.item_json for _, fact in self.signals if isinstance(fact, ModelItemReceived)]


@attrs.define
class ToolRun(Work):
    """One run of a call."""

    item: ToolCallItem
    started_at: int | None = attrs.field(default=None, init=False)
    # What the model got as the output of a run that gave no result of its own.
    resolved: str | None = attrs.field(default=None, init=False)
    # The files that it saved before it changed them.
    saved: list[_Saved] = attrs.field(factory=list[_Saved], init=False)

    @property
    def result(self) -> ToolResult | None:
        """The result of the run; None: it was stopped without one, or it crashed."""
        match self.ending:
            case ToolFinished() as done:
                return ToolResult.of(done)
            case EffectLost() | None if self.resolved is not None:
                return ToolResult("crashed", "", self.resolved)
            case _:
                return None


@attrs.define
class ContextLoad(Work):
    """One load of what a turn starts with."""

    turn: int
    input: tuple[UserInputItem, ...]


@attrs.define
class ChildRun(Work):
    """One prompt to a child session, and how the child's run ended."""

    asked: ChildAsked
    asked_to_stop: bool = attrs.field(default=False, init=False)  # before its end

    @property
    def was_stopped(self) -> bool:
        """Whether it was asked to stop. Then it ended by itself, as its own log says."""
        return self.asked_to_stop


@attrs.define
class Answer(Work):
    """One request to a port that answers once, with the fact that closes the effect."""

    asked: OpeningDecision


@attrs.define
class WorkspaceJob(Work):
    """One scan of the workspace, or one undo."""

    saved: list[_Saved] = attrs.field(factory=list[_Saved], init=False)

    @property
    def was_stopped(self) -> bool:
        """Whether it was cancelled, its engine died, or the log ends before it does."""
        return super().was_stopped or isinstance(self.ending, EffectLost)

    @property
    def touched_files(self) -> bool:
        """Whether an undo had files to restore. Without any, no port was asked."""
        match self.ending:
            case TurnsRestored(files=files):
                return bool(files or self.saved)
            case EffectClosed(how="failed"):
                return True
            case _:
                return bool(self.saved)


class RecordedQuestion(Struct, frozen=True):
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
    loads: list[ContextLoad] = attrs.field(factory=list[ContextLoad])
    questions: dict[str, RecordedQuestion] = attrs.field(
        factory=dict[str, RecordedQuestion]
    )  # by id, in order
    plans: list[tuple[ToolCallItem, ToolPlan]] = attrs.field(
        factory=list[tuple[ToolCallItem, ToolPlan]]
    )
    replans: defaultdict[str, deque[ToolPlan]] = attrs.field(
        factory=lambda: defaultdict[str, deque[ToolPlan]](deque)
    )  # by call id, in order
    children: list[ChildRun] = attrs.field(factory=list[ChildRun])
    answers: list[Answer] = attrs.field(factory=list[Answer])
    scans: list[WorkspaceJob] = attrs.field(factory=list[WorkspaceJob])
    restores: list[WorkspaceJob] = attrs.field(factory=list[WorkspaceJob])


def question_key(asked: ApprovalAsked) -> str:
    """Return a text that is equal for equal questions, also of two sessions."""
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
    """Return the user's own command as a call. No call of the model is equal to it."""
    return FunctionCall(effect, USER_SHELL, msgspec.json.encode({"cmd": command}).decode())


def record_ports(records: Iterable[Recorded], *, after: int = 0) -> Recording:
    """Return the recording of a session.

    Args:
        records: the session from its first event on.
        after: what was asked at this event or before is left out.
    """
    reader = _RecordingReader(after)
    for record in records:
        reader.take(record)
    return reader.recording


@attrs.define
class _RecordingReader:
    after: int
    recording: Recording = attrs.field(factory=Recording)
    _state: State = attrs.field(factory=State)
    _open: dict[EffectId, Work] = attrs.field(factory=dict[EffectId, Work])
    _conversation: list[JsonText] = attrs.field(factory=list[JsonText])
    _asked: dict[int, int] = attrs.field(factory=dict[int, int])  # by turn
    _unresolved: dict[str, ToolRun] = attrs.field(factory=dict[str, ToolRun])  # by call id
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
                if (run := self._unresolved.pop(call_id, None)) is not None:
                    run.resolved = output
            case Opens() as decision:
                self._begin(at, decision)
            case OpReceived(op=ExecApproval() | PatchApproval() as op):
                question = self.recording.questions.get(op.id)
                in_time = self._state.in_hand.answers is not None
                if question is not None and in_time:
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
        """Note a call's new plan. A run that was dispatched by the old plan did not take place."""
        call_id = self._planning.pop(effect, "")
        if isinstance(run := self._open.pop(effect, None), ToolRun):
            self.recording.runs.remove(run)
            call_id = run.item.call_id
        self.recording.replans[call_id].append(plan)

    def _saved(self, at: int, effect: EffectId, saved: FilesSaved) -> None:
        match self._open.get(effect):
            case ToolRun() | WorkspaceJob() as work:
                work.saved.append((at, saved))
            case _:
                pass

    def _stopping(self, effect: EffectId) -> None:
        if isinstance(run := self._open.get(effect), ChildRun):
            run.asked_to_stop = True

    def _begin(self, at: int, decision: OpeningDecision) -> None:
        turn, recording = self._state.turn, self.recording
        if turn is None:
            return
        effect = decision.effect
        if isinstance(decision, ContextAsked):
            self._open[effect] = load = ContextLoad(at, turn.number, input_items(turn.op.op))
            recording.loads.append(load)
            return
        if not isinstance(turn, Turn):
            return  # only a log that was written by hand gets here
        match decision:
            case ToolDispatched(call=call, call_id=call_id):
                self._open[effect] = run = ToolRun(at, turn.dispatched(call))
                self._unresolved[call_id] = run
                recording.runs.append(run)
            case UserShellAsked(command=command):
                self._open[effect] = run = ToolRun(at, user_call(effect, command))
                recording.runs.append(run)
            case ChildAsked():
                self._open[effect] = child = ChildRun(at, decision)
                recording.children.append(child)
            case ScanAsked() | UndoAsked():
                self._open[effect] = work = WorkspaceJob(at)
                (recording.scans if isinstance(decision, ScanAsked) else recording.restores).append(
                    work
                )
            case ModelAsked() | CompactionAsked():
                self._open[effect] = exchange = self._exchange(at, turn, decision)
                recording.exchanges.append(exchange)
            case PlanAsked(call_id=call_id):
                self._planning[effect] = call_id
            case ApprovalAsked(question=name):
                known = recording.questions.get(name)
                recording.questions[name] = known or RecordedQuestion(
                    question_key(decision), turn=turn.number
                )
            case RetryScheduled() | AgentsAwaited():
                pass  # no port is asked
            case _:
                self._open[effect] = answer = Answer(at, decision)
                recording.answers.append(answer)

    def _exchange(self, at: int, turn: Turn, asked: ModelAsked | CompactionAsked) -> Exchange:
        number = self._asked[turn.number] = self._asked.get(turn.number, 0) + 1
        if isinstance(asked, CompactionAsked):
            parts = self._state.history.texts(asked.skipped, asked.parts)
            parts.append(asked.prompt_json)
            return Exchange(at, turn.number, number, parts, len(parts), asked.settings, "[]", None)
        op = turn.op.op
        return Exchange(
            at,
            turn.number,
            number,
            self._shared(self._state.history.texts(end=asked.parts)),
            asked.parts,
            turn.settings,
            turn.tools_json,
            op.final_output_json_schema if isinstance(op, UserTurn) else None,
        )

    def _shared(self, parts: list[JsonText]) -> list[JsonText]:
        """Return a list that begins with `parts`; the lists are one while it only grows."""
        if parts[: len(self._conversation)] != self._conversation:
            self._conversation = []
        self._conversation += parts[len(self._conversation) :]
        return self._conversation
