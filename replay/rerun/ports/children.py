"""Children that end as they were recorded, and run nothing."""

from collections import defaultdict, deque

import attrs
import trio

from turnlog.actors.ports import ChildOrder, ChildResult
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import RecordingMiss
from turnlog.protocol.events import ChildAsked, ChildEnded, ChildTold, EffectClosed, EffectDone
from turnlog.replay.recorded_failure import recorded_failure
from turnlog.replay.rerun.ports.answers import RecordedAnswers
from turnlog.replay.rerun.ports.playback import Playback
from turnlog.replay.rerun.recording import ChildRun, Recording
from turnlog.replay.rerun.request_matching import Mismatch, UnrecordedRequest

_Key = tuple[str, str, int, str]


@attrs.define(eq=False)
class RecordedChildren:
    """The `Children` of a recording. A prompt is found by its child's kind and name, and itself.

    Args:
        playback: learns which child of the branch stands for which of the recording.
    """

    recording: Recording
    playback: Playback
    _runs: dict[_Key, deque[ChildRun]] = attrs.field(init=False)
    _steers: RecordedAnswers[ChildTold] = attrs.field(init=False)
    _running: dict[str, ChildRun] = attrs.field(factory=dict[str, ChildRun], init=False)

    def __attrs_post_init__(self) -> None:
        self._runs = defaultdict(deque)
        for run in self.recording.children:
            self._runs[_key(run.asked)].append(run)
        self._steers = RecordedAnswers(self.recording, self.playback, ChildTold, _told_text)

    async def run(self, order: ChildOrder) -> ChildResult:
        """Return how the recorded child's run ended.

        Raises:
            UnrecordedRequest: the recording holds no such prompt, or no more of them.
            Failed: the child could not be reached then.
        """
        asked = self.playback.child_ids.value_in_recording(order.asked, ChildAsked)
        left = self._runs.get(_key(asked))
        if not left:
            raise self._unrecorded(f"{asked.kind} {asked.name}: {asked.prompt}")
        run = next((one for one in left if one.asked.child == asked.child), left[0])
        left.remove(run)
        self.playback.child_ids.pair(run.asked.child, order.asked.child)
        self._running[order.asked.effect] = run
        recorded = self.playback.order
        recorded.begun(run.asked_at)
        if run.was_stopped:
            await recorded.until_stopped(run.ended_at)
            return self._result(run)
        with trio.CancelScope(shield=True):  # the recorded end comes again
            await recorded.before(run.ended_at)
        return self._result(run)

    async def stop(self, order: ChildOrder) -> ChildResult:
        """Return how the recorded child's run ended; this one is being stopped."""
        run = self._running.get(order.asked.effect)
        await self.playback.order.before(run.ended_at if run is not None else None)
        return ChildResult("interrupted", 0, "") if run is None else self._result(run)

    async def tell(self, told: ChildTold) -> None:
        """Answer as the recorded child did: it took the message, or it had ended.

        Raises:
            UnrecordedRequest: the recording does not hold that.
            Failed: the child took it no more.
        """
        await self._steers.to(told, EffectDone)

    def _result(self, run: ChildRun) -> ChildResult:
        match run.ending:
            case ChildEnded() as ended:
                output = (
                    None
                    if ended.output is None
                    else self.playback.child_ids.in_branch(ended.output)
                )
                return ChildResult(
                    ended.status, ended.sequence, ended.digest, output, ended.usage, ended.error
                )
            case EffectClosed() as closed:
                raise recorded_failure(closed)
            case _:
                raise RecordingMiss(
                    ErrorCode.NOTHING_RECORDED, "the recording ends while this child was working."
                )

    def _unrecorded(self, text: str) -> UnrecordedRequest:
        known = next((run for run in self.recording.children), None)
        recorded = f"{known.asked.kind} {known.asked.name}: {known.asked.prompt}" if known else ""
        at = known.asked_at if known else None
        mismatch = Mismatch("child", "prompt", recorded, text, nearest=at)
        return self.playback.unrecorded(mismatch)


def _key(asked: ChildAsked) -> _Key:
    return asked.kind, asked.name, asked.run, asked.prompt


def _told_text(told: ChildTold) -> str:
    return told.text
