"""Drives the session's core as its shell does: steps, sealed records, effects to be closed."""

from collections.abc import Sequence
from typing import TypeVar

import attrs
from hypothesis.vendor.pretty import RepresentationPrinter
from msgspec import structs

from turnlog.actors.core.rebuild import rebuild
from turnlog.actors.core.rules import RULES
from turnlog.actors.core.sealed_step import sealed_step
from turnlog.actors.core.state import State
from turnlog.actors.core.undo import parts_then
from turnlog.protocol.calls import AgentRequest, ContextFragment, ModelFailure, ToolPlan
from turnlog.protocol.envelope import Record, Recorded, UnknownEvent, unseal
from turnlog.protocol.events import (
    AgentsAwaited,
    ApprovalAsked,
    CallPlanned,
    ChildAsked,
    ChildEnded,
    ChildTold,
    CompactionAsked,
    ContextAsked,
    ContextLoaded,
    ConversationResumed,
    Decision,
    EffectClosed,
    EffectDone,
    ModelAsked,
    ModelCompleted,
    ModelFailed,
    ModelItemReceived,
    OpeningDecision,
    Opens,
    OpReceived,
    PlanAsked,
    RetryScheduled,
    ScanAsked,
    SessionDecision,
    SessionEvent,
    SessionFact,
    SessionForked,
    SessionOpened,
    SessionStarted,
    TimerFired,
    ToolDispatched,
    ToolFinished,
    ToolStarted,
    TurnsRestored,
    UndoAsked,
    UserShellAsked,
    WorkspaceScanned,
)
from turnlog.protocol.ids import EffectId, SessionId
from turnlog.protocol.items import (
    ContentPart,
    CustomToolCall,
    FunctionCall,
    JsonText,
    Message,
    Reasoning,
    encode_item,
    text_message,
)
from turnlog.protocol.ops import (
    ApprovalAnswer,
    ExecApproval,
    Interrupt,
    Op,
    TextInput,
    Undo,
    UserInput,
    UserInputItem,
    UserTurn,
)
from turnlog.protocol.settings import OnRecovery, RetryLimits, SessionSettings, TurnSettings
from turnlog.protocol.usage import TokenUsage

SESSION = SessionId("01900000-0000-7000-8000-000000000001")
SETTINGS = SessionSettings(cwd="/work", model="gpt-test")
E = TypeVar("E", bound=Opens)
START_US = 1_700_000_000_000_000


def said(text: str, item_id: str | None = None) -> JsonText:
    return encode_item(Message("assistant", [ContentPart("output_text", text=text)], item_id))


def thought(item_id: str | None = None) -> JsonText:
    return encode_item(Reasoning(item_id, encrypted_content="sealed"))


def function_call(call_id: str, name: str = "exec_command", item_id: str | None = None) -> JsonText:
    return encode_item(FunctionCall(call_id, name, "{}", item_id))


def custom_call(call_id: str, name: str = "apply_patch", item_id: str | None = None) -> JsonText:
    return encode_item(CustomToolCall(call_id, name, "*** Begin Patch", item_id))


def user(text: str) -> JsonText:
    return text_message("user", text)


def loaded(
    effect: EffectId,
    settings: TurnSettings,
    items: tuple[UserInputItem, ...],
    fragments: Sequence[ContextFragment] = (),
) -> ContextLoaded:
    text = " ".join(item.text if isinstance(item, TextInput) else "[image]" for item in items)
    return ContextLoaded(effect, settings, "[]", tuple(fragments), user(text))


