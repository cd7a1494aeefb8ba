"""Accepting a change: a session's facts as they were recorded, with today's decisions.

Facts name effects by the number of the fact that caused them, so they hold whatever is decided
before, as long as the same effects are open whenever a fact comes.
"""

from collections.abc import Iterable, Iterator, Sequence

import attrs
from msgspec import structs

from turnlog.actors.core.rebuild import rebuild
from turnlog.actors.core.session import decisions
from turnlog.actors.core.state import State
from turnlog.protocol.envelope import SCHEMA, Recorded, UnknownEvent, chain
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import UsageError
from turnlog.protocol.events import (
    Decision,
    SessionEvent,
    SessionForked,
    StepFailed,
    TurnOpened,
)
from turnlog.protocol.version import VERSION
from turnlog.replay.files.portable import EventLine, Header, PortableEvent, event_line, seal_line


def rerecord(header: Header, events: Iterable[PortableEvent]) -> tuple[Header, list[EventLine]]:
    """Return a session's lines with today's decisions, and the header to write them with.

    What is the same keeps its line, but for its sequence.

    Args:
        events: all of a file's.

    Raises:
        UsageError: a later fact would not fit: it closes an effect that today's code
            does not open, or none closes one that it does; or today's code fails.
    """
    recording = _Recording(keep_lines=header.schema == SCHEMA)
    for step in _steps(events):
        recording.take(step)
    header = structs.replace(header, schema=SCHEMA, engine=VERSION)
    if header.parent is not None and recording.cut:
        header = structs.replace(header, cut=recording.cut)
    return header, recording.lines


def _steps(events: Iterable[PortableEvent]) -> Iterator[list[PortableEvent]]:
    step: list[PortableEvent] = []
    for event in events:
        if event.recorded.role == "fact" and step:
            yield step
            step = []
        step.append(event)
    if step:
        yield step


@attrs.define
class _Recording:
    """What has been recorded again so far, and the states that both sequences of events lead to."""

    keep_lines: bool  # they are of today's schema
    lines: list[EventLine] = attrs.field(factory=list[EventLine])
    cut: int = 0  # of the last fork
    _recorded: State = attrs.field(factory=State)
    _today: State = attrs.field(factory=State)

    def take(self, step: Sequence[PortableEvent]) -> None:
        """Take a fact and what was decided about it."""
        first, *decided = step
        before = self._recorded.digest
        rebuild((event.recorded for event in step), self._recorded)
        fact = first.recorded.event
        if isinstance(fact, UnknownEvent | Decision):  # what a newer release decides is not known
            cause = self._today.head + 1
            for event in step:
                self._add(event.recorded.event, cause, first, event)
            return
        cause = self._today.head + 1
        fact = self._moved(fact, first.recorded, before)
        self._add(fact, cause, first, first)
        self._decide(fact, cause, first, decided)
        self._require_alike(first.recorded.sequence)

    def _decide(
        self,
        fact: SessionEvent,
        cause: int,
        first: PortableEvent,
        decided: Sequence[PortableEvent],
    ) -> None:
        assert not isinstance(fact, Decision)
        waiting = list(reversed(decided))
        today = decisions(self._today, fact)
        while True:
            while waiting and isinstance(waiting[-1].recorded.event, UnknownEvent):
                unknown = waiting.pop()
                self._add(unknown.recorded.event, cause, first, unknown)
            if (decision := next(today, None)) is None:
                break
            counterpart = waiting.pop() if waiting else None
            if isinstance(decision, StepFailed) and (
                counterpart is None or counterpart.recorded.event != decision
            ):
                why = f"today's code fails there: {decision.message}"
                raise refused(first.recorded.sequence, why)
            self._add(decision, cause, first, counterpart)
        for event in reversed(waiting):
            if isinstance(event.recorded.event, UnknownEvent):
                self._add(event.recorded.event, cause, first, event)

    def _moved(self, fact: SessionEvent, recorded: Recorded, before: bytes) -> SessionEvent:
        """Return a fork's first fact with the place at which its parent's events now end."""
        if not isinstance(fact, SessionForked) or fact.cut != recorded.sequence - 1:
            return fact
        self.cut = self._today.head
        digest = self._today.digest.hex() if fact.digest == before.hex() else fact.digest
        return structs.replace(fact, cut=self.cut, digest=digest)

    def _add(
        self,
        event: SessionEvent | UnknownEvent,
        cause: int,
        first: PortableEvent,
        counterpart: PortableEvent | None,
    ) -> None:
        state, sequence = self._today, self._today.head + 1
        cause = 0 if sequence == cause else cause
        if counterpart is not None and counterpart.recorded.event == event:
            kept = counterpart.line if self.keep_lines else event_line(counterpart.recorded)
            line = structs.replace(kept, sequence=sequence, cause=cause)
            recorded = structs.replace(counterpart.recorded, sequence=sequence, cause=cause)
        else:
            recorded = Recorded(
                sequence,
                first.recorded.time_us,
                "decision" if cause else "fact",
                cause,
                event.turn if isinstance(event, TurnOpened) else self._turn(),
                state.digest,
                event,
            )
            line = event_line(recorded)
        digest = chain(state.digest, seal_line(line, SCHEMA)[0])
        rebuild((structs.replace(recorded, digest=digest),), state)
        self.lines.append(line)

    def _turn(self) -> int:
        return self._today.turn.number if self._today.turn is not None else 0

    def _require_alike(self, sequence: int) -> None:
        """Check that the facts to come are those that today's decisions would have led to."""
        then, now = self._recorded.outstanding.keys(), self._today.outstanding.keys()
        if never := then - now:
            names = ", ".join(sorted(never))
            raise refused(
                sequence, f"what follows is about {names}, which today's code does not start"
            )
        if unheard := now - then:
            names = ", ".join(sorted(unheard))
            raise refused(
                sequence, f"today's code starts {names}, and no fact tells how that ended"
            )
        if (self._recorded.turn is None) != (self._today.turn is None):
            raise refused(sequence, "today's code ends the turn at another place")


def refused(sequence: int, why: str) -> UsageError:
    """Return the error for a change that cannot be accepted: at which event, and why."""
    return UsageError(
        ErrorCode.RERECORDING_REFUSED,
        f"the change at event {sequence} cannot be accepted: {why}. Record the session once "
        "more with the code of today.",
    )
