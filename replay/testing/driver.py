"""A session at core level: real steps, sealed bytes, no actors, no clock. For fast properties."""

from collections.abc import Sequence
from typing import Final

import attrs
from hypothesis.vendor.pretty import RepresentationPrinter

from turnlog.actors.core.rules import RULES
from turnlog.actors.core.sealed_step import sealed_step
from turnlog.actors.core.state import State
from turnlog.protocol.envelope import Recorded, unseal
from turnlog.protocol.events import (
    OpReceived,
    SessionFact,
    SessionOpened,
    SessionStarted,
)
from turnlog.protocol.ids import EffectId, SessionId
from turnlog.protocol.ops import Op
from turnlog.protocol.settings import OnRecovery, SessionSettings
from turnlog.protocol.version import VERSION
from turnlog.replay.testing.promises import Promises
from turnlog.replay.testing.timelines import timeline

SESSION: Final = SessionId("01900000-0000-7000-8000-000000000001")
START_US: Final = 1_700_000_000_000_000  # November 2023, and the same in every run
STEP_US: Final = 1000  # from one fact to the next
SETTINGS: Final = SessionSettings(cwd="/work", model="test-model")


@attrs.define(repr=False, eq=False)
class CoreSession:
    """A session that is told facts, and what it has recorded.

    Every event goes through the bytes that a store would keep, and every step is checked against
    the promises of `Promises.take`.
    """

    state: State = attrs.field(factory=State)
    records: list[Recorded] = attrs.field(factory=list[Recorded])
    ops: int = 0
    _now_us: int = START_US
    _blobs: dict[bytes, bytes] = attrs.field(factory=dict[bytes, bytes])
    _promises: Promises = attrs.field(factory=Promises)

    @classmethod
    def started(cls, settings: SessionSettings = SETTINGS) -> "CoreSession":
        """Return a session that has been started and opened: its first two events."""
        session = cls()
        session.send(SessionStarted(SESSION, settings, "test", VERSION))
        session.open()
        return session

    def __repr__(self) -> str:
        return f"<session of {len(self.records)} events>\n{timeline(self.records)}"

    def _repr_pretty_(self, printer: RepresentationPrinter, cycle: bool) -> None:
        printer.text(repr(self))  # hypothesis would print every field

    def send(self, fact: SessionFact) -> Sequence[Recorded]:
        """Take one step; return the fact and its decisions, as read back from their bytes.

        Raises:
            PromiseBroken: the step broke one.
        """
        self._now_us += STEP_US
        first = self.state.head
        for one in sealed_step(self.state, fact, time_us=self._now_us):
            self._blobs.update(one.record.blobs)
            data, digest = one.record.data, one.record.digest
            self.records.append(unseal(data, digest, self._blobs.__getitem__))
        taken = self.records[first:]
        self._promises.take(taken, self.state)
        return taken

    def open(self, on_recovery: OnRecovery = "continue") -> Sequence[Recorded]:
        """Let an engine become the writer: after a crash, or a close."""
        fence = self.state.fence + 1
        return self.send(SessionOpened(fence, "test", VERSION, on_recovery, RULES))

    def op(self, op: Op, op_id: str | None = None) -> Sequence[Recorded]:
        """Send a client's op. Its id is a number, unless one is given."""
        self.ops += 1
        return self.send(OpReceived(op_id or f"op-{self.ops}", op))

    def at_rest(self) -> None:
        """Check that no turn is open, and nothing outstanding.

        Raises:
            PromiseBroken: something is.
        """
        self._promises.at_rest()

    @property
    def closed_effects(self) -> list[EffectId]:
        """The effects that were opened once and are open no more, in order."""
        effects = {
            EffectId(getattr(record.event, "effect", ""))
            for record in self.records
            if record.role == "decision"
        }
        return sorted(effects - {EffectId("")} - set(self.state.outstanding))
