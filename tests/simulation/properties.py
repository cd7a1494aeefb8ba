"""What is checked of a simulated world: the four promises, at every step and in the end."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs
import msgspec

from tests.core import oracle
from turnlog.actors.core.model_input import model_input
from turnlog.actors.core.rebuild import rebuild
from turnlog.actors.core.state import State, Turn
from turnlog.actors.ports import Batch, ModelRequest, ToolOrder
from turnlog.protocol.envelope import GENESIS, Recorded, UnknownEvent, chain, unseal
from turnlog.protocol.events import (
    CallSettled,
    ChildAsked,
    ChildEnded,
    Compacted,
    CompactionAsked,
    EffectClosed,
    FilesSaved,
    ItemsRecorded,
    ModelAsked,
    ModelCompleted,
    OpReceived,
    OpRefused,
    SessionClosed,
    SessionEvent,
    SessionForked,
    SessionStarted,
    StepFailed,
    ToolDispatched,
    TurnEnded,
    UserShellAsked,
)
from turnlog.protocol.ids import EffectId, SessionId
from turnlog.protocol.items import FunctionCall
from turnlog.protocol.ops import TextInput, UserInput, UserTurn
from turnlog.replay.verify.verifier import divergences
from turnlog.runtime.store.memory.log import MemoryStore

if TYPE_CHECKING:
    from tests.simulation.world import World


STORE_CODES: Final = frozenset({"write_lost", "log_paused", "log_damaged", "store_error"})


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
    asked: tuple[int, Sequence[str]] = (0, ())  # the epoch and the input of the last request

    def check_prefix(self, request: ModelRequest) -> None:
        """Check that a provider's cache holds: the last request's input begins this one."""
        epoch, last = self.asked
        is_longer = list(request.input[: len(last)]) == list(last)
        expect(is_longer or epoch != self.state.epoch, "a request does not begin as the last one")
        self.asked = self.state.epoch, request.input

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
    ran: set[tuple[str, str]] = attrs.field(factory=set[tuple[str, str]])  # calls, and where
    children: dict[SessionId, SessionId] = attrs.field(factory=dict[SessionId, SessionId])
    shared: set[SessionId] = attrs.field(factory=set[SessionId])  # children that clients used, too
    touched: set[str] = attrs.field(factory=set[str])  # ids of calls that said so
    steps: int = 0

    # --- at every step ----------------------------------------------------------------------------

    def claimed(self, session: SessionId) -> None:
        """Begin again with what is on the disk, as the claim's owner has to."""
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
            self.world.attend_child(session)
            expect(live == shadow.state, f"the live state is not the fold of the log: {session}")
            expect(
                model_input(live) == model_input(shadow.state),
                f"the next input from the log is another one: {session}",
            )
            last = batch.records[-1]
            self.world.note(f"append {session} {last.sequence} {last.digest.hex()}")

    def _happens(self, shadow: Shadow, recorded: Recorded) -> None:
        size = shadow.state.history.size
        rebuild([recorded], shadow.state)
        match recorded.event:
            case ModelCompleted(response_id=response):
                shadow.whole.add(response)
            case Compacted():
                expect(shadow.state.history.size < size, "a compaction makes nothing smaller")
            case ChildAsked(child=child):
                self.children[child] = shadow.state.session
            case ChildEnded() as ended if shadow.state.in_hand.closes is not None:
                self._has_ended(ended)
            case StepFailed(message=message):
                raise Violation(f"deciding raised: {message}")
            case TurnEnded():
                busy = self.world.busy.now[shadow.state.session]
                expect(not busy, f"{busy} are still at work when their turn ends")
                expect(not shadow.state.outstanding, "a turn ends with open effects")
                for child, parent in self.children.items():
                    if parent == shadow.state.session:
                        expect(self._is_idle(child), "a turn ends, and a child still works")
            case _:
                pass
        shadow.check_input()

    def _has_ended(self, ended: ChildEnded) -> None:
        """Check that a parent is told of an end that is on disk."""
        expect(self._is_idle(ended.child), "a parent is told of an end, and the child still works")
        if ended.digest:
            found = self.world.store.sessions[ended.child].records
            expect(len(found) >= ended.sequence, "a parent is told of an end that is not on disk")
            digest = found[ended.sequence - 1].digest.hex() if ended.sequence else GENESIS.hex()
            expect(digest == ended.digest, "a parent is told of another end than is on disk")

    def _is_idle(self, child: SessionId) -> bool:
        if child not in self.world.store.sessions or child in self.shared:
            return True
        state = rebuild(stored(self.world.store, child))
        return (state.turn is None and not state.queue) or state.closed

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
                is_turns = any(
                    event.input_digest == digest.hex() and event.parts == len(request.input)
                    for event in self._on_disk(request.session, ModelAsked)
                )
                is_logged = is_turns or self._is_summary(request)
                expect(is_logged, "the model is asked what is not on disk")
                if is_turns:
                    self.shadows[request.session].check_prefix(request)
            oracle.assert_valid_input(request.input, self.shadows[request.session].whole)

    def _is_summary(self, request: ModelRequest) -> bool:
        """Say whether that summary was asked for."""
        known = self.shadows[request.session].state.history.texts()
        return any(
            request.input == (*known[asked.skipped : asked.parts], asked.prompt_json)
            for asked in self._on_disk(request.session, CompactionAsked)
        )

    def tool_runs(self, order: ToolOrder) -> SessionId:
        """Check that a call is logged before it runs, and never runs again."""
        call_id = order.call.call_id
        self.world.note(f"tool {call_id}")
        with self.world.checking():
            owners = [s for s, shadow in self.shadows.items() if _is_running(shadow.state, order)]
            expect(len(owners) == 1, f"{call_id} runs in {len(owners)} sessions")
            session = owners[0]
            is_users = order.dispatched.effect == call_id
            run = (session if is_users else "", f"{call_id} {order.dispatched.sandbox.mode}")
            is_strict = order.settings.session.durability == "strict"
            # A relaxed session loses with its last writes that it has run something.
            expect(run not in self.ran or not is_strict, f"{call_id} is run again")
            self.ran.add(run)
            if is_strict:
                kind = UserShellAsked if is_users else ToolDispatched
                asked = (event.effect for event in self._on_disk(session, kind))
                expect(order.dispatched.effect in asked, f"{call_id} runs before that is on disk")
            return session

    def files_change(self, session: SessionId, effect: EffectId) -> None:
        """Check that what files were is on disk before they are changed."""
        with self.world.checking():
            saved = self._on_disk(session, FilesSaved)
            expect(any(event.effect == effect for event in saved), "a file changes too early")

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
        made = (child for child in self.children if child in self.world.store.sessions)
        for session in (*sessions, *made):
            records = stored(self.world.store, session)
            self.replays(session, records)
            if session in sessions or rebuild(records).turns:  # else it was stopped before it began
                with self.world.checking():
                    self._dangles_nowhere(records)
                    _hears_its_user(records)
                    _hears_once(records, ends=rebuild(records).turn is None)
        with self.world.checking():
            for session, op_id in self.left:
                ops = [event.op_id for event in self._on_disk(session, OpReceived)]
                expect(op_id in ops, f"{op_id} was left in the inbox and never done")

    def _dangles_nowhere(self, records: Sequence[Recorded]) -> None:
        events = list(known(records))
        is_child = isinstance(events[0], SessionStarted) and events[0].spawned_by is not None
        is_closed = records[-1].kind == "session_closed"  # a child may have ended in a crash
        expect(is_closed or is_child, "a session was not closed in the end")
        oracle.assert_turns_take_turns(events)
        closed = oracle.closers(events)
        state = rebuild(records)
        asked = {event.effect for event in events if isinstance(event, ChildAsked)}
        for effect, by in closed.items():
            dropped = [one for one in by if isinstance(one, EffectClosed) and effect in asked]
            for one in dropped:  # only a disk can keep a parent from its child
                expect(one.code in STORE_CODES, f"a child was not seen to its end: {one.message}")
            is_parked = effect in state.outstanding  # only a child's, which nobody opened again
            expect(len(by) == 1 - is_parked, f"{effect} was closed {len(by)} times")
        is_parked = isinstance(records[-1].event, SessionClosed) and (
            records[-1].event.reason == "parked"
        )
        is_shared = state.session in self.shared
        expect(is_parked or is_shared or state.turn is None, "a turn was not ended in the end")
        denied = oracle.denials(events)
        for call, times in oracle.dispatches(events).items():
            expect(times <= 1 + min(denied[call], 1), "a call was sent twice")
        sent = {event.call_id for event in events if isinstance(event, ToolDispatched)}
        for event in events:
            if isinstance(event, CallSettled) and event.call_id in sent & self.touched:
                told = ("declined", "never_started") if denied[event.call_id] else ()
                expect(
                    event.outcome in ("stopped", "unknown", *told),
                    f"{event.call_id} touched the world, and the model is told: {event.outcome}",
                )
        done = [event.op_id for event in events if isinstance(event, OpReceived)]
        for refused in events:
            if isinstance(refused, OpRefused) and refused.code == "duplicate_op":
                done.remove(refused.op_id)
        expect(len(done) == len(set(done)), "an op was done twice")


