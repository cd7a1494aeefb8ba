"""The event log in memory, for tests, simulation and sessions that are not to be kept.

Seen from outside, it behaves as the durable log does: tickets are resolved later and in order, and
an awaited write waits for the appends before it. Its disk fails on request and outlives the engine.
"""

import math
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

import attrs
import msgspec
import trio

from turnlog.actors.ports import Batch, Claim, Fate, Head, Refused, Stored, StoredSnapshot, Unknown
from turnlog.protocol.envelope import Record, Recorded, unseal
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import (
    LogDamaged,
    StoreError,
    StorePaused,
    TurnlogError,
    UsageError,
    ambiguous_session,
    event_not_found,
    session_busy,
    session_not_found,
)
from turnlog.protocol.ids import SessionId
from turnlog.protocol.ops import Submission
from turnlog.protocol.summary import SessionSummary
from turnlog.runtime.store.contract import (
    EMPTY_HEAD,
    SHOWN_MATCHES,
    follow_on,
    fork_summary,
    last_of_page,
    placed,
    surplus_snapshots,
)
from turnlog.runtime.store.follow import Follower, Page
from turnlog.runtime.store.lmdb.keys import new_session_key
from turnlog.runtime.store.waiting import QUEUE_BYTES, Backpressure, Notifier, PendingTicket, weight

T = TypeVar("T")

_Step = Callable[[set[SessionId]], None]  # given the sessions that failed in this pass
_Fault = tuple[Fate, bool]  # what is answered; whether it is written nevertheless


@attrs.define(eq=False)
class _Session:
    summary: SessionSummary
    head: Head = EMPTY_HEAD
    records: list[Record] = attrs.field(factory=list[Record])
    fence: int = 0
    owner: "MemoryLog | None" = None
    inbox: dict[str, Submission] = attrs.field(factory=dict[str, Submission])
    snapshots: dict[int, StoredSnapshot] = attrs.field(factory=dict[int, StoredSnapshot])
    base: "_Session | None" = None
    cut: int = 0

    def snapshot(self, until: int) -> StoredSnapshot | None:
        """Return the newest snapshot at or before event `until`."""
        return self.snapshots.get(max((at for at in self.snapshots if at <= until), default=0))


@attrs.define(eq=False)
class MemoryStore:
    """What would be on the disk. Several logs may share it, one after the other or at once."""

    sessions: dict[SessionId, _Session] = attrs.field(factory=dict[SessionId, _Session])
    blobs: dict[bytes, bytes] = attrs.field(factory=dict[bytes, bytes])
    notifier: Notifier = attrs.field(factory=Notifier)

    def find(self, session: SessionId) -> _Session:
        """Return a session, or raise NotFound."""
        if session not in self.sessions:
            raise session_not_found(session)
        return self.sessions[session]


