"""Children that come to the ends that were recorded, and run nothing."""

from collections import defaultdict, deque

import attrs
import trio

from turnlog.actors.ports import ChildOrder, ChildResult
from turnlog.protocol.errors import TurnlogError
from turnlog.protocol.events import ChildAsked, ChildEnded, ChildTold, EffectClosed
from turnlog.replay.recorded_failure import RecordedFailure
from turnlog.replay.rerun.child_ids import Aliases
from turnlog.replay.rerun.recorded_order import Cues, until_stopped
from turnlog.replay.rerun.recording import ChildRun, Recording, Telling
from turnlog.replay.rerun.request_matching import Miss, Missed

_Key = tuple[str, str, int, str]


@attrs.define(eq=False)
class RecordedChildren:
    """The `Children` of a recording. A prompt is found by its child's kind and name, and itself.

    Args:
        aliases: is told which child of the branch stands for which of the recording.
        cues: keeps the recorded order; None: answer at once.
    """

    recording: Recording
    aliases: Aliases
    cues: Cues | None = None
    misses: list[Miss] = attrs.field(factory=list[Miss])
    _runs: dict[_Key, deque[ChildRun]] = attrs.field(init=False)
    _tellings: dict[str, deque[Telling]] = attrs.field(init=False)
    _running: dict[str, ChildRun] = attrs.field(factory=dict[str, ChildRun], init=False)

    def __attrs_post_init__(self) -> None:
        self._runs, self._tellings = defaultdict(deque), defaultdict(deque)
        for run in self.recording.children:
            self._runs[_key(run.asked)].append(run)
        for telling in self.recording.tellings:
            self._tellings[telling.told.text].append(telling)

    async def run(self, order: ChildOrder) -> ChildResult:
        """Return how the child came to rest then.

        Raises:
            Missed: the recording holds no such prompt, or no more of them.
            RecordedFailure: the child could not be reached then.
        """
        asked = self.aliases.value_in_recording(order.asked, ChildAsked)
        left = self._runs.get(_key(asked))
        if not left:
            raise self._miss(f"{asked.kind} {asked.name}: {asked.prompt}")
        run = next((one for one in left if one.asked.child == asked.child), left[0])
        left.remove(run)
        self.aliases.pair(run.asked.child, order.asked.child)
        self._running[order.asked.effect] = run
        if self.cues is not None:
            self.cues.begun(run.asked_at)
        if run.is_stopped:
            await until_stopped(self.cues, run.ended_at)
            return self._result(run)
        with trio.CancelScope(shield=True):  # what came then comes again
            await self._before(run.ended_at)
        return self._result(run)

    async def stop(self, order: ChildOrder) -> ChildResult:
        """Return how the child came to rest, now that it is stopped."""
        run = self._running.get(order.asked.effect)
        await self._before(run.ended_at if run is not None else None)
        return ChildResult("interrupted", 0, "") if run is None else self._result(run)

    async def tell(self, told: ChildTold) -> None:
        """Do as if the child were told, or had just come to rest, as it was then.

        Raises:
            Missed: the recording does not hold that.
            RecordedFailure: the child took it no more.
        """
        left = self._tellings.get(self.aliases.in_recording(told.text))
        if not left:
            raise self._miss(told.text)
        telling = left.popleft()
        if self.cues is not None:
            self.cues.begun(telling.asked_at)
        await self._before(telling.ended_at)
        if isinstance(telling.ending, EffectClosed):
            raise RecordedFailure(telling.ending)

    def _result(self, run: ChildRun) -> ChildResult:
        match run.ending:
            case ChildEnded() as ended:
                output = None if ended.output is None else self.aliases.in_branch(ended.output)
                return ChildResult(
                    ended.status, ended.sequence, ended.digest, output, ended.usage, ended.error
                )
            case EffectClosed() as closed:
                raise RecordedFailure(closed)
            case _:
                raise TurnlogError("the recording ends while this child was at work.")

    def _miss(self, text: str) -> Missed:
        known = next((run for run in self.recording.children), None)
        recorded = f"{known.asked.kind} {known.asked.name}: {known.asked.prompt}" if known else ""
        at = known.asked_at if known else None
        miss = Miss("child", "prompt", recorded, text, nearest=at)
        self.misses.append(miss)
        if self.cues is not None:
            self.cues.give_up()
        return Missed(miss)

    async def _before(self, at: int | None) -> None:
        if self.cues is not None and at is not None:
            await self.cues.before(at)


def _key(asked: ChildAsked) -> _Key:
    return asked.kind, asked.name, asked.run, asked.prompt
