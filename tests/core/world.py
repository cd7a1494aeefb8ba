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
from turnlog.actors.core.effects import (
    AskQuestion,
    CallModel,
    Effect,
    LoadContext,
    RunTool,
    Wait,
)
from turnlog.protocol.calls import ContextFragment, ModelFailure, ToolOutcome, ToolPlan
from turnlog.protocol.events import (
    ContextLoaded,
    EffectClosed,
    ModelCompleted,
    ModelFailed,
    ModelItemReceived,
    OpReceived,
    RateLimitsReceived,
    SessionFact,
    SessionStarted,
    TimerFired,
    ToolFinished,
    ToolStarted,
)
from turnlog.protocol.ids import EffectId
from turnlog.protocol.items import FunctionCallOutput, JsonText, WebSearchCall, encode_item
from turnlog.protocol.ops import (
    ApprovalAnswer,
    Compact,
    ExecApproval,
    ImageInput,
    Interrupt,
    LocalImageInput,
    Op,
    OverrideTurnContext,
    PatchApproval,
    Shutdown,
    TextInput,
    UserInput,
    UserTurn,
)
from turnlog.protocol.settings import ApprovalPolicy, RetryLimits, SettingsUpdate, TurnSettings
from turnlog.protocol.usage import RateLimits, RateLimitWindow, TokenUsage

T = TypeVar("T")
Deed = Callable[[], None]

FAILURES: Final = (
    ModelFailure("server_error", "503", "request"),
    ModelFailure("stream_disconnected", "stream closed", "stream"),
    ModelFailure("rate_limited", "slow down", "request", retry_after_ms=1500),
    ModelFailure("context_window_exceeded", "too long"),
)
POLICIES: Final[tuple[ApprovalPolicy, ...]] = ("on-request", "untrusted", "on-failure", "never")
UPDATES: Final = (
    SettingsUpdate(),
    SettingsUpdate(model="gpt-2"),
    SettingsUpdate(approval_policy="never"),
)
ODD_OPS: Final[tuple[Op, ...]] = (
    ExecApproval("nobody asked", "approved"),
    PatchApproval("nobody asked", "abort"),
    UserInput(()),
    Compact(),
)
OUTCOMES: Final[tuple[ToolOutcome, ...]] = ("done", "failed", "cancelled", "crashed")
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

    def __attrs_post_init__(self) -> None:
        retry = RetryLimits(self.throw(3), self.throw(3))
        settings = structs.replace(SETTINGS, approval_policy=self.pick(POLICIES))
        self.play = Play(retry=retry)
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
        """Return what can happen now; what happens often stands there often."""
        deeds: list[Deed] = []
        for effect in self.play.state.outstanding.values():
            deeds += self.about(effect) * 2
        if self.play.state.turn is None:
            deeds += [self.prompt] * 6
        deeds += [self.prompt, self.steer, self.odd_op, self.late, self.repeat, self.crash]
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
        self.play.open(self.pick(("continue", "interrupt")))

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

    def about(self, effect: Effect) -> list[Deed]:
        """Return what can happen to an open effect."""
        turn = self.play.state.turn
        if turn is not None and turn.stopping is not None:
            return [self.closing(effect, "cancelled"), *self._natural(effect)]
        natural = self._natural(effect)
        return natural * 5 + [self.closing(effect, "crashed"), self.closing(effect, "failed")]

    def closing(self, effect: Effect, how: Literal["failed", "cancelled", "crashed"]) -> Deed:
        return lambda: self._send(EffectClosed(effect.effect, how, "as it goes"))

    def _send(self, fact: SessionFact) -> None:
        self.pass_time()
        self.play.send(fact)

    def _natural(self, effect: Effect) -> list[Deed]:
        match effect:
            case LoadContext():
                return [lambda: self._load(effect)]
            case CallModel(effect=name):
                return [
                    lambda: self._send(ModelCompleted(name, "resp", TokenUsage(10, 0, 0, 5))),
                    *[lambda: self._item(name)] * 4,
                    lambda: self._send(ModelFailed(name, self.pick(FAILURES))),
                    lambda: self._send(
                        RateLimitsReceived(name, RateLimits(RateLimitWindow(self.throw(100))))
                    ),
                ]
            case RunTool():
                return [lambda: self._tool(effect)]
            case AskQuestion():
                return [lambda: self._answer(effect)]
            case Wait(effect=name):
                return [lambda: self._send(TimerFired(name))]

    def _load(self, effect: LoadContext) -> None:
        state = self.play.state
        assert state.settings is not None
        assert state.turn is not None
        fragments = tuple(
            ContextFragment(kind, "developer", f"{kind} {self.throw(2)}")
            for kind in ("permissions", "environment")
        )
        op = state.turn.op.op
        given = op.items if isinstance(op, UserInput | UserTurn) else ()
        settings = TurnSettings(state.settings, self.play.retry)
        self._send(loaded(effect.effect, settings, given, fragments))

    def _tool(self, effect: RunTool) -> None:
        if not effect.started and self.throw(3):
            self._send(ToolStarted(effect.effect))
        else:
            outcome = self.pick(OUTCOMES)
            self._send(ToolFinished(effect.effect, outcome, "ran\n", self.pick(("ok", "x" * 5000))))

    def _answer(self, effect: AskQuestion) -> None:
        question, answer = effect.question, self.pick(ANSWERS)
        exec_op, patch_op = ExecApproval(question, answer), PatchApproval(question, answer)
        self.op(patch_op if self.throw(2) else exec_op)

    def _item(self, effect: EffectId) -> None:
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
                (self._odd_item(name, call_id), None),
            )
        )
        self._send(ModelItemReceived(effect, item, plan))

    def _plan(self) -> ToolPlan:
        return ToolPlan(
            "exec_command",
            parallel=self.throw(3) != 2,
            wants="outside" if self.throw(4) == 3 else "inside",
            approval_key=self.pick(("", "ls", "rm")),
            refusal="no such tool" if self.throw(8) == 7 else None,
        )

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
    ]
