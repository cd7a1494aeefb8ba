"""What is checked of a simulated world: the four promises, at every step and in the end."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from tests.core import oracle
from turnlog.actors.core.model_input import model_input
from turnlog.actors.core.rebuild import rebuild
from turnlog.actors.core.state import State
from turnlog.actors.ports import Batch, ModelRequest, ToolOrder
from turnlog.protocol.envelope import GENESIS, Recorded, UnknownEvent, chain, unseal
from turnlog.protocol.events import (
    CallSettled,
    ModelAsked,
    ModelCompleted,
    OpReceived,
    OpRefused,
    SessionEvent,
    StepFailed,
    ToolDispatched,
    TurnEnded,
)
from turnlog.protocol.ids import SessionId
from turnlog.replay.verify import divergences
from turnlog.runtime.store.memory import MemoryStore

if TYPE_CHECKING:
    from tests.simulation.world import World


class Violation(AssertionError):
    """A promise that was not kept."""


def stored(store: MemoryStore, session: SessionId) -> list[Recorded]:
    """Return what is on the disk of a session, from its first event on."""
    return [
        unseal(record.data, record.digest, store.blobs.__getitem__)
        for record in store.sessions[session].records
    ]


@attrs.define
class Shadow:
    """A session as its appended bytes alone give it."""

    state: State
    whole: set[str]  # ids of responses that came to their end
    valid: list[str] = attrs.field(factory=list[str])  # the last input that was looked at

    def check_input(self) -> None:
        parts = model_input(self.state)
        if parts != self.valid:
            oracle.assert_valid_input(parts, self.whole)
            self.valid = parts


@attrs.define(eq=False)
class Auditor:
    """Looks at every step, every request and every acknowledgement."""

    world: "World"
    shadows: dict[SessionId, Shadow] = attrs.field(factory=dict[SessionId, Shadow])
    acknowledged: dict[tuple[SessionId, int], bytes] = attrs.field(
        factory=dict[tuple[SessionId, int], bytes]
    )
    left: list[tuple[SessionId, str]] = attrs.field(factory=list[tuple[SessionId, str]])
    ran: set[str] = attrs.field(factory=set[str])  # ids of calls
    touched: set[str] = attrs.field(factory=set[str])  # ids of calls that said so
    steps: int = 0

    # --- at every step ----------------------------------------------------------------------------

    def claimed(self, session: SessionId) -> None:
        """Begin anew with what is on the disk, as the claim's owner has to."""
        records = stored(self.world.store, session)
        self.replays(session, records)
        self.shadows[session] = Shadow(rebuild(records), _whole(records))

    def appended(self, session: SessionId, batch: Batch) -> None:
        """Check a step against the bytes that it is appended as."""
        with self.world.checking():
            shadow = self.shadows[session]
            blobs = self.world.store.blobs | {
                digest: blob for record in batch.records for digest, blob in record.blobs.items()
            }
            self.steps += 1
            for record in batch.records:
                self._happens(shadow, unseal(record.data, record.digest, blobs.__getitem__))
            live = self.world.actor(session).state
            expect(live == shadow.state, f"the live state is not the fold of the log: {session}")
            expect(
                model_input(live) == model_input(shadow.state),
                f"the next input from the log is another one: {session}",
            )
            last = batch.records[-1]
            self.world.note(f"append {session} {last.sequence} {last.digest.hex()}")

    def _happens(self, shadow: Shadow, recorded: Recorded) -> None:
        rebuild([recorded], shadow.state)
        match recorded.event:
            case ModelCompleted(response_id=response):
                shadow.whole.add(response)
            case StepFailed(message=message):
                raise Violation(f"deciding raised: {message}")
            case TurnEnded():
                busy = self.world.busy.now[shadow.state.session]
                expect(not busy, f"{busy} are still at work when their turn ends")
                expect(not shadow.state.outstanding, "a turn ends with open effects")
            case _:
                pass
        shadow.check_input()

    def replays(self, session: SessionId, records: Sequence[Recorded]) -> None:
        with self.world.checking():
            found = list(divergences(records))
            expect(not found, f"replay differs: {session}: {found[:1]}")

    # --- at every effect --------------------------------------------------------------------------

    def model_asked(self, request: ModelRequest) -> None:
        """Check that a request is logged before it is made, and that it is what was logged."""
        digest = GENESIS
        for part in request.input:
            digest = chain(digest, part.encode())
        self.world.note(f"model {request.session} {digest.hex()}")
        with self.world.checking():
            if request.settings.session.durability == "strict":
                asked = self._on_disk(request.session, ModelAsked)
                expect(
                    any(
                        event.input_digest == digest.hex() and event.parts == len(request.input)
                        for event in asked
                    ),
                    "the model is asked what is not on disk",
                )
            oracle.assert_valid_input(request.input, self.shadows[request.session].whole)

    def tool_runs(self, order: ToolOrder) -> SessionId:
        """Check that a call is logged before it runs, and never runs again."""
        call_id = order.call.call_id
        self.world.note(f"tool {call_id}")
        with self.world.checking():
            owners = [s for s, shadow in self.shadows.items() if _is_running(shadow.state, order)]
            expect(len(owners) == 1, f"{call_id} runs in {len(owners)} sessions")
            session = owners[0]
            expect(call_id not in self.ran, f"{call_id} is run again")
            self.ran.add(call_id)
            if order.settings.session.durability == "strict":
                dispatched = self._on_disk(session, ToolDispatched)
                expect(order.dispatched in dispatched, f"{call_id} runs before that is on disk")
            return session

    def _on_disk(self, session: SessionId, kind: type[Any]) -> Iterator[Any]:
        records = self.world.store.sessions[session].records
        for record in reversed(records):  # it is one of the last
            event = unseal(record.data, record.digest, self.world.store.blobs.__getitem__).event
            if isinstance(event, kind):
                yield event

    # --- at every acknowledgement -----------------------------------------------------------------

    def acknowledge(self, session: SessionId, records: Iterable[Recorded], to: str) -> None:
        """Check that what somebody was shown is on disk; from now on it must stay there."""
        with self.world.checking():
            for recorded in records:
                self.world.note(f"{to} is shown {session} {recorded.sequence}")
                self._is_there(session, recorded.sequence, recorded.digest)
                self.acknowledged[session, recorded.sequence] = recorded.digest

    def _is_there(self, session: SessionId, sequence: int, digest: bytes) -> None:
        records = self.world.store.sessions[session].records
        expect(len(records) >= sequence, f"event {sequence} was acknowledged and is not on disk")
        found = records[sequence - 1].digest
        expect(found == digest, f"event {sequence} was acknowledged and is another one on disk")

    # --- in the end -------------------------------------------------------------------------------

    def at_last(self, sessions: Sequence[SessionId]) -> None:
        """Check all sessions, once the last engine has closed them."""
        with self.world.checking():
            for (session, sequence), digest in self.acknowledged.items():
                self._is_there(session, sequence, digest)
            expect(not self.world.busy.now.total(), "something is still at work")
        for session in sessions:
            records = stored(self.world.store, session)
            self.replays(session, records)
            with self.world.checking():
                self._dangles_nowhere(records)
        with self.world.checking():
            for session, op_id in self.left:
                ops = [event.op_id for event in self._on_disk(session, OpReceived)]
                expect(op_id in ops, f"{op_id} was left in the inbox and never done")

    def _dangles_nowhere(self, records: Sequence[Recorded]) -> None:
        events = list(known(records))
        expect(records[-1].kind == "session_closed", "a session was not closed in the end")
        oracle.assert_turns_take_turns(events)
        closed = oracle.closers(events)
        for effect, by in closed.items():
            expect(len(by) == 1, f"{effect} was closed {len(by)} times")
        expect(max(oracle.dispatches(events).values(), default=0) <= 1, "a call was sent twice")
        sent = {event.call_id for event in events if isinstance(event, ToolDispatched)}
        for event in events:
            if isinstance(event, CallSettled) and event.call_id in sent & self.touched:
                expect(
                    event.outcome in ("stopped", "unknown"),
                    f"{event.call_id} touched the world, and the model is told: {event.outcome}",
                )
        done = [event.op_id for event in events if isinstance(event, OpReceived)]
        for refused in events:
            if isinstance(refused, OpRefused) and refused.code == "duplicate_op":
                done.remove(refused.op_id)
        expect(len(done) == len(set(done)), "an op was done twice")


def expect(condition: object, promise: str) -> None:
    if not condition:
        raise Violation(promise)


def known(records: Iterable[Recorded]) -> Iterator[SessionEvent]:
    for recorded in records:
        expect(not isinstance(recorded.event, UnknownEvent), "an event is of no known kind")
        if not isinstance(recorded.event, UnknownEvent):
            yield recorded.event


def _whole(records: Iterable[Recorded]) -> set[str]:
    return {r.event.response_id for r in records if isinstance(r.event, ModelCompleted)}


def _is_running(state: State, order: ToolOrder) -> bool:
    return order.dispatched.effect in state.outstanding and any(
        call.item.call_id == order.call.call_id for call in (state.turn.calls if state.turn else ())
    )
