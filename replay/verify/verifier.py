"""Offline replay of the core: the recorded facts, today's decisions.

Offline by construction: nothing that can reach a model, a process or the network is imported
here, or by what is.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final, Literal

import attrs

from turnlog.actors.core import rebuild as rebuilding
from turnlog.actors.core.evolving import evolve
from turnlog.actors.core.session import decisions
from turnlog.actors.core.state import State
from turnlog.protocol.envelope import KIND_NAMES, Recorded, UnknownEvent
from turnlog.protocol.events import Decision, SessionDecision
from turnlog.replay.views.structure import Difference, differences

FACTS_KEPT: Final = 4  # with each divergence: its cause, and what came before
Kind = Literal["changed", "other", "missing", "extra"]


@attrs.frozen
class Divergence:
    """A place where today's code decides otherwise than the log says."""

    sequence: int
    recorded: SessionDecision | None  # None: the log has no decision here
    decided: SessionDecision | None  # None: today's code decides nothing here
    facts: tuple[Recorded, ...] = attrs.field(default=(), eq=False, repr=False)  # the cause last

    @property
    def kind(self) -> Kind:
        """What sort of divergence it is.

        changed: the same decision with other fields; other: another decision; missing: today's
        code decides nothing here; extra: today's code decides what the log does not have.
        """
        if self.recorded is None:
            return "extra"
        if self.decided is None:
            return "missing"
        return "changed" if type(self.recorded) is type(self.decided) else "other"

    @property
    def differences(self) -> list[Difference]:
        """The fields in which the two decisions differ; none, unless both are there."""
        if self.recorded is None or self.decided is None:
            return []
        return differences(self.recorded, self.decided)

    @property
    def label(self) -> str:
        """What divergences are counted by: kind, event and fields, without any values."""
        recorded = KIND_NAMES[type(self.recorded)] if self.recorded is not None else ""
        decided = KIND_NAMES[type(self.decided)] if self.decided is not None else ""
        if self.kind == "other":
            return f"other {recorded} -> {decided}"
        if self.kind == "changed":
            fields = dict.fromkeys(str(found.path[0]) for found in self.differences)
            return f"changed {recorded}: {', '.join(fields)}"
        return f"{self.kind} {recorded or decided}"


@attrs.define(eq=False)
class Verifier:
    """Takes a session's events as they come, from the first on, and compares each decision.

    It continues from the recorded decision, so that one difference does not cause others. Of the
    decisions that the log lacks at the end of a step, only the first is reported: the later ones
    depend on it. Events of unknown kinds are passed over, if they may be; see
    `rebuild`. Deciding that raises is a decision, `StepFailed`.
    """

    state: State = attrs.field(factory=State)  # after the recorded events
    _today: Iterator[SessionDecision] = attrs.field(factory=lambda: iter(()), init=False)
    _facts: deque[Recorded] = attrs.field(factory=lambda: deque(maxlen=FACTS_KEPT), init=False)

    def take(self, record: Recorded) -> Divergence | None:
        """Take the next event; return what differs there.

        Raises:
            StoreTooNew: it is of an unknown kind that must not be passed over.
        """
        event, state, found = record.event, self.state, None
        if isinstance(event, UnknownEvent):
            rebuilding.rebuild((record,), state)
            return None
        if isinstance(event, Decision):
            decided = next(self._today, None)
            if decided != event:
                found = Divergence(record.sequence, event, decided, tuple(self._facts))
        else:
            found = self._extra(record.sequence)
            self._facts.append(record)
            self._today = decisions(state, event)  # it begins once the fact is applied
        evolve(state, event, time_us=record.time_us)
        state.digest = record.digest
        return found

    def finish(self) -> Divergence | None:
        """Return what today's code decides after the last event."""
        return self._extra(self.state.head + 1)

    def _extra(self, sequence: int) -> Divergence | None:
        decided = next(self._today, None)
        if decided is None:
            return None
        return Divergence(sequence, None, decided, tuple(self._facts))


def rebuild(records: Iterable[Recorded]) -> State:
    """Return the state after `records`, a session from its first event on."""
    return rebuilding.rebuild(records)


def divergences(records: Iterable[Recorded]) -> Iterator[Divergence]:
    """Yield each place where today's code decides otherwise; see `Verifier`.

    Args:
        records: a session from its first event on; a fork begins with its parent's.
    """
    verifier = Verifier()
    for record in records:
        if (found := verifier.take(record)) is not None:
            yield found
    if (found := verifier.finish()) is not None:
        yield found
