"""The trio shell of a turn: owns the tasks of its work, stops them, and reaps them."""

from collections.abc import Callable
from typing import Protocol, assert_never

import attrs
import trio

from turnlog.actors.ports import Ports
from turnlog.actors.ports.recorded import RecordedCrash
from turnlog.actors.queues.mailbox import Mailbox, Slot
from turnlog.actors.tasks.children import ChildActor, TellActor
from turnlog.actors.tasks.jobs import (
    ChildJob,
    ContextJob,
    Job,
    ModelJob,
    PlanJob,
    QuestionJob,
    ScanJob,
    TellJob,
    TimerJob,
    ToolJob,
    UndoJob,
)
from turnlog.actors.tasks.model_call import ModelCallActor
from turnlog.actors.tasks.question import ApprovalActor
from turnlog.actors.tasks.tool_call import ToolCallActor
from turnlog.actors.tasks.workspace import ScanActor, UndoActor
from turnlog.protocol.envelope import EncodedEvent, encode_fact
from turnlog.protocol.errors import EventInvalid, TurnlogError
from turnlog.protocol.events import (
    CallPlanned,
    EffectClosed,
    FilesSaved,
    SessionFact,
    TimerFired,
)
from turnlog.protocol.faults import ENVIRONMENT_FAULT, environment_fault
from turnlog.protocol.ids import EffectId
from turnlog.protocol.notices import Notice


class Child(Protocol):
    """What runs an effect. Exactly one of its two facts closes it."""

    @property
    def begins_stopped(self) -> bool:
        """Whether it has something to do even if it is stopped before it begins."""
        ...

    async def run(self) -> SessionFact:
        """Do the work; return the closing fact."""
        ...

    def cancelled(self) -> SessionFact:
        """Return the closing fact of work that was stopped."""
        ...


@attrs.define(eq=False)
class AbsentActor:
    """Stands where this engine has nothing that could do the work."""

    effect: EffectId
    begins_stopped: bool = False

    async def run(self) -> SessionFact:
        await trio.lowlevel.checkpoint()
        return EffectClosed(
            self.effect, "failed", "this engine is not made for that", "not_supported"
        )

    def cancelled(self) -> SessionFact:
        return EffectClosed(self.effect, "cancelled")


@attrs.define(eq=False)
class TimerActor:
    job: TimerJob
    begins_stopped: bool = False

    async def run(self) -> SessionFact:
        await trio.sleep(self.job.delay_ms / 1000)
        return TimerFired(self.job.effect)

    def cancelled(self) -> SessionFact:
        return EffectClosed(self.job.effect, "cancelled")


@attrs.define(eq=False)
class ContextActor:
    job: ContextJob
    ports: Ports
    begins_stopped: bool = False

    async def run(self) -> SessionFact:
        try:
            return await self.ports.context.load(self.job.request)
        except TurnlogError as error:
            return EffectClosed(self.job.effect, "failed", str(error), error.code)

    def cancelled(self) -> SessionFact:
        return EffectClosed(self.job.effect, "cancelled")


@attrs.define(eq=False)
class PlanActor:
    job: PlanJob
    ports: Ports
    begins_stopped: bool = False

    async def run(self) -> SessionFact:
        return CallPlanned(self.job.effect, await self.ports.tools.plan_again(self.job.order))

    def cancelled(self) -> SessionFact:
        return EffectClosed(self.job.effect, "cancelled")


