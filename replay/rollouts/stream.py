"""A session being written: each fact goes through today's core, and every event is sealed."""

import attrs

from turnlog.actors.core.session import step
from turnlog.actors.core.state import State
from turnlog.protocol.envelope import Record, Recorded, Role, seal
from turnlog.protocol.events import Decision, SessionFact, StepFailed, TurnEnded, TurnOpened


@attrs.define
class Stream:
    """The events of a session from its first one on. Its decisions are those of today's code."""

    state: State = attrs.field(factory=State)
    sealed: list[Record] = attrs.field(factory=list[Record])
    records: list[Recorded] = attrs.field(factory=list[Recorded])

    def send(self, fact: SessionFact, time_us: int) -> None:
        """Take one step. A time before the last fact's counts as that one."""
        state = self.state
        first, turn = state.head + 1, state.turn.number if state.turn else 0
        for sequence, event in enumerate(step(state, fact, time_us=time_us), first):
            if isinstance(event, TurnOpened):
                turn = event.turn
            cause = first if isinstance(event, Decision) else 0
            record = seal(
                event,
                sequence=sequence,
                time_us=state.time_us,
                cause=cause,
                turn=turn,
                previous=state.digest,
            )
            role: Role = "decision" if isinstance(event, Decision) else "fact"
            self.records.append(
                Recorded(sequence, state.time_us, role, cause, turn, record.digest, event)
            )
            self.sealed.append(record)
            state.digest = record.digest
            if isinstance(event, TurnEnded | StepFailed):
                turn = 0
