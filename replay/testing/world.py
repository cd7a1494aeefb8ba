"""What can happen to a session at core level, and what follows from it. See `machine`, `drawn`.

A world holds tools and plays users, models and machines to one `CoreSession`. It sends no fact
that a real engine could not: a tool runs once it is dispatched, a result comes after its start.
"""

import json
from collections.abc import Sequence
from typing import Any, Final, Literal, TypeVar

import attrs
import msgspec

from turnlog.actors.core.rebuild import rebuild
from turnlog.actors.core.state import OpenTurn, Turn
from turnlog.actors.core.undo import parts_then
from turnlog.actors.ports import ToolOrder
from turnlog.protocol.calls import ModelFailure
from turnlog.protocol.events import (
    AgentsAwaited,
    ChildAsked,
    ChildEnded,
    ChildTold,
    CompactionAsked,
    ContextAsked,
    ContextLoaded,
    EffectClosed,
    EffectDone,
    ModelAsked,
    ModelCompleted,
    ModelFailed,
    ModelItemReceived,
    OpeningDecision,
    Opens,
    RestoredPart,
    RetryScheduled,
    ScanAsked,
    SessionFact,
    TimerFired,
    ToolDispatched,
    ToolFinished,
    ToolStarted,
    TurnsRestored,
    UndoAsked,
    UserShellAsked,
    WorkspaceScanned,
)
from turnlog.protocol.ids import EffectId
from turnlog.protocol.items import (
    ContentPart,
    CustomToolCall,
    FunctionCall,
    Message,
    encode_item,
    read_item,
    text_message,
)
from turnlog.protocol.ops import (
    ApprovalAnswer,
    ExecApproval,
    Interrupt,
    Op,
    Shutdown,
    TextInput,
    UserInput,
    UserTurn,
)
from turnlog.protocol.settings import OnRecovery, RetryLimits, TurnSettings
from turnlog.protocol.usage import TokenUsage
from turnlog.replay.testing.driver import CoreSession
from turnlog.replay.testing.running import Ran, plan_call, run_call
from turnlog.runtime.scripted_model.script import Item
from turnlog.runtime.tools.registry import ToolRegistry
from turnlog.runtime.tools.tool import Tool

E = TypeVar("E", bound=Opens)
MOST_SETTLING: Final = 500  # steps until a session is idle; far above what any has open


