"""Replies: an answer is addressed to the id of its question, never to a channel inside it."""

from collections import defaultdict, deque
from collections.abc import Sequence

import attrs
import trio

from turnlog.protocol.envelope import Recorded
from turnlog.protocol.errors import Rejected, TurnlogError
from turnlog.protocol.events import OpRefused


def rejection(refused: OpRefused) -> Rejected:
    """Return the error for an op that a session refused. It has the code of the refusal."""
    return Rejected(refused.code, refused.reason)


@attrs.define(eq=False)
class Waiter:
    """A place for one answer."""

    _answer: Sequence[Recorded] | TurnlogError | None = None
    _answered: trio.Event = attrs.field(factory=trio.Event, init=False)

    def settle(self, answer: Sequence[Recorded] | TurnlogError) -> None:
        if self._answer is None:
            self._answer = answer
            self._answered.set()

    async def answer(self) -> Sequence[Recorded]:
        """Return the step that dealt with the op, once it is on disk.

        Raises:
            Rejected: the session refused it; the refusal is in the log.
            TurnlogError: the session ended before it could deal with it.
        """
        await self._answered.wait()
        if isinstance(self._answer, TurnlogError):
            raise self._answer
        assert self._answer is not None  # the event says so
        for recorded in self._answer:
            if isinstance(recorded.event, OpRefused):
                raise rejection(recorded.event)
        return self._answer


@attrs.define(eq=False)
class Replies:
    """Who waits for what, by op id. An op that is sent twice has two waiters, in that order."""

    _waiters: defaultdict[str, deque[Waiter]] = attrs.field(
        factory=lambda: defaultdict[str, deque[Waiter]](deque), init=False
    )

    def expect(self, op_id: str) -> Waiter:
        """Register a waiter for an op that is being sent."""
        waiter = Waiter()
        self._waiters[op_id].append(waiter)
        return waiter

    def give(self, op_id: str, answer: Sequence[Recorded] | TurnlogError) -> None:
        """Answer the one who has waited longest for this op, if anybody does."""
        if op_id not in self._waiters:
            return
        self._waiters[op_id].popleft().settle(answer)
        if not self._waiters[op_id]:
            del self._waiters[op_id]

    def fail_all(self, error: TurnlogError) -> None:
        """Tell everybody who waits that there will be no answer."""
        while self._waiters:
            for waiter in self._waiters.popitem()[1]:
                waiter.settle(error)
