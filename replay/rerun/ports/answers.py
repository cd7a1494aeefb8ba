"""Recorded answers of ports that are asked once for each effect."""

from collections import defaultdict, deque
from collections.abc import Callable
from typing import Generic, TypeVar

import attrs
from msgspec import structs

from turnlog.protocol.envelope import KIND_NAMES
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import RecordingMiss
from turnlog.protocol.events import Closes, EffectClosed, EffectLost, Opens
from turnlog.replay.recorded_failure import recorded_failure
from turnlog.replay.rerun.ports.playback import Playback
from turnlog.replay.rerun.recording import Answer, Recording
from turnlog.replay.rerun.request_matching import Mismatch

D = TypeVar("D", bound=Opens)
F = TypeVar("F", bound=Closes)


@attrs.define(eq=False)
class RecordedAnswers(Generic[D]):
    """The answers to one kind of decision. Equal requests get theirs in the recorded order.

    Args:
        kind: the decisions that ask.
        text: says what such a decision asks for. Equal texts are equal requests.
    """

    recording: Recording
    playback: Playback
    kind: type[D]
    text: Callable[[D], str]
    _left: defaultdict[str, deque[Answer]] = attrs.field(
        factory=lambda: defaultdict[str, deque[Answer]](deque), init=False
    )

    def __attrs_post_init__(self) -> None:
        for answer in self.recording.answers:
            if isinstance(answer.asked, self.kind):
                self._left[self.text(answer.asked)].append(answer)

    async def to(self, asked: D, fact: type[F]) -> F:
        """Return the recorded fact that closed the effect, in its place in the recorded order.

        Args:
            fact: the kind of a good answer.

        Raises:
            UnrecordedRequest: the recording holds no such request, or no more of them.
            Failed: the port failed then; the code is the recorded one.
            RecordingMiss: the recording ends before the answer.
        """
        answer, order = self._take(asked), self.playback.order
        order.begun(answer.asked_at)
        if answer.was_stopped:
            await order.until_stopped(answer.ended_at)
        await order.before(answer.ended_at)
        ending = answer.ending
        if isinstance(ending, fact):
            return structs.replace(ending, effect=asked.effect)
        if isinstance(ending, EffectClosed):
            raise recorded_failure(ending)
        if isinstance(ending, EffectLost):  # its engine died: then it was asked once more
            return await self.to(asked, fact)
        raise RecordingMiss(
            ErrorCode.NOTHING_RECORDED, "the recording ends before this was answered."
        )

    def _take(self, asked: D) -> Answer:
        text = self.playback.child_ids.in_recording(self.text(asked))
        if left := self._left[text]:
            return left.popleft()
        kind = KIND_NAMES[self.kind]
        raise self.playback.unrecorded(Mismatch(kind, kind, "", text))
