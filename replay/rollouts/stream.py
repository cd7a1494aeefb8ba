"""A session being written: each fact goes through today's core, and every event is sealed."""

import attrs

from turnlog.actors.core.sealed_step import sealed_step
from turnlog.actors.core.state import State
from turnlog.protocol.envelope import Record, Recorded
from turnlog.protocol.events import SessionFact


@attrs.define
class Stream:
    """The events of a session from its first one. Its decisions are those of today's code."""

    state: State = attrs.field(factory=State)
    sealed: list[Record] = attrs.field(factory=list[Record])
    records: list[Recorded] = attrs.field(factory=list[Recorded])

    def send(self, fact: SessionFact, time_us: int) -> None:
        """Take one step. A time before the last fact's counts as that one."""
        for one in sealed_step(self.state, fact, time_us=time_us):
            self.sealed.append(one.record)
            self.records.append(one.recorded)