@attrs.define(eq=False)
class TurnActor:
    """The work of the turn in hand: one task and one cancel scope for each open effect."""

    ports: Ports
    mailbox: Mailbox
    nursery: trio.Nursery
    notify: Callable[[Notice], None]
    _scopes: dict[EffectId, trio.CancelScope] = attrs.field(
        factory=dict[EffectId, trio.CancelScope], init=False
    )
    _forgotten: set[EffectId] = attrs.field(factory=set[EffectId], init=False)
    _saving: dict[EffectId, trio.Event] = attrs.field(
        factory=dict[EffectId, trio.Event], init=False
    )

    def start(self, job: Job, *, stopped: bool) -> None:
        """Begin a job. One that begins when the turn has been stopped is closed as cancelled."""
        scope = trio.CancelScope()
        self._scopes[job.effect] = scope
        if stopped:
            scope.cancel()
        self.nursery.start_soon(self._supervise, job.effect, self._child(job), scope)

    def stop(self) -> None:
        """Cancel all work. Each job's closing fact follows once its processes are gone."""
        for scope in self._scopes.values():
            scope.cancel()

    def stop_one(self, effect: EffectId) -> None:
        """Cancel the work on one effect, if it is going on."""
        if (scope := self._scopes.get(effect)) is not None:
            scope.cancel()

    def keep_only(self, outstanding: set[EffectId]) -> None:
        """End the tasks of effects that have been closed by something else, such as an answer."""
        for effect in self._scopes.keys() - outstanding:
            self._forgotten.add(effect)
            self._scopes[effect].cancel()

    def _child(self, job: Job) -> Child:
        ports = self.ports
        match job:
            case ModelJob():
                return ModelCallActor(job, ports, self._tell, self.notify)
            case ToolJob():
                return ToolCallActor(job, ports, self._tell, self.notify)
            case PlanJob():
                return PlanActor(job, ports)
            case ContextJob():
                return ContextActor(job, ports)
            case QuestionJob():
                return ApprovalActor(job, ports.remind)
            case TimerJob():
                return TimerActor(job)
            case ChildJob() if ports.children is not None:
                return ChildActor(job, ports.children)
            case TellJob() if ports.children is not None:
                return TellActor(job, ports.children)
            case ScanJob() if ports.workspace is not None:
                return ScanActor(job, ports.workspace, self._tell)
            case UndoJob():
                return UndoActor(job, ports.log, ports.workspace, self._tell)
            case ChildJob() | TellJob() | ScanJob():
                return AbsentActor(job.effect)
            case _:
                assert_never(job)

    def stored(self, effect: EffectId) -> None:
        """Note that what files were before this effect changes them is safe."""
        if (stored := self._saving.get(effect)) is not None:
            stored.set()

    async def _tell(self, fact: SessionFact) -> None:
        if not isinstance(fact, FilesSaved):
            await self.mailbox.send(encode_fact(fact))
            return
        stored = self._saving[fact.effect] = trio.Event()
        try:
            await self.mailbox.send(encode_fact(fact))
            await stored.wait()
        finally:
            del self._saving[fact.effect]

    async def _supervise(self, effect: EffectId, child: Child, scope: trio.CancelScope) -> None:
        """Run a child; whatever becomes of it, close its effect exactly once."""
        slot = self.mailbox.reserve()
        closing: SessionFact | None = None
        try:
            with scope:
                if not child.begins_stopped:
                    await trio.lowlevel.checkpoint_if_cancelled()
                closing = await child.run()
        except Exception as error:  # a crash ends its turn, never the session
            closing = _crashed(effect, error)
        finally:
            self._close(effect, slot, closing or child.cancelled())

    def _close(self, effect: EffectId, slot: Slot, closing: SessionFact) -> None:
        del self._scopes[effect]
        if effect in self._forgotten:
            self._forgotten.discard(effect)
            slot.give_back()
        else:
            slot.send(_encoded(effect, closing))


def _crashed(effect: EffectId, error: Exception) -> EffectClosed:
    if isinstance(error, RecordedCrash):
        return EffectClosed(effect, "crashed", error.message, error.code)
    if (fault := environment_fault(error)) is not None:
        return EffectClosed(effect, "crashed", _as_text(fault), ENVIRONMENT_FAULT)
    why = f"{type(error).__name__}: {error}"
    return EffectClosed(effect, "crashed", _as_text(why))


def _as_text(why: str) -> str:
    """Return `why` without what cannot be stored, such as a part of a file name."""
    return why.encode(errors="replace").decode()


def _encoded(effect: EffectId, closing: SessionFact) -> EncodedEvent:
    """Return a closing fact as bytes. One that cannot be stored is a crash of its maker."""
    try:
        return encode_fact(closing)
    except EventInvalid as error:
        return encode_fact(_crashed(effect, error))
