"""Ports that play a recorded run: each gives the facts that the log has of an effect, in order.

They find an answer by its effect, since the session is the recorded one. They run ahead of the
log's order, which the mailbox restores (see `stage`). They wait for ever if the recorded effect was
not closed, or if it was cancelled.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from typing import Final, TypeVar

import attrs
import trio

from turnlog.actors.core.state import State
from turnlog.actors.ports import (
    ChildOrder,
    ChildResult,
    Clock,
    Completed,
    ContextRequest,
    EventLog,
    ItemDone,
    LimitsReported,
    ModelCallFailed,
    ModelRequest,
    ModelSignal,
    PlanOrder,
    Ports,
    RestoreRequest,
    RestoreResult,
    Save,
    ScanResult,
    TextDelta,
    ToolMonitor,
    ToolOrder,
    ToolResult,
)
from turnlog.protocol.calls import ToolPlan
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import RecordingMiss
from turnlog.protocol.events import (
    CallPlanned,
    ChildEnded,
    ChildTold,
    Closes,
    CompactionAsked,
    ContextLoaded,
    EffectClosed,
    EffectDone,
    Fact,
    FilesSaved,
    ModelAsked,
    ModelCompleted,
    ModelFailed,
    ModelItemReceived,
    OpeningDecision,
    RateLimitsReceived,
    ScanAsked,
    SessionFact,
    ToolFinished,
    ToolStarted,
    TurnsRestored,
    UndoAsked,
    WorkspaceScanned,
)
from turnlog.protocol.ids import EffectId, SessionId
from turnlog.protocol.items import JsonText, ToolCallItem
from turnlog.protocol.settings import SessionSettings, TurnSettings
from turnlog.replay.recorded_failure import raise_recorded

F = TypeVar("F", bound=Closes)
_plan: Final = ContextVar[ToolPlan | None]("_plan")  # of the item that this task is emitting


@attrs.define(eq=False)
class RecordedFacts:
    """The facts that the log has of each effect, in one run of a session."""

    state: Callable[[], State]  # of the session, now
    _facts: defaultdict[EffectId, list[SessionFact]] = attrs.field(
        factory=lambda: defaultdict[EffectId, list[SessionFact]](list)
    )
    _asked: set[EffectId] = attrs.field(factory=set[EffectId])

    def learn(self, records: Iterable[Recorded]) -> None:
        """Add the facts that say of which effect they are."""
        for record in records:
            effect = getattr(record.event, "effect", None)
            if isinstance(effect, str) and isinstance(record.event, Fact):
                self._facts[EffectId(effect)].append(record.event)

    def of(self, effect: EffectId) -> list[SessionFact]:
        """Return the facts of an effect, in order."""
        return self._facts[effect]

    async def answer(self, effect: EffectId, kind: type[F]) -> F:
        """Return the recorded fact of this kind that closed an effect.

        It does not return where the effect was not closed, or was cancelled: then it is stopped.

        Raises:
            Failed, RecordedCrash: the port failed or crashed then.
        """
        for fact in self.of(effect):
            await trio.lowlevel.checkpoint()
            if isinstance(fact, kind):
                return fact
            if isinstance(fact, EffectClosed):
                raise_recorded(fact)
        await trio.sleep_forever()

    def of_new(self, *kinds: type[OpeningDecision]) -> list[SessionFact]:
        """Return the facts of the effect that begins now: the oldest open one of these kinds.

        It is for ports that do not get to know their effect. Each effect is returned once.
        """
        for effect, what in self.state().outstanding.items():
            if effect not in self._asked and isinstance(what, kinds):
                self._asked.add(effect)
                return self.of(effect)
        return []


@attrs.define(eq=False)
class PlayedModel:
    """A `ModelClient` that answers as the log says."""

    facts: RecordedFacts

    async def call(
        self, request: ModelRequest, emit: Callable[[ModelSignal], Awaitable[None]]
    ) -> None:
        for fact in self.facts.of_new(ModelAsked, CompactionAsked):
            await trio.lowlevel.checkpoint()
            match fact:
                case ModelItemReceived(item_json=text, plan=plan):
                    _plan.set(plan)
                    await emit(ItemDone(text))
                case RateLimitsReceived(limits=limits):
                    await emit(LimitsReported(limits))
                case ModelCompleted(response_id=response, usage=usage):
                    await emit(Completed(response, usage))
                    return
                case ModelFailed(failure=failure, partial_text=text):
                    await emit(TextDelta(text))
                    if failure.code != "cancelled":
                        raise ModelCallFailed(failure)
                case EffectClosed():
                    raise_recorded(fact)
                case _:
                    pass
        await trio.sleep_forever()


@attrs.define(eq=False)
class PlayedTools:
    """`Tools` that give the recorded results and run nothing."""

    facts: RecordedFacts

    def specs(self, settings: SessionSettings) -> JsonText:
        return "[]"

    async def plan(self, call: ToolCallItem, settings: TurnSettings) -> ToolPlan:
        await trio.lowlevel.checkpoint()
        return _plan.get(None) or ToolPlan(call.name, refusal="no plan was recorded")

    async def plan_again(self, order: PlanOrder) -> ToolPlan:
        for fact in self.facts.of(order.effect):
            await trio.lowlevel.checkpoint()
            if isinstance(fact, CallPlanned):
                return fact.plan
        if order.plan is not None:
            return order.plan
        await trio.sleep_forever()

    async def run(self, order: ToolOrder, monitor: ToolMonitor) -> ToolResult:
        for fact in self.facts.of(monitor.effect):
            await trio.lowlevel.checkpoint()
            match fact:
                case ToolStarted():
                    await monitor.started()
                case FilesSaved(files=files):
                    await monitor.saved(files)
                case ToolFinished():
                    return ToolResult.of(fact)
                case EffectClosed():
                    raise_recorded(fact)
                case _:
                    pass
        await trio.sleep_forever()


@attrs.define(eq=False)
class PlayedContext:
    """A `ContextLoader` that gives the recorded context and reads no file."""

    facts: RecordedFacts

    async def load(self, request: ContextRequest) -> ContextLoaded:
        return await self.facts.answer(request.effect, ContextLoaded)


@attrs.define(eq=False)
class PlayedChildren:
    """`Children` that give the recorded ends and run nothing."""

    facts: RecordedFacts

    async def run(self, order: ChildOrder) -> ChildResult:
        await trio.lowlevel.checkpoint()
        if (result := self._result(order)) is not None:
            return result
        await trio.sleep_forever()

    async def stop(self, order: ChildOrder) -> ChildResult:
        await trio.lowlevel.checkpoint()
        if (result := self._result(order)) is not None:
            return result
        raise RecordingMiss(
            ErrorCode.NOTHING_RECORDED, f"the end of {order.asked.child} was not recorded"
        )

    def _result(self, order: ChildOrder) -> ChildResult | None:
        for fact in self.facts.of(order.asked.effect):
            match fact:
                case ChildEnded():
                    return ChildResult(
                        fact.status,
                        fact.sequence,
                        fact.digest,
                        fact.output,
                        fact.usage,
                        fact.error,
                    )
                case EffectClosed():
                    raise_recorded(fact)
                case _:
                    pass
        return None

    async def tell(self, told: ChildTold) -> None:
        await self.facts.answer(told.effect, EffectDone)


@attrs.define(eq=False)
class PlayedWorkspace:
    """A `Workspace` that gives the recorded results and touches no file."""

    facts: RecordedFacts

    async def scan(self, session: SessionId, cwd: str, save: Save) -> ScanResult:
        for fact in self.facts.of_new(ScanAsked):
            await trio.lowlevel.checkpoint()
            match fact:
                case FilesSaved(files=files):
                    await save(files)
                case WorkspaceScanned():
                    return ScanResult(fact.files, fact.left_out, fact.why)
                case EffectClosed():
                    raise_recorded(fact)
                case _:
                    pass
        await trio.sleep_forever()

    async def restore(self, request: RestoreRequest, save: Save) -> RestoreResult:
        for fact in self.facts.of_new(UndoAsked):
            await trio.lowlevel.checkpoint()
            match fact:
                case FilesSaved(files=files):
                    await save(files)
                case TurnsRestored():
                    return RestoreResult(fact.files, fact.left)
                case EffectClosed():
                    raise_recorded(fact)
                case _:
                    pass
        await trio.sleep_forever()


def played_ports(facts: RecordedFacts, log: EventLog, clock: Clock) -> Ports:
    """Return the ports of a session that is played."""
    return Ports(
        log,
        PlayedModel(facts),
        PlayedTools(facts),
        PlayedContext(facts),
        clock,
        PlayedChildren(facts),
        PlayedWorkspace(facts),
    )
