"""The runner of tasks: it prepares one for each open effect, starts it, stops it, and reaps it."""

from collections.abc import Callable
from functools import partial
from typing import assert_never

import attrs
import trio

from turnlog.actors.core.state import OpenTurn, State, Turn
from turnlog.actors.ports import ChildOrder, Ports
from turnlog.actors.ports.recorded import RecordedCrash
from turnlog.actors.queues.mailbox import Mailbox, Slot
from turnlog.actors.tasks.children import ChildTask, steer
from turnlog.actors.tasks.model_call import ModelCallTask
from turnlog.actors.tasks.orders import (
    context_request,
    model_request,
    plan_order,
    question_order,
    scan_order,
    summary_request,
    tool_order,
    undo_order,
    user_shell_order,
)
from turnlog.actors.tasks.question import QuestionTask
from turnlog.actors.tasks.task import AbsentTask, AnswerTask, Task, TimerTask
from turnlog.actors.tasks.tool_call import ToolCallTask, plan_again
from turnlog.actors.tasks.workspace import scan, undo
from turnlog.protocol.envelope import EncodedEvent, encode_fact
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import UsageError
from turnlog.protocol.events import (
    AgentsAwaited,
    ApprovalAsked,
    ChildAsked,
    ChildTold,
    ClosingFact,
    CompactionAsked,
    ContextAsked,
    EffectClosed,
    FilesSaved,
    ModelAsked,
    OpeningDecision,
    PlanAsked,
    RetryScheduled,
    ScanAsked,
    SessionFact,
    ToolDispatched,
    UndoAsked,
    UserShellAsked,
)
from turnlog.protocol.faults import environment_fault
from turnlog.protocol.ids import EffectId
from turnlog.protocol.notices import Notice


@attrs.define(eq=False)
class TaskRunner:
    """Runs the work of a session: one task and one cancel scope for each open effect."""

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

    def prepare(self, state: State, turn: OpenTurn, asked: OpeningDecision) -> Task:
        """Return the task for an effect that was just opened, with its order from the state."""
        ports, effect = self.ports, asked.effect
        if isinstance(asked, ContextAsked):
            context = context_request(state, turn, asked)
            return AnswerTask(effect, partial(ports.context.load, context))
        if not isinstance(turn, Turn):
            return AbsentTask(effect)  # a turn asks for nothing else before it has its context
        match asked:
            case ModelAsked(parts=parts):
                request = model_request(state, turn, parts)
                return ModelCallTask(effect, request, ports, self._tell, self.notify)
            case CompactionAsked():
                request = summary_request(state, turn, asked)
                return ModelCallTask(effect, request, ports, self._tell, self.notify, is_quiet=True)
            case ToolDispatched():
                return ToolCallTask(effect, tool_order(turn, asked), ports, self._tell, self.notify)
            case UserShellAsked():
                order = user_shell_order(turn, asked)
                return ToolCallTask(effect, order, ports, self._tell, self.notify)
            case PlanAsked():
                return AnswerTask(effect, partial(plan_again, ports.tools, plan_order(turn, asked)))
            case ApprovalAsked():
                return QuestionTask(effect, question_order(state, turn, asked), ports.remind)
            case RetryScheduled(delay_ms=delay_ms) | AgentsAwaited(delay_ms=delay_ms):
                return TimerTask(effect, delay_ms)
            case ChildAsked() if ports.children is not None:
                return ChildTask(effect, ChildOrder(state.session, asked), ports.children)
            case ChildTold() if ports.children is not None:
                return AnswerTask(effect, partial(steer, ports.children, asked))
            case ScanAsked() if ports.workspace is not None:
                folder = scan_order(state, turn, asked)
                return AnswerTask(effect, partial(scan, folder, ports.workspace, self._tell))
            case UndoAsked():
                back = undo_order(state, turn, asked)
                work = partial(undo, back, ports.log, ports.workspace, self._tell)
                return AnswerTask(effect, work)
            case ChildAsked() | ChildTold() | ScanAsked():
                return AbsentTask(effect)
            case _:
                assert_never(asked)

    def start(self, task: Task, *, stopped: bool) -> None:
        """Begin a task. One that begins when the turn has been stopped is closed as cancelled."""
        scope = trio.CancelScope()
        self._scopes[task.effect] = scope
        if stopped:
            scope.cancel()
        self.nursery.start_soon(self._supervise, task, scope)

    def stop(self) -> None:
        """Cancel all work. Each task's closing fact follows once its processes are gone."""
        for scope in self._scopes.values():
            scope.cancel()

    def stop_one(self, effect: EffectId) -> None:
        """Cancel the work on one effect, if there is any."""
        if (scope := self._scopes.get(effect)) is not None:
            scope.cancel()

    def keep_only(self, outstanding: set[EffectId]) -> None:
        """End the tasks of effects that have been closed by something else, such as an answer."""
        for effect in self._scopes.keys() - outstanding:
            self._forgotten.add(effect)
            self._scopes[effect].cancel()

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

    async def _supervise(self, task: Task, scope: trio.CancelScope) -> None:
        """Run a task. Whatever becomes of it, close its effect exactly once."""
        slot = self.mailbox.reserve()
        closing: ClosingFact | None = None
        try:
            with scope:
                if not task.begins_stopped:
                    await trio.lowlevel.checkpoint_if_cancelled()
                closing = await task.run()
        except Exception as error:  # a crash ends its turn, never the session
            closing = _crashed(task.effect, error)
        finally:
            self._close(task.effect, slot, closing or task.cancelled())

    def _close(self, effect: EffectId, slot: Slot, closing: ClosingFact) -> None:
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
        return EffectClosed(effect, "crashed", _as_text(fault), str(ErrorCode.ENVIRONMENT_FAULT))
    why = f"{type(error).__name__}: {error}"
    return EffectClosed(effect, "crashed", _as_text(why))


def _as_text(why: str) -> str:
    """Return `why` without what cannot be stored, such as a part of a file name."""
    return why.encode(errors="replace").decode()


def _encoded(effect: EffectId, closing: ClosingFact) -> EncodedEvent:
    """Return a closing fact as bytes. One that cannot be stored is a crash of its maker."""
    try:
        return encode_fact(closing)
    except UsageError as error:
        return encode_fact(_crashed(effect, error))