@attrs.define(eq=False)
class World:
    """A session and what surrounds it."""

    tools: Sequence[Tool] = ()
    session: CoreSession = attrs.field(factory=CoreSession.started)
    retry: RetryLimits = attrs.field(factory=lambda: RetryLimits(1, 1))
    held: dict[EffectId, SessionFact] = attrs.field(factory=dict[EffectId, SessionFact])
    _items: int = 0

    # --- what is open -----------------------------------------------------------------------------

    def open(self, kind: type[E]) -> list[E]:
        """Return the open effects of a kind, oldest first."""
        return self.session.state.open(kind)

    @property
    def turn(self) -> OpenTurn | None:
        return self.session.state.turn

    @property
    def working(self) -> Turn:
        """The turn that runs, which has its context."""
        turn = self.session.state.turn
        assert isinstance(turn, Turn)
        return turn

    @property
    def is_stopping(self) -> bool:
        """Whether the turn's work is being cancelled."""
        return self.turn is not None and self.turn.stopping is not None

    def runnable(self) -> list[ToolDispatched]:
        """Return the calls that were dispatched and whose tools have not run yet."""
        if self.is_stopping:
            return []
        return [
            one
            for one in self.open(ToolDispatched)
            if not self.has_started(one) and one.effect not in self.held
        ]

    def has_started(self, tool: ToolDispatched) -> bool:
        """Say whether a dispatched call's tool has said that it touches the world."""
        return self.working.call(tool.call).status == "running"

    def reporting(self) -> list[ToolDispatched]:
        """Return the calls whose tools have run, and whose results are on their way."""
        return [one for one in self.open(ToolDispatched) if one.effect in self.held]

    # --- users and machines -----------------------------------------------------------------------

    def op(self, op: Op) -> None:
        self.session.op(op)

    def crash(self, on_recovery: OnRecovery = "continue") -> None:
        """Kill the engine, and open the session with the next one. Results on their way are lost.

        The tools, and what they did to the world, stay.
        """
        self.held.clear()
        self.session.open(on_recovery)

    def load(self) -> None:
        """Load what the turn starts with."""
        state, effect = self.session.state, self.open(ContextAsked)[0]
        assert state.settings is not None
        assert state.turn is not None
        op = state.turn.op.op
        given = op.items if isinstance(op, UserInput | UserTurn) else ()
        texts = [item.text if isinstance(item, TextInput) else "[image]" for item in given]
        tools_json = ToolRegistry(self.tools).specs(state.settings)
        settings = TurnSettings(state.settings, self.retry)
        self.session.send(
            ContextLoaded(effect.effect, settings, tools_json, (), text_message("user", *texts))
        )

    def answer(self, question: str, decision: ApprovalAnswer) -> None:
        """Answer a question, be it open or not."""
        self.op(ExecApproval(question, decision))

    def fire(self) -> None:
        self.session.send(TimerFired(self.open(RetryScheduled)[0].effect))

    # --- the model --------------------------------------------------------------------------------

    def say(self, item: Item) -> None:
        """Let the model send an item. Ids that it lacks are numbered.

        One that cannot be read fails the attempt, as it does in the real client.
        """
        self._items += 1
        effect = self.open(ModelAsked)[0].effect
        text = _item_text(item, self._items)
        try:
            read = read_item(text)
        except msgspec.MsgspecError as error:
            failure = ModelFailure("invalid_response", str(error), "stream")
            self.session.send(ModelFailed(effect, failure))
            return
        plan = None
        if isinstance(read, FunctionCall | CustomToolCall):
            plan = plan_call(self.tools, read, self.working.settings)
        self.session.send(ModelItemReceived(effect, text, plan))

    def complete(self, usage: TokenUsage | None = None) -> None:
        effect = self.open(ModelAsked)[0].effect
        self.session.send(ModelCompleted(effect, f"resp-{self._items}", usage))

    def fail(self, failure: ModelFailure) -> None:
        self.session.send(ModelFailed(self.open(ModelAsked)[0].effect, failure))

    # --- what is no talk with the model -----------------------------------------------------------

    def go_on(self, effect: OpeningDecision, text: str) -> bool:
        """Let what a task of another kind waits for come to a good end; False: it is none of them.

        Args:
            text: what a summary, a child or a command says.
        """
        name = effect.effect
        match effect:
            case CompactionAsked():
                item = encode_item(Message("assistant", [ContentPart("output_text", text=text)]))
                self.session.send(ModelItemReceived(name, item))
                self.session.send(ModelCompleted(name, f"resp-{self._items}"))
            case ChildAsked(child=child):
                digest = "00" * 16
                self.session.send(ChildEnded(name, child, "completed", 9, digest, text))
            case ChildTold():
                self.session.send(EffectDone(name))
            case AgentsAwaited():
                self.session.send(TimerFired(name))
            case ScanAsked():
                self.session.send(WorkspaceScanned(name, 0, 0))
            case UserShellAsked():
                self.session.send(ToolStarted(name))
                self.session.send(ToolFinished(name, "done", "", text))
            case UndoAsked():
                self.session.send(TurnsRestored(name, (), {}, self._parts_before(name)))
            case _:
                return False
        return True

    def _parts_before(self, effect: EffectId) -> tuple[RestoredPart, ...] | None:
        """Return the conversation of before an undo's turns, where it must be read back."""
        events = (record.event for record in reversed(self.session.records))
        asked = next(e for e in events if isinstance(e, UndoAsked) and e.effect == effect)
        if not asked.conversation or asked.parts is not None:
            return None
        return parts_then(rebuild(self.session.records[: asked.since]))

    # --- tools ------------------------------------------------------------------------------------

    def run(self, tool: ToolDispatched, *, stop_after: int | None = None) -> Ran:
        """Run a dispatched call's tool, whose start is recorded. Its result is held back."""
        order = self.order(tool)
        ran = run_call(self.tools, order, tool.effect, stop_after=stop_after)
        if ran.started:
            self.session.send(ToolStarted(tool.effect))
        self.held[tool.effect] = ran.closing
        return ran

    def report(self, tool: ToolDispatched) -> None:
        """Let the result of a tool that has run arrive."""
        self.session.send(self.held.pop(tool.effect))

    def interrupt_tool(self, tool: ToolDispatched, stop_after: int) -> None:
        """Interrupt the turn while a tool runs; it is cancelled at that checkpoint."""
        ran = run_call(self.tools, self.order(tool), tool.effect, stop_after=stop_after)
        if ran.started:
            self.session.send(ToolStarted(tool.effect))
        self.op(Interrupt())
        self.session.send(ran.closing)

    def order(self, tool: ToolDispatched) -> ToolOrder:
        """Return what the tool of a dispatched call is given."""
        turn = self.working
        return ToolOrder(turn.dispatched(tool.call), turn.call(tool.call).plan, tool, turn.settings)

    # --- ends -------------------------------------------------------------------------------------

    def close(
        self, effect: OpeningDecision, how: Literal["failed", "cancelled", "crashed"], why: str = ""
    ) -> None:
        """Let an effect end without a result: its task died, or was cancelled."""
        self.held.pop(effect.effect, None)
        self.session.send(EffectClosed(effect.effect, how, why))

    def restart(self) -> None:
        """Close the session in good order, and open it again."""
        self.op(Shutdown())
        self._end_turns()
        self.session.open()

    def settle(self) -> None:
        """Interrupt what runs and cancel what is open, until nothing is.

        Raises:
            PromiseBroken: the session does not become idle.
        """
        self._end_turns()
        self.session.at_rest()

    def _end_turns(self) -> None:
        for _ in range(MOST_SETTLING):
            state = self.session.state
            if state.turn is not None and state.turn.stopping is None:
                self.op(Interrupt())
            elif state.outstanding:
                effect = next(iter(state.outstanding.values()))
                self.close(effect, "cancelled")
            else:
                return


def questions(session: CoreSession) -> list[str]:
    """Return every question that was ever put."""
    found = [getattr(record.event, "question", None) for record in session.records]
    return list(dict.fromkeys(question for question in found if question))


def _item_text(item: Item, number: int) -> str:
    numbered: dict[str, Any] = dict(item)
    if item["type"] in {"function_call", "custom_tool_call"}:
        numbered.setdefault("call_id", f"call-{number}")
    return json.dumps(numbered)
