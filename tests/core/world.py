"""A random world around a session's core: users, models, tools, clocks, crashes and forks."""

import json
from collections.abc import Callable, Sequence
from typing import Final, Literal, TypeVar

import attrs
from msgspec import structs

from tests.core.play import (
    SESSION,
    SETTINGS,
    Play,
    custom_call,
    function_call,
    loaded,
    said,
    thought,
    user,
)
from turnlog.actors.core.state import Turn
from turnlog.protocol.calls import (
    AgentRequest,
    AwaitAgents,
    CloseAgent,
    ContextFragment,
    ErrorInfo,
    ListAgents,
    ModelFailure,
    NamedFile,
    PatchPreview,
    PatchReport,
    SpawnAgent,
    TellAgent,
    ToolOutcome,
    ToolPlan,
)
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
    EffectClosed,
    EffectDone,
    FilesSaved,
    ModelAsked,
    ModelCompleted,
    ModelFailed,
    ModelItemReceived,
    OpeningDecision,
    OpReceived,
    PlanAsked,
    RateLimitsReceived,
    RetryScheduled,
    ScanAsked,
    SessionFact,
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
from turnlog.protocol.files import FileImage, FileMark
from turnlog.protocol.ids import EffectId
from turnlog.protocol.items import FunctionCallOutput, JsonText, WebSearchCall, encode_item
from turnlog.protocol.ops import (
    AddToHistory,
    ApprovalAnswer,
    Archive,
    Compact,
    ExecApproval,
    ImageInput,
    Interrupt,
    LocalImageInput,
    Op,
    OverrideTurnContext,
    PatchApproval,
    Redo,
    Review,
    RunUserShellCommand,
    SetName,
    Shutdown,
    TextInput,
    Undo,
    UserInput,
    UserTurn,
)
from turnlog.protocol.settings import (
    AgentLimits,
    ApprovalPolicy,
    CompactionLimits,
    RetryLimits,
    SettingsUpdate,
    TurnSettings,
    UnansweredPolicy,
)
from turnlog.protocol.usage import RateLimits, RateLimitWindow, TokenUsage

T = TypeVar("T")
Deed = Callable[[], None]

FAILURES: Final = (
    ModelFailure("server_error", "503", "request"),
    ModelFailure("stream_disconnected", "stream closed", "stream"),
    ModelFailure("rate_limited", "slow down", "request", retry_after_ms=1500),
    ModelFailure("context_window_exceeded", "too long"),
)
POLICIES: Final[tuple[ApprovalPolicy, ...]] = (
    *("on-request", "untrusted", "untrusted"),
    *("on-failure", "never"),
)
UPDATES: Final = (
    SettingsUpdate(),
    SettingsUpdate(model="gpt-2"),
    SettingsUpdate(approval_policy="never"),
)
ODD_OPS: Final[tuple[Op, ...]] = (
    ExecApproval("nobody asked", "approved"),
    PatchApproval("nobody asked", "abort"),
    UserInput(()),
    AddToHistory("a line"),
    SetName("a name"),
    Archive(),
)
TASKS: Final[tuple[Op, ...]] = (
    Compact(),
    Compact(),
    Undo(),
    Undo(2),
    Undo(conversation=False),
    Redo(),
    Review("look at it"),
    RunUserShellCommand("secret"),
)
OUTCOMES: Final[tuple[ToolOutcome, ...]] = ("done", "failed", "cancelled", "crashed")
ENDS: Final[tuple[Literal["completed", "interrupted", "failed"], ...]] = (
    *("completed", "completed"),
    *("interrupted", "failed"),
)
ANSWERS: Final[tuple[ApprovalAnswer, ...]] = (
    *("approved", "approved", "approved_for_session"),
    *("denied", "denied", "abort"),
)