@attrs.define(repr=False)
class Play:
    """A session in play: its live state, and its log as stored bytes and as read back."""

    state: State = attrs.field(factory=State)
    stored: list[Record] = attrs.field(factory=list[Record])
    records: list[Recorded] = attrs.field(factory=list[Recorded])
    ends: list[int] = attrs.field(factory=list[int])  # the sequence that each step ends at
    effects: list[EffectId] = attrs.field(factory=list[EffectId])  # ever opened
    blobs: dict[bytes, bytes] = attrs.field(factory=dict[bytes, bytes])
    retry: RetryLimits = attrs.field(factory=RetryLimits)
    now_us: int = START_US
    ops: int = 0
    limits: TurnSettings | None = None  # what every turn runs under, beside the session's settings
    rules: int = RULES

    def __repr__(self) -> str:
        return f"<{' '.join(record.kind for record in self.records[:200])}>"

    def _repr_pretty_(self, printer: RepresentationPrinter, cycle: bool) -> None:
        printer.text(repr(self))  # hypothesis would print every field

    @classmethod
    def started(
        cls,
        settings: SessionSettings = SETTINGS,
        retry: RetryLimits | None = None,
        limits: TurnSettings | None = None,
    ) -> "Play":
        play = cls(retry=retry or RetryLimits(), limits=limits)
        play.send(SessionStarted(SESSION, settings, "test", "0"))
        play.open()
        return play

    # --- the log ----------------------------------------------------------------------------------

    @property
    def events(self) -> list[SessionEvent]:
        return known(self.records)

    def send(self, fact: SessionFact, *, passed_us: int = 1000) -> list[SessionDecision]:
        """Take one step; return its decisions."""
        self.now_us += passed_us
        decisions: list[SessionDecision] = []
        for one in sealed_step(self.state, fact, time_us=self.now_us):
            self._store(one.record)
            if isinstance(one.event, Decision):
                decisions.append(one.event)
            if isinstance(one.event, Opens):
                self.effects.append(one.event.effect)
        self.ends.append(self.state.head)
        return decisions

    def _store(self, record: Record) -> None:
        self.blobs.update(record.blobs)
        self.stored.append(record)
        self.records.append(unseal(record.data, record.digest, self.blobs.__getitem__))

    def cut(self, at: int) -> "Play":
        """Return what a new engine has of this session after its first `at` events."""
        return Play(
            rebuild(self.records[:at]),
            self.stored[:at],
            self.records[:at],
            [end for end in self.ends if end <= at],
            list(self.effects),
            self.blobs,
            self.retry,
            self.now_us,
            self.ops,
            self.limits,
            self.rules,
        )

    # --- what is open -----------------------------------------------------------------------------

    def the(self, kind: type[E]) -> E:
        """Return the oldest open effect of a kind."""
        return self.all(kind)[0]

    def all(self, kind: type[E]) -> list[E]:
        return self.state.open(kind)

    def tool(self, call: int) -> EffectId:
        """Return the effect that runs the turn's call with this number."""
        return next(effect.effect for effect in self.all(ToolDispatched) if effect.call == call)

    # --- facts ------------------------------------------------------------------------------------

    def open(self, on_recovery: OnRecovery = "continue") -> list[SessionDecision]:
        """Open the session again; return what is decided besides saying what it continues with."""
        fence, history = self.state.fence + 1, self.state.history
        resumed = ConversationResumed(len(history.parts), self.state.tokens, history.digest.hex())
        decided = self.send(SessionOpened(fence, "engine", "0", on_recovery, self.rules))
        if not resumed.parts or on_recovery == "leave":
            return decided
        assert decided[0] == resumed
        return decided[1:]

    def fork(self) -> list[SessionDecision]:
        """Continue as a fork of this session at its last event."""
        child = SessionId(f"{self.state.session}/fork-{self.state.head}")
        digest = self.state.digest.hex()
        return self.send(SessionForked(child, self.state.session, self.state.head, digest, "0"))

    def op(self, op: Op, op_id: str | None = None) -> list[SessionDecision]:
        self.ops += 1
        return self.send(OpReceived(op_id or f"op-{self.ops}", op))

    def say(self, text: str) -> list[SessionDecision]:
        return self.op(UserInput((TextInput(text),)))

    def interrupt(self) -> list[SessionDecision]:
        return self.op(Interrupt())

    def load(
        self, fragments: Sequence[ContextFragment] = (), settings: TurnSettings | None = None
    ) -> list[SessionDecision]:
        """Close the open ContextAsked."""
        assert self.state.settings is not None
        assert self.state.turn is not None
        settings = settings or self.turn_settings()
        op = self.state.turn.op.op
        items = op.items if isinstance(op, UserInput | UserTurn) else ()
        return self.send(loaded(self.the(ContextAsked).effect, settings, items, fragments))

    def turn_settings(self) -> TurnSettings:
        """Return what a turn runs under that starts now."""
        assert self.state.settings is not None
        if self.limits is None:
            return TurnSettings(self.state.settings, self.retry)
        return structs.replace(self.limits, session=self.state.settings, retry=self.retry)

    def ask(self, text: str) -> list[SessionDecision]:
        """Start a turn and load its context: the model has been asked."""
        return self.say(text) + self.load()

    def talk(self, text: str, answer: str) -> list[SessionDecision]:
        """Live through a turn of one word each way."""
        self.ask(text)
        self.item(said(answer))
        return self.complete()

    def item(self, item_json: JsonText, plan: ToolPlan | None = None) -> list[SessionDecision]:
        return self.send(ModelItemReceived(self.the(ModelAsked).effect, item_json, plan))

    def call(self, call_id: str, *, parallel: bool = True) -> list[SessionDecision]:
        return self.item(function_call(call_id), ToolPlan("exec_command", parallel))

    def agent_call(self, call_id: str, request: AgentRequest) -> list[SessionDecision]:
        """Let the model call for an agent; return what is done about it."""
        return self.item(function_call(call_id, "agent"), ToolPlan("agent", agent=request))

    def fail_summary(self, failure: ModelFailure) -> list[SessionDecision]:
        return self.send(ModelFailed(self.the(CompactionAsked).effect, failure))

    def summarize(self, summary: str) -> list[SessionDecision]:
        """Give the summary that was asked for."""
        effect = self.the(CompactionAsked).effect
        self.send(ModelItemReceived(effect, said(summary)))
        return self.send(ModelCompleted(effect, "resp"))

    def end_child(self, output: str = "done", child: str | None = None) -> list[SessionDecision]:
        """Let a child rest, the oldest if none is named."""
        runs = [one for one in self.all(ChildAsked) if child in (None, one.child)]
        asked = runs[0]
        usage = TokenUsage(100, 0, 0, 10)
        return self.send(
            ChildEnded(asked.effect, asked.child, "completed", 9, "00" * 16, output, usage)
        )

    def restore(self) -> list[SessionDecision]:
        """Undo as the log's reader does: a conversation that is gone is folded from the log."""
        effect = self.the(UndoAsked).effect
        asked = next(
            one for one in self.events if isinstance(one, UndoAsked) and one.effect == effect
        )
        parts = None
        if asked.conversation and asked.parts is None:
            parts = parts_then(rebuild(self.records[: asked.since]))
        return self.send(TurnsRestored(effect, (), {}, parts))

    def undo(self, turns: int = 1) -> list[SessionDecision]:
        """Undo so many turns."""
        return self.op(Undo(turns)) + self.load() + self.restore()

    def complete(self, usage: TokenUsage | None = None) -> list[SessionDecision]:
        return self.send(ModelCompleted(self.the(ModelAsked).effect, "resp", usage))

    def fail(self, failure: ModelFailure) -> list[SessionDecision]:
        return self.send(ModelFailed(self.the(ModelAsked).effect, failure))

    def fire(self) -> list[SessionDecision]:
        return self.send(TimerFired(self.the(RetryScheduled).effect))

    def start(self, call: int) -> list[SessionDecision]:
        return self.send(ToolStarted(self.tool(call)))

    def finish(self, call: int, output: str = "ok") -> list[SessionDecision]:
        return self.send(ToolFinished(self.tool(call), "done", "", output))

    def answer(self, decision: ApprovalAnswer) -> list[SessionDecision]:
        return self.op(ExecApproval(self.the(ApprovalAsked).question, decision))

    def close(self, effect: OpeningDecision) -> list[SessionDecision]:
        """Close an effect as a world does in which all goes well, or as it does when stopped."""
        turn = self.state.turn
        if turn is not None and turn.stopping is not None:
            return self.send(EffectClosed(effect.effect, "cancelled"))
        match effect:
            case ContextAsked():
                return self.load()
            case ModelAsked():
                return self.send(ModelCompleted(effect.effect, "resp"))
            case ToolDispatched():
                return self.send(ToolFinished(effect.effect, "done", "", "ok"))
            case PlanAsked():
                return self.send(CallPlanned(effect.effect, ToolPlan("exec_command")))
            case ApprovalAsked():
                return self.op(ExecApproval(effect.question, "approved"))
            case RetryScheduled() | AgentsAwaited():
                return self.send(TimerFired(effect.effect))
            case CompactionAsked():
                return self.summarize("in short")
            case ChildAsked():
                return self.end_child(f"done <{effect.effect}>", effect.child)
            case ChildTold():
                return self.send(EffectDone(effect.effect))
            case ScanAsked():
                return self.send(WorkspaceScanned(effect.effect, 1, 0))
            case UndoAsked():
                return self.restore()
            case UserShellAsked():
                return self.send(ToolFinished(effect.effect, "done", "", "secret"))

    def settle(self, most: int) -> None:
        """Close what is open until nothing is, in at most `most` steps."""
        for _ in range(most):
            if not self.state.outstanding:
                return
            self.close(next(iter(self.state.outstanding.values())))
        assert not self.state.outstanding, f"still open after {most} steps"


def known(records: Sequence[Recorded]) -> list[SessionEvent]:
    """Return the events of a log that holds no unknown ones."""
    events: list[SessionEvent] = []
    for record in records:
        assert not isinstance(record.event, UnknownEvent)
        events.append(record.event)
    return events
