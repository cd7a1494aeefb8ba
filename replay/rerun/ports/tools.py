"""Tools that give back what was recorded, and run nothing."""

from collections import defaultdict, deque
from typing import NoReturn

import attrs
import trio

from turnlog.actors.ports import (
    ModelCallFailed,
    PlanOrder,
    ToolMonitor,
    ToolOrder,
    ToolResult,
)
from turnlog.actors.ports.recorded import RecordedCrash
from turnlog.protocol.calls import ModelFailure, ToolPlan
from turnlog.protocol.events import EffectClosed, FilesSaved
from turnlog.protocol.items import FunctionCall, JsonText, ToolCallItem
from turnlog.protocol.settings import SessionSettings, TurnSettings
from turnlog.replay.rerun.ports.playback import Playback
from turnlog.replay.rerun.recording import USER_SHELL, Recording, ToolRun, call_key
from turnlog.replay.rerun.request_matching import UnrecordedRequest, nearest_call
from turnlog.replay.rerun.tolerances import Tolerances

_Key = tuple[str, str]


@attrs.define(eq=False)
class RecordedTools:
    """The `Tools` of a recording. A call is found by its id, or by its name and arguments.

    Runs of equal calls are given out in their order, each once. A call that the recording does
    not hold fails, and is noted.

    Args:
        tolerances: what may differ in the arguments.
    """

    recording: Recording
    tolerances: Tolerances
    playback: Playback
    _runs: dict[_Key, list[ToolRun]] = attrs.field(init=False)
    _plans: dict[_Key, deque[tuple[str, ToolPlan]]] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._runs, self._plans = defaultdict(list), defaultdict(deque)
        for run in self.recording.runs:
            self._runs[self._key(run.item)].append(run)
        for item, plan in self.recording.plans:
            self._plans[self._key(item)].append((item.call_id, plan))

    def specs(self, settings: SessionSettings) -> JsonText:
        """Return the tools that the first recorded request shows."""
        return next((exchange.tools_json for exchange in self.recording.exchanges), "[]")

    async def plan(self, call: ToolCallItem, settings: TurnSettings) -> ToolPlan:
        """Return the recorded plan of this call, or of an equal one.

        Raises:
            ModelCallFailed: the recording has none; the turn fails with it.
        """
        known = self._plans.get(self._key(call))
        if not known:
            error = self._unrecorded(call)
            raise ModelCallFailed(ModelFailure("bad_request", str(error))) from error
        same = next((pair for pair in known if pair[0] == call.call_id), known[0])
        if len(known) > 1:
            known.remove(same)
        return self.playback.child_ids.value_in_branch(same[1], ToolPlan)

    async def plan_again(self, order: PlanOrder) -> ToolPlan:
        """Return the recorded plan that replaced the call's first one."""
        plans = self.recording.replans.get(order.call.call_id)
        if plans:
            return self.playback.child_ids.value_in_branch(plans.popleft(), ToolPlan)
        return order.plan or await self.plan(order.call, order.settings)

    async def run(self, order: ToolOrder, monitor: ToolMonitor) -> ToolResult:
        """Give back what the call gave then.

        Raises:
            UnrecordedRequest: the recording holds no such run, or no more of them.
        """
        run = self._take(_recorded_call(order))
        recorded = self.playback.order
        recorded.begun(run.asked_at)
        # Recorded facts come again also if the turn is stopped meanwhile, as it was then.
        with trio.CancelScope(shield=True):
            saves = list(run.saved)
            while saves and (run.started_at is None or saves[0][0] < run.started_at):
                await self._save(monitor, *saves.pop(0))
            if run.started_at is not None:
                await recorded.before(run.started_at)
                await monitor.started()
            for saved in saves:
                await self._save(monitor, *saved)
            if not run.was_stopped:
                await recorded.before(run.ended_at)
        result = run.result
        if run.was_stopped:
            if result is not None:
                monitor.stopped(result)
            await recorded.until_stopped(run.ended_at)
        if result is None:
            _crash(run)
        return result

    def _key(self, call: ToolCallItem) -> _Key:
        name, arguments = call_key(call)
        return name, self.tolerances.text(self.playback.child_ids.in_recording(arguments))

    def _take(self, call: ToolCallItem) -> ToolRun:
        left = self._runs.get(self._key(call))
        if not left:
            raise self._unrecorded(call)
        same = next((run for run in left if run.item.call_id == call.call_id), left[0])
        left.remove(same)
        return same

    def _unrecorded(self, call: ToolCallItem) -> UnrecordedRequest:
        ran: list[tuple[int | None, ToolCallItem]] = [
            (run.asked_at, run.item) for run in self.recording.runs
        ]
        calls = ran or [(None, item) for item, _ in self.recording.plans]
        return self.playback.unrecorded(nearest_call(calls, call))

    async def _save(self, monitor: ToolMonitor, at: int, saved: FilesSaved) -> None:
        await self.playback.order.before(at)
        await monitor.saved(saved.files)


def _recorded_call(order: ToolOrder) -> ToolCallItem:
    """Return the call that is run, with the user's own commands named as the recording does."""
    if order.call.call_id != order.dispatched.effect:  # the model has named it
        return order.call
    arguments = order.call.arguments if isinstance(order.call, FunctionCall) else ""
    return FunctionCall(order.call.call_id, USER_SHELL, arguments)


def _crash(run: ToolRun) -> NoReturn:
    """Raise the recorded crash, so that the model gets the same text."""
    if isinstance(run.ending, EffectClosed):
        raise RecordedCrash(run.ending.message, run.ending.code)
    raise RecordedCrash("outcome unknown")