def _hears_its_user(records: Sequence[Recorded]) -> None:
    """Check that what a user said is in the conversation, or waits, or was refused."""
    events = list(known(records))
    if any(isinstance(event, SessionForked) for event in events):
        return  # what waited in the parent is the parent's
    state = rebuild(records)
    if state.turn is not None:
        return  # it is parked, with what its user said meanwhile
    refused = {event.op_id for event in events if isinstance(event, OpRefused)}
    waiting = {queued.op.op_id for queued in state.queue}
    told = [
        item.item_json
        for event in events
        if isinstance(event, ItemsRecorded)
        for item in event.items
        if item.kind == "user"
    ]
    for event in events:
        if not isinstance(event, OpReceived) or event.op_id in refused | waiting:
            continue
        for item in event.op.items if isinstance(event.op, UserInput | UserTurn) else ():
            if isinstance(item, TextInput):
                expect(any(item.text in text for text in told), f"nobody heard {item.text!r}")


def _hears_once(records: Sequence[Recorded], *, ends: bool) -> None:
    """Check that what each agent came to is told to the model once, at the turn's end at last."""
    events = list(known(records))
    if any(isinstance(event, SessionForked) for event in events):
        return  # what the parent had not told yet is told by nobody
    agents = {e.effect for e in events if isinstance(e, ChildAsked) and e.kind == "agent"}
    told = [event.output for event in events if isinstance(event, CallSettled)]
    for event in events:
        if isinstance(event, ItemsRecorded):
            told += [item.item_json for item in event.items if item.kind == "agent"]
    for by in oracle.closers(events).values():
        for ended in by:
            if not isinstance(ended, ChildEnded) or ended.effect not in agents:
                continue
            if ended.output and ended.error is None:
                times = sum(ended.output in text for text in told)
                expect(times == 1 or not (times or ends), f"a result was told {times} times")


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
    effect = state.outstanding.get(order.dispatched.effect)
    if isinstance(effect, UserShellAsked):
        call = order.call
        arguments = call.arguments if isinstance(call, FunctionCall) else ""
        return msgspec.json.decode(arguments, type=dict[str, str]) == {"cmd": effect.command}
    calls = state.turn.calls if isinstance(state.turn, Turn) else ()
    return order.dispatched.effect in state.outstanding and any(
        call.item.call_id == order.call.call_id for call in calls
    )