@attrs.define(eq=False)
class MemoryLog:
    """An `EventLog` over a `MemoryStore`. One log is one engine.

    Faults: `refuse_next` and `lose_next` change the fate of the next batch that is committed;
    `pause` and `resume` are a disk that fills and is freed; `hold` and `let_go` are a disk that
    stops and continues; `kill` is a crash of the engine.
    """

    store: MemoryStore = attrs.field(factory=MemoryStore)
    owner: str = "this process"
    place: str = "memory"
    queue_bytes: int = QUEUE_BYTES
    _backpressure: Backpressure = attrs.field(init=False)
    _queue: deque[_Step] = attrs.field(factory=deque[_Step], init=False)
    _faults: deque[_Fault] = attrs.field(factory=deque[_Fault], init=False)
    _scheduled: bool = attrs.field(default=False, init=False)
    _held: bool = attrs.field(default=False, init=False)
    _alive: bool = attrs.field(default=True, init=False)
    _paused: str | None = attrs.field(default=None, init=False)
    _resumed: trio.Event = attrs.field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self._backpressure = Backpressure(self.queue_bytes)

    # --- faults ---------------------------------------------------------------------------

    def refuse_next(self, why: str = "another writer has been here") -> None:
        """Refuse the next batch that is committed."""
        self._faults.append((Refused(why), False))

    def lose_next(self, *, written: bool, why: str = "the answer was lost") -> None:
        """Give the next batch the fate Unknown, whether it is `written` or not."""
        self._faults.append((Unknown(why), written))

    def pause(self, why: str = "no space left on the device") -> None:
        """Fail all writes until `resume`. What is queued is refused."""
        if self._paused is None:
            self._resumed = trio.Event()
        self._paused = why

    def resume(self) -> None:
        """Let the disk take writes again."""
        self._paused = None
        self._resumed.set()

    def hold(self) -> None:
        """Let nothing be committed until `let_go`."""
        self._held = True

    def let_go(self) -> None:
        """Let the disk continue after `hold`."""
        self._held = False
        self._schedule()

    def kill(self) -> None:
        """End this engine at once: what is queued is never written, its claims are void."""
        self._alive = self._held = False
        self._commit()

    async def aclose(self) -> None:
        """Write what is queued, release all claims, and end."""
        if not self._alive:
            return

        def give_up() -> None:
            for row in self.store.sessions.values():
                if row.owner is self:
                    row.owner = None

        self._held = False
        await self._write(give_up, even_paused=True)
        self._alive = False

    # --- the queue ------------------------------------------------------------------------

    def append(self, session: SessionId, batch: Batch, *, fence: int) -> PendingTicket:
        self._require_open()
        self._require_running()
        ticket, size = PendingTicket(), weight(batch)
        self._backpressure.take(size)

        def settle(doomed: set[SessionId]) -> None:
            if not self._alive:
                return
            fate = self._fate(session, batch, fence, doomed)
            if not isinstance(fate, Stored):
                doomed.add(session)
            self._backpressure.give_back(size)
            ticket.settle(fate)
            self.store.notifier.notify(session)

        self._queue.append(settle)
        self._schedule()
        return ticket

    def save_snapshot(self, session: SessionId, snapshot: StoredSnapshot, *, fence: int) -> None:
        self._require_open()
        if self._paused is not None:
            return

        def save(_: set[SessionId]) -> None:
            row = self.store.sessions.get(session)
            if row is None or not self._alive or self._paused is not None:
                return
            fits = 1 <= snapshot.sequence <= len(row.records) and (
                row.records[snapshot.sequence - 1].digest == snapshot.digest
            )
            if row.owner is self and row.fence == fence and fits:
                row.snapshots[snapshot.sequence] = snapshot
                for sequence in surplus_snapshots(sorted(row.snapshots)):
                    del row.snapshots[sequence]

        self._queue.append(save)
        self._schedule()

    async def room(self) -> None:
        while self._backpressure.is_full or self._paused is not None:
            await self._backpressure.wait()
            if self._paused is not None:
                await self._resumed.wait()

    def _schedule(self) -> None:
        if not self._scheduled and self._queue:
            self._scheduled = True
            trio.lowlevel.current_trio_token().run_sync_soon(self._commit)

    def _commit(self) -> None:
        self._scheduled = False
        doomed: set[SessionId] = set()
        while self._queue and not self._held:
            self._queue.popleft()(doomed)

    async def _write(self, change: Callable[[], T], *, even_paused: bool = False) -> T:
        self._require_open()
        done = trio.Event()
        results: list[T] = []
        errors: list[TurnlogError] = []

        def settle(doomed: set[SessionId]) -> None:
            try:
                self._require_open()
                if not even_paused:
                    self._require_running()
                results.append(change())
            except TurnlogError as error:
                errors.append(error)
            done.set()

        self._queue.append(settle)
        self._schedule()
        with trio.CancelScope(shield=True):
            await done.wait()
        if errors:
            raise errors[0]
        return results[0]

    def _require_open(self) -> None:
        if not self._alive:
            raise StoreError(
                ErrorCode.STORE_ERROR, "this log is closed. Open the store again to continue."
            )

    def _require_running(self) -> None:
        if self._paused is not None:
            raise StorePaused(
                f"the log takes no writes: {self._paused}. Free some space to continue."
            )

    def _fate(self, session: SessionId, batch: Batch, fence: int, doomed: set[SessionId]) -> Fate:
        if self._paused is not None:
            return Refused(f"the log takes no writes: {self._paused}")
        if session in doomed:
            return Refused("an append before it failed")
        row = self.store.sessions.get(session)
        if row is None:
            return Refused(str(session_not_found(session)))
        if row.owner is not self or row.fence != fence:
            return Refused(f"fence {fence} has been overtaken: the newest is {row.fence}")
        head = follow_on(row.head, session, batch)
        if isinstance(head, str):
            return Refused(head)
        fate, written = self._faults.popleft() if self._faults else (Stored(), True)
        if written:
            self._apply(row, batch, head)
        return fate

    def _apply(self, row: _Session, batch: Batch, head: Head) -> None:
        for record in batch.records:
            row.records.append(record)
            self.store.blobs.update(record.blobs)
        row.head = head
        if batch.summary:
            others = (one.summary.place for one in self.store.sessions.values() if one is not row)
            now_us = time.time_ns() // 1000
            row.summary = placed(batch.summary, row.summary, max(others, default=0), now_us)
        for op_id in batch.done_ops:
            row.inbox.pop(op_id, None)

    # --- sessions -------------------------------------------------------------------------

    def _own(self, session: SessionId, row: _Session) -> Claim:
        row.fence += 1
        row.owner = self
        return Claim(session, row.fence, row.head)

    def _insert(self, session: SessionId, row: _Session) -> _Session:
        new_session_key(session)
        if session in self.store.sessions:
            raise UsageError(
                ErrorCode.USAGE_ERROR, f"there is a session {session} already. Draw another id."
            )
        self.store.sessions[session] = row
        return row

    def _free(self, session: SessionId) -> _Session:
        row = self.store.find(session)
        if row.owner is not None and row.owner._alive:  # one engine asks about another
            raise session_busy(session, row.owner.owner)
        return row

    async def create(self, session: SessionId) -> Claim:
        row = _Session(SessionSummary(session))
        return await self._write(lambda: self._own(session, self._insert(session, row)))

    async def fork(self, parent: SessionId, cut: int, child: SessionId) -> None:
        def change() -> None:
            row = self.store.find(parent)
            if not 1 <= cut <= row.head.sequence:
                raise event_not_found(cut, row.head.sequence)
            last = row.records[cut - 1]
            summary = fork_summary(row.summary, child, origin=parent, cut=cut)
            time_us = _unsealed(self.store, parent, last).time_us
            head = Head(cut, last.digest, time_us)
            self._insert(child, _Session(summary, head, row.records[:cut], base=row, cut=cut))

        await self._write(change)

    async def claim(self, session: SessionId) -> Claim:
        return await self._write(lambda: self._own(session, self._free(session)))

    async def release(self, claim: Claim) -> None:
        def change() -> None:
            row = self.store.sessions.get(claim.session)
            if row is not None and row.owner is self and row.fence == claim.fence:
                row.owner = None

        await self._write(change, even_paused=True)
        self.store.notifier.notify(claim.session)

    async def delete(self, session: SessionId) -> None:
        def change() -> None:
            self._free(session).snapshots.clear()
            del self.store.sessions[session]

        await self._write(change)
        self.store.notifier.notify(session)

    # --- reading --------------------------------------------------------------------------

    async def holder(self, session: SessionId) -> str | None:
        await trio.lowlevel.checkpoint()
        owner = self.store.find(session).owner
        return owner.owner if owner is not None and owner._alive else None

    async def head(self, session: SessionId) -> Head:
        await trio.lowlevel.checkpoint()
        return self.store.find(session).head

    async def read(
        self, session: SessionId, *, after: int = 0, until: int | None = None, limit: int = 1000
    ) -> list[Recorded]:
        await trio.lowlevel.checkpoint()
        records = self.store.find(session).records
        first = max(after, 0)
        last = last_of_page(first, until, limit, len(records))
        page = records[first : max(first, last)]
        return [_unsealed(self.store, session, record) for record in page]

    async def read_at(self, session: SessionId, sequences: Sequence[int]) -> list[Recorded]:
        await trio.lowlevel.checkpoint()
        records = self.store.find(session).records
        events: list[Recorded] = []
        for sequence in sequences:
            if not 1 <= sequence <= len(records):
                raise event_not_found(sequence, len(records))
            events.append(_unsealed(self.store, session, records[sequence - 1]))
        return events

    async def snapshot(
        self, session: SessionId, *, until: int | None = None
    ) -> StoredSnapshot | None:
        await trio.lowlevel.checkpoint()
        row: _Session | None = self.store.find(session)
        last = sys.maxsize if until is None else until
        while row is not None:
            if (found := row.snapshot(last)) is not None:
                return found
            last, row = min(last, row.cut), row.base
        return None

    def follow(self, session: SessionId, *, after: int = 0) -> Follower:
        return Follower(session, after, self.store.notifier, self._page, lambda _: math.inf)

    async def _page(self, session: SessionId, after: int) -> Page:
        return await self.read(session, after=after), None

    async def sessions(self, *, limit: int = 50) -> list[SessionSummary]:
        await trio.lowlevel.checkpoint()
        rows = [row.summary for row in self.store.sessions.values() if row.head.sequence]
        rows.sort(key=lambda row: (row.place, row.session), reverse=True)
        return rows[: max(limit, 0)]

    async def resolve(self, prefix: str) -> SessionId:
        await trio.lowlevel.checkpoint()
        wanted = prefix.lower()
        matches = sorted(session for session in self.store.sessions if session.startswith(wanted))
        if not matches:
            raise session_not_found(prefix)
        if len(matches) > 1:
            raise ambiguous_session(prefix, [*matches[:SHOWN_MATCHES]])
        return matches[0]

    # --- the inbox ------------------------------------------------------------------------

    async def leave(self, session: SessionId, submission: Submission) -> None:
        def change() -> None:
            self.store.find(session).inbox.setdefault(submission.op_id, submission)

        await self._write(change)

    async def waiting(self) -> list[SessionId]:
        await trio.lowlevel.checkpoint()
        return sorted(name for name, row in self.store.sessions.items() if row.inbox)

    async def inbox(self, session: SessionId) -> list[Submission]:
        await trio.lowlevel.checkpoint()
        return list(self.store.find(session).inbox.values())


def _unsealed(store: MemoryStore, session: SessionId, record: Record) -> Recorded:
    try:
        return unseal(record.data, record.digest, store.blobs.__getitem__)
    except (msgspec.MsgspecError, KeyError) as error:
        raise LogDamaged(session, record.sequence, f"it cannot be decoded: {error}") from error