@attrs.define
class World:
    """Reads its dice from bytes; once they are used up, every throw is the tamest."""

    dice: bytes
    at: int = 1  # the first byte says how long this world lives
    play: Play = attrs.field(init=False)
    items: int = 0  # of the model's, so far
    model_does: Literal["anything", "lead", "ask"] = "anything"  # mostly

    def __attrs_post_init__(self) -> None:
        retry = RetryLimits(self.throw(3), self.throw(3))
        self.model_does = self.pick(("anything", "anything", "lead", "ask"))
        settings = structs.replace(
            SETTINGS,
            approval_policy=self.pick(POLICIES),
            agents=AgentLimits(self.throw(3) + (self.model_does == "lead"), 1),
            scan_workspace=self.throw(4) == 3,
        )
        limits = TurnSettings(
            settings,
            context_window=self.pick((None, 4000, 900)),
            unanswered=self.pick((UnansweredPolicy(), UnansweredPolicy("park", "wait"))),
            compaction=CompactionLimits(self.pick((None, 300, 60)), user_tokens=100),
        )
        self.play = Play(retry=retry, limits=limits)
        self.play.send(SessionStarted(SESSION, settings, "test", "0"))
        self.play.open()

    def throw(self, sides: int) -> int:
        """Return a number from 0 to `sides` - 1."""
        if self.at >= len(self.dice):
            return 0
        self.at += 1
        return self.dice[self.at - 1] % sides

    def pick(self, choices: Sequence[T]) -> T:
        return choices[self.throw(len(choices))]

    def live(self, facts: int) -> None:
        """Let that many things happen."""
        for _ in range(facts):
            self.pick(self.deeds())()

    def deeds(self) -> list[Deed]:
        """Return what can happen now; what happens often is listed often."""
        deeds: list[Deed] = []
        for effect in self.play.state.outstanding.values():
            deeds += self.about(effect)
        if self.play.state.turn is None:
            deeds += [self.prompt] * 6 + [self.task] * 2
        if self.play.state.undone is not None:
            deeds += [self.redo] * 2
        deeds += [self.prompt, self.steer, self.odd_op, self.late, self.repeat, self.crash]
        deeds += [self.task]
        if self.throw(4) == 3:
            deeds += [self.interrupt, self.fork, self.shut_down, self.override]
        return deeds

    # --- ops --------------------------------------------------------------------------------------

    def op(self, op: Op) -> None:
        self.pass_time()
        self.play.op(op)

    def prompt(self) -> None:
        update = self.pick(
            (
                SettingsUpdate(),
                SettingsUpdate(model="gpt-2"),
                SettingsUpdate(approval_policy="never"),
            )
        )
        self.op(UserTurn((TextInput(f"prompt {self.play.ops}"),), update))

    def steer(self) -> None:
        image = self.pick((None, None, ImageInput("data:,"), LocalImageInput("/a.png")))
        text = TextInput(f"word {self.play.ops}")
        self.op(UserInput((text,) if image is None else (text, image)))

    def odd_op(self) -> None:
        self.op(self.pick(ODD_OPS))

    def task(self) -> None:
        self.op(self.pick(TASKS))

    def redo(self) -> None:
        self.op(Redo(force=self.throw(2) == 1))

    def interrupt(self) -> None:
        self.op(Interrupt())

    def shut_down(self) -> None:
        self.op(Shutdown())
        if self.play.state.closed:
            self.play.open()

    def override(self) -> None:
        self.op(OverrideTurnContext(SettingsUpdate(approval_policy=self.pick(POLICIES))))

    def repeat(self) -> None:
        if self.play.ops:
            self.play.send(OpReceived(f"op-{1 + self.throw(self.play.ops)}", Interrupt()))

    # --- what ends an engine, and what comes too late ---------------------------------------------

    def crash(self) -> None:
        self.play.open(self.pick(("continue", "interrupt", "continue", "leave")))
        if self.play.state.maintenance:
            self.odd_op()
            self.play.open()

    def fork(self) -> None:
        self.play.fork()
        self.play.open()

    def late(self) -> None:
        gone = [effect for effect in self.play.effects if effect not in self.play.state.outstanding]
        if gone:
            self.play.send(self.pick(late_facts(self.pick(gone))))

    def pass_time(self) -> None:
        self.play.now_us += self.pick((10, 10_000, -5_000_000))

    # --- facts about effects ----------------------------------------------------------------------

    def about(self, effect: OpeningDecision) -> list[Deed]:
        """Return what can happen to an open effect."""
        turn = self.play.state.turn
        if turn is not None and turn.stopping is not None:
            return [self.closing(effect, "cancelled"), *self._natural(effect)]
        natural = self._natural(effect)
        return natural * 10 + [self.closing(effect, "crashed"), self.closing(effect, "failed")]

    def closing(
        self, effect: OpeningDecision, how: Literal["failed", "cancelled", "crashed"]
    ) -> Deed:
        return lambda: self._send(EffectClosed(effect.effect, how, "as it goes"))

    def _send(self, fact: SessionFact) -> None:
        self.pass_time()
        self.play.send(fact)

    def _natural(self, effect: OpeningDecision) -> list[Deed]:
        match effect:
            case ContextAsked():
                return [lambda: self._load(effect)]
            case ModelAsked(effect=name):
                return [
                    lambda: self._send(ModelCompleted(name, "resp", TokenUsage(10, 0, 0, 5))),
                    *[lambda: self._item(name)] * 4,
                    lambda: self._send(ModelFailed(name, self.pick(FAILURES))),
                    lambda: self._send(
                        RateLimitsReceived(name, RateLimits(RateLimitWindow(self.throw(100))))
                    ),
                ]
            case ToolDispatched(effect=name):
                tool = [lambda: self._tool(effect)] * 4
                is_sure = self._has_started(effect) or not effect.approved
                return tool if is_sure else [*tool, lambda: self._plan_again(name)]
            case PlanAsked(effect=name):
                return [lambda: self._plan_again(name)]
            case ApprovalAsked():
                return [lambda: self._answer(effect)] * 3 + [self.closing(effect, "failed")]
            case RetryScheduled(effect=name) | AgentsAwaited(effect=name):
                return [lambda: self._send(TimerFired(name))]
            case CompactionAsked(effect=name):
                return [lambda: self._summary(name)]
            case ChildAsked():
                return [lambda: self._child(effect)]
            case ChildTold(effect=name):
                return [lambda: self._send(EffectDone(name))]
            case ScanAsked(effect=name):
                return [lambda: self._send(WorkspaceScanned(name, 3, 1, "too large"))]
            case UndoAsked():
                return [self._restore]
            case UserShellAsked(effect=name):
                return [lambda: self._send(ToolFinished(name, "done", "", "secret"))]

    def _has_started(self, tool: ToolDispatched) -> bool:
        turn = self.play.state.turn
        return isinstance(turn, Turn) and turn.call(tool.call).status == "running"

    def _plan_again(self, effect: EffectId) -> None:
        file = NamedFile("/x.sh", FileMark("file", self.pick(("a", "b"))))
        self._send(CallPlanned(effect, structs.replace(self._plan(), files=(file,))))

    def _summary(self, effect: EffectId) -> None:
        for summary in self.pick((("so far, so good",), ("a long story " * 40,), ("",), ())):
            self._send(ModelItemReceived(effect, said(summary)))
        if self.throw(3) == 2:
            self._send(ModelFailed(effect, self.pick(FAILURES)))
        else:
            self._send(ModelCompleted(effect, "resp", TokenUsage(50, 0, 0, 5)))

    def _child(self, asked: ChildAsked) -> None:
        status = self.pick(ENDS)
        error = ErrorInfo("crashed", "oh") if status == "failed" else None
        output = f"result <{asked.effect}>" if status == "completed" else None
        self._send(ChildEnded(asked.effect, asked.child, status, 7, "00" * 16, output, None, error))

    def _restore(self) -> None:
        self.pass_time()
        self.play.restore()

    def _load(self, effect: ContextAsked) -> None:
        state = self.play.state
        assert state.settings is not None
        assert state.turn is not None
        fragments = tuple(
            ContextFragment(kind, "developer", f"{kind} {self.throw(2)}")
            for kind in ("permissions", "environment")
        )
        op = state.turn.op.op
        given = op.items if isinstance(op, UserInput | UserTurn) else ()
        self._send(loaded(effect.effect, self._settings(), given, fragments))

    def _settings(self) -> TurnSettings:
        """Return what a turn runs under: one of the models has a smaller window."""
        settings = self.play.turn_settings()
        if settings.session.model != "gpt-2" or settings.context_window is None:
            return settings
        return structs.replace(
            settings, context_window=400, compaction=CompactionLimits(150, user_tokens=40)
        )

    def _tool(self, effect: ToolDispatched) -> None:
        if not self._has_started(effect) and self.throw(3):
            self._send(FilesSaved(effect.effect, (FileImage("/work/a", "before"),)))
            self._send(ToolStarted(effect.effect))
            return
        report = PatchReport((), applied=True) if self.throw(4) == 3 else None
        output = self.pick(("ok", "x" * 5000))
        denial = "permission denied" if self.throw(4) == 3 else None
        outcome = self.pick(OUTCOMES)
        self._send(ToolFinished(effect.effect, outcome, "ran\n", output, None, report, denial))

    def _answer(self, effect: ApprovalAsked) -> None:
        question, answer = effect.question, self.pick(ANSWERS)
        exec_op, patch_op = ExecApproval(question, answer), PatchApproval(question, answer)
        self.op(patch_op if self.throw(2) else exec_op)

    def _item(self, effect: EffectId) -> None:
        if self.model_does != "anything" and self.throw(4) != 3:
            self._one_call(effect)
            return
        self.items += 1
        name = f"{effect}:{self.items}"  # tells which response an item is of
        call_id = f"call-{self.items}"
        item, plan = self.pick(
            (
                (said(f"word {self.items}", name), None),
                (thought(name), None),
                (function_call(call_id, item_id=name), self._plan()),
                (function_call(call_id, item_id=name), self._plan()),
                (custom_call(call_id, item_id=name), self._plan()),
                (function_call(call_id, "agent", item_id=name), self._agent_plan()),
                (function_call(call_id, "agent", item_id=name), self._agent_plan()),
                (self._odd_item(name, call_id), None),
            )
        )
        self._send(ModelItemReceived(effect, item, plan))

    def _one_call(self, effect: EffectId) -> None:
        """Send a call for an agent, or one that somebody is asked about."""
        self.items += 1
        asks = ToolPlan("exec_command", True, "outside", approval_key=self.pick(("ls", "rm")))
        plan = self._agent_plan() if self.model_does == "lead" else asks
        call = function_call(f"call-{self.items}", plan.tool, item_id=f"{effect}:{self.items}")
        self._send(ModelItemReceived(effect, call, plan))

    def _plan(self) -> ToolPlan:
        return ToolPlan(
            "exec_command",
            parallel=self.throw(3) != 2,
            wants="outside" if self.throw(3) == 2 else "inside",
            approval_key=self.pick(("", "ls", "ls", "rm")),
            preview=PatchPreview(()) if self.throw(3) == 2 else None,
            known_safe=self.throw(5) == 4,
            refusal="no such tool" if self.throw(8) == 7 else None,
        )

    def _agent_plan(self) -> ToolPlan:
        names = [*self.play.state.agents, "nobody"]
        requests: tuple[AgentRequest, ...] = (
            SpawnAgent("do this"),
            AwaitAgents((names[0],), 5000),
            SpawnAgent("do that", "helper", "gpt-2"),
            AwaitAgents(tuple(names[:-1][:2]) or ("nobody",), 1000),
            AwaitAgents((names[0],), 1000),
            TellAgent(self.pick(names), "hurry", self.throw(2) == 1),
            CloseAgent(self.pick(names)),
            ListAgents(),
        )
        return ToolPlan("agent", agent=self.pick(requests))

    def _odd_item(self, name: str, call_id: str) -> JsonText:
        """Return an item that is no work of ours, or none at all."""
        broken_call = {"type": "function_call", "call_id": call_id, "name": 7, "arguments": ""}
        return self.pick(
            (
                encode_item(WebSearchCall(name, "completed")),
                json.dumps({"type": "a_newer_kind", "id": name}),
                "no JSON at all",
                encode_item(FunctionCallOutput("never called", "made up")),
                json.dumps(broken_call),
                function_call(call_id, item_id=name),  # without a plan
                function_call(call_id, item_id=name).replace("{}", "\\ud800"),
            )
        )


def late_facts(effect: EffectId) -> list[SessionFact]:
    """Return a fact of each kind about `effect`."""
    return [
        EffectClosed(effect, "cancelled"),
        TimerFired(effect),
        ContextLoaded(effect, TurnSettings(SETTINGS), "[]", (), user("late")),
        ModelItemReceived(effect, function_call("late"), ToolPlan("exec_command")),
        ModelCompleted(effect, "late", TokenUsage(1, 1, 1, 1)),
        ModelFailed(effect, FAILURES[0]),
        ToolStarted(effect),
        ToolFinished(effect, "done", "late", "late"),
        ChildEnded(effect, SESSION, "completed", 1, "", "late"),
        EffectDone(effect),
        FilesSaved(effect, ()),
        WorkspaceScanned(effect, 0, 0),
        TurnsRestored(effect, (), {}, ()),
    ]
