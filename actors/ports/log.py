"""The port of the event log."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from msgspec import Struct

from turnlog.protocol.envelope import Record, Recorded
from turnlog.protocol.ids import SessionId
from turnlog.protocol.ops import Submission
from turnlog.protocol.summary import SessionSummary


class Batch(Struct, frozen=True):
    """One step on its way to the log: a fact and its decisions, all or none."""

    records: tuple[Record, ...]  # 1 to 4096, dense
    summary: SessionSummary | None = None  # the session's row, where the step changed it
    done_ops: tuple[str, ...] = ()  # taken out of the inbox in the same transaction


class Head(Struct, frozen=True):
    """The head of a session: its last event. Without events: sequence 0 and a zero digest."""

    sequence: int
    digest: bytes
    time_us: int


class Stored(Struct, frozen=True):
    """The batch is on disk."""


class Refused(Struct, frozen=True):
    """The batch was not written: another writer has been here, or the sequence is not next."""

    why: str


class Unknown(Struct, frozen=True):
    """The answer was lost. The head's digest tells whether the batch is there."""

    why: str


Fate = Stored | Refused | Unknown


class Ticket(Protocol):
    """The fate of one append, when it is known."""

    @property
    def fate(self) -> Fate | None:
        """The fate; None while it is not known."""
        ...

    async def settled(self) -> Fate:
        """Wait for the fate. Any number of tasks may wait, at any time."""
        ...


class Claim(Struct, frozen=True):
    """The right to write a session, until it is released or the engine is gone."""

    session: SessionId
    fence: int  # higher than every earlier claim's
    head: Head


class StoredSnapshot(Struct, frozen=True):
    """What a session's state was at one of its events. A cache: see `core.snapshot`."""

    sequence: int
    digest: bytes  # of that event
    data: bytes


class EventLog(Protocol):
    """Where sessions are stored. Sequences are dense from 1; a fork continues from its cut.

    Every method may raise StoreError's subclasses: the store is damaged, paused or unsuitable.
    """

    @property
    def owner(self) -> str:
        """Who this engine is, for somebody who finds a session busy."""
        ...

    @property
    def place(self) -> str:
        """A text that tells this store from all others: it names one machine, and one folder there.

        A copy of a store has another place, so that its sessions have no rights here.
        """
        ...

    async def create(self, session: SessionId) -> Claim:
        """Make an empty session, claimed.

        Raises:
            UsageError: the id is in use, or is not a UUID in lower case.
        """
        ...

    async def fork(self, parent: SessionId, cut: int, child: SessionId) -> None:
        """Make `child`, whose events up to `cut` are the parent's, by reference. One commit.

        Nobody has claimed it yet, and it is listed with the parent's row until it writes its own.
        The parent may be claimed, by any engine.

        Raises:
            NotFound: there is no `parent`.
            NotFound: it has no event `cut`.
            UsageError: the child's id is in use, or is not a UUID in lower case.
        """
        ...

    async def claim(self, session: SessionId) -> Claim:
        """Become the session's writer.

        Raises:
            NotFound: there is none.
            Busy: a living engine holds it, perhaps this one; the error names it.
            LogDamaged: it is in quarantine.
        """
        ...

    async def release(self, claim: Claim) -> None:
        """Give the session up, after its appends. A claim that was overtaken is ignored."""
        ...

    def append(self, session: SessionId, batch: Batch, *, fence: int) -> Ticket:
        """Queue `batch` for one transaction, and return at once.

        It is refused if the claim with this fence is not held any more, or if it does not follow
        the head in sequence, digest and time. If a batch is refused or unknown, everything that
        was queued for the session after it, before that was known, is refused, too. An awaited
        write waits for the appends before it.

        Raises:
            StorePaused: the disk is full; nothing was queued.
        """
        ...

    async def room(self) -> None:
        """Wait until the queue of appends has space, and the log is not paused.

        Returns at once, without a checkpoint, unless the disk is slow or full. An append that
        follows without an await in between is not refused because of a full queue.
        """
        ...

    async def holder(self, session: SessionId) -> str | None:
        """Return who runs the session, as that engine's `owner` has it; None if nobody does.

        Raises:
            NotFound: there is no such session.
        """
        ...

    async def head(self, session: SessionId) -> Head:
        """Return the session's head on disk.

        Raises:
            NotFound: there is no such session.
        """
        ...

    async def read(
        self, session: SessionId, *, after: int = 0, until: int | None = None, limit: int = 1000
    ) -> list[Recorded]:
        """Return at most `limit` events after `after`, up to `until`, in order.

        10,000 at most, whatever the limit: a long read keeps old versions of the store alive.

        Raises:
            NotFound: there is no such session.
            LogDamaged: an event cannot be read; `read` up to the one before it still works.
        """
        ...

    async def read_at(self, session: SessionId, sequences: Sequence[int]) -> list[Recorded]:
        """Return the events with these sequences, in this order. Fastest in ascending order.

        Ask for some thousands at most: a long read keeps old versions of the store alive.

        Raises:
            NotFound: there is no such session.
            NotFound: it has no such event.
            LogDamaged: one of them cannot be read.
        """
        ...

    def save_snapshot(self, session: SessionId, snapshot: StoredSnapshot, *, fence: int) -> None:
        """Queue a snapshot after the appends, and return at once. Surplus older ones are removed.

        It is dropped silently if the claim with this fence is not held any more, if its event
        is not in the log then, or while the log is paused.
        """
        ...

    async def snapshot(
        self, session: SessionId, *, until: int | None = None
    ) -> StoredSnapshot | None:
        """Return the session's newest snapshot at or before event `until`.

        A fork without one gets its nearest ancestor's newest snapshot at or before the cut.

        Raises:
            NotFound: there is no such session.
        """
        ...

    def follow(self, session: SessionId, *, after: int = 0) -> AsyncIterator[Recorded]:
        """Yield the events after `after`, then each new one, whichever process writes it.

        The iterator may be dropped at any time, and continues after a cancelled wait.

        Raises:
            NotFound: there is no such session, or not any more.
            LogDamaged: the next event cannot be read.
        """
        ...

    async def sessions(self, *, limit: int = 50) -> list[SessionSummary]:
        """Return the sessions that have an event, the one with the newest turn first."""
        ...

    async def resolve(self, prefix: str) -> SessionId:
        """Return the one session whose id begins with `prefix`.

        Raises:
            NotFound, UsageError
        """
        ...

    async def delete(self, session: SessionId) -> None:
        """Remove a session. Its forks keep the events that they refer to.

        Raises:
            NotFound, Busy
        """
        ...

    async def leave(self, session: SessionId, submission: Submission) -> None:
        """Leave an op for the session's writer, now or later. Equal op ids are one op."""
        ...

    async def waiting(self) -> list[SessionId]:
        """Return the sessions whose inbox is not empty. Cheap when there is none."""
        ...

    async def inbox(self, session: SessionId) -> list[Submission]:
        """Return the ops that were left and are not done, oldest first."""
        ...
