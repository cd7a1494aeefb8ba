"""The durable event log: one LMDB environment in a folder, one writer thread, many readers."""

import math
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import attrs
import trio

from turnlog.actors.ports import Batch, Claim, Head, StoredSnapshot
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import LogDamaged, StoreError
from turnlog.protocol.ids import SessionId
from turnlog.protocol.ops import Submission
from turnlog.protocol.summary import SessionSummary
from turnlog.runtime.store.follow import Follower, Page
from turnlog.runtime.store.lmdb import claims, inbox, listing, removal, snapshots
from turnlog.runtime.store.lmdb.environment import MAP_SIZE, Environment
from turnlog.runtime.store.lmdb.lease import Lease, describe_process, holder
from turnlog.runtime.store.lmdb.pages import PageDamaged
from turnlog.runtime.store.lmdb.place import place_of
from turnlog.runtime.store.lmdb.reading import Damage, Reader, find_row
from turnlog.runtime.store.lmdb.suitability import ENGINES
from turnlog.runtime.store.lmdb.transactions import Txn
from turnlog.runtime.store.lmdb.views import Tables
from turnlog.runtime.store.lmdb.writer import Writer
from turnlog.runtime.store.waiting import QUEUE_BYTES, Backpressure, Notifier, PendingTicket

T = TypeVar("T")

POLL_S: Final = 0.01  # how often a follower looks for what other processes have written
FOLLOWED_AT_ONCE: Final = 1000  # events that a follower holds


@attrs.define(eq=False)
class LmdbLog:
    """An `EventLog` on a local disk. Made by `open_log`.

    An acknowledged event is on disk: LMDB syncs the data, then the meta page, at each commit.
    """

    environment: Environment
    reader: Reader
    place: str  # see `place_of`
    _lease: Lease | None  # None: read-only, as is the writer
    _writer: Writer | None
    _notifier: Notifier
    _backpressure: Backpressure
    _claims: dict[SessionId, Claim] = attrs.field(factory=dict[SessionId, Claim])
    _closed: bool = False

    @property
    def owner(self) -> str:
        return self._lease.owner if self._lease else describe_process()

    @property
    def paused(self) -> str | None:
        """Why the log takes no writes; None if it does."""
        return self._writer.paused if self._writer else "it was opened read-only"

    # --- writing --------------------------------------------------------------------------

    def _writing(self) -> tuple[Writer, Lease]:
        if self._closed:
            raise StoreError(
                ErrorCode.STORE_ERROR, "this log is closed. Open the store again to continue."
            )
        self.environment.require_own_process()
        if self._writer is None or self._lease is None:
            raise StoreError(
                ErrorCode.STORE_ERROR,
                "this log was opened read-only. Open it for writing to change it.",
            )
        return self._writer, self._lease

    def append(self, session: SessionId, batch: Batch, *, fence: int) -> PendingTicket:
        return self._writing()[0].append(session, batch, fence)

    async def room(self) -> None:
        writer, _ = self._writing()
        while self._backpressure.is_full or writer.paused is not None:
            await self._backpressure.wait()
            await writer.resumed()

    def save_snapshot(self, session: SessionId, snapshot: StoredSnapshot, *, fence: int) -> None:
        writer, lease = self._writing()
        writer.run_unheard(
            lambda txn, tables: snapshots.save(txn, tables, lease.engine, session, snapshot, fence)
        )

    async def create(self, session: SessionId) -> Claim:
        writer, lease = self._writing()
        claim = await writer.run(lambda txn, tables: claims.create(txn, tables, lease, session))
        return self._remember(claim)

    async def claim(self, session: SessionId) -> Claim:
        writer, lease = self._writing()
        claim = await writer.run(lambda txn, tables: claims.claim(txn, tables, lease, session))
        return self._remember(claim)

    def _remember(self, claim: Claim) -> Claim:
        self._claims[claim.session] = claim
        return claim

    async def release(self, claim: Claim) -> None:
        writer, lease = self._writing()
        await writer.run(lambda txn, tables: claims.release(txn, tables, lease, claim))
        self._forget(claim)

    def _forget(self, claim: Claim) -> None:
        known = self._claims.get(claim.session)
        if known is not None and known.fence == claim.fence:
            del self._claims[claim.session]
            self._notifier.notify(claim.session)  # its followers now look for other writers, too

    async def fork(self, parent: SessionId, cut: int, child: SessionId) -> None:
        await self.commit(lambda txn, tables: claims.fork(txn, tables, parent, cut, child))

    async def delete(self, session: SessionId) -> None:
        writer, lease = self._writing()
        key = await writer.run(lambda txn, tables: removal.delete(txn, tables, lease, session))
        self._notifier.notify(session)
        await self.collect(key)

    async def collect(self, key: bytes | None) -> None:
        """Remove the events of a deleted session that no fork refers to, step by step."""
        while key is not None:
            key = await self.commit(partial(removal.trim, key=key))

    async def commit(self, change: Callable[[Txn, Tables], T]) -> T:
        """Run a change in the writer's transaction, in its turn. For the store's own modules.

        `change` may be repeated, and raises a TurnlogError before it has written anything.
        """
        return await self._writing()[0].run(change)

    async def leave(self, session: SessionId, submission: Submission) -> None:
        await self.commit(lambda txn, tables: inbox.leave(txn, tables, session, submission))

    def _release_all(self, txn: Txn, tables: Tables) -> None:
        for claim in self._claims.values():
            if self._lease:
                with suppress(StoreError):  # its row is damaged; the end of the lease frees it, too
                    claims.release(txn, tables, self._lease, claim)

    # --- reading --------------------------------------------------------------------------

    def _reading(self) -> Environment:
        if self._closed:
            raise StoreError(
                ErrorCode.STORE_ERROR, "this log is closed. Open the store again to continue."
            )
        return self.environment

    async def holder(self, session: SessionId) -> str | None:
        env = self._reading()
        await trio.lowlevel.checkpoint()
        row = env.read(lambda txn: find_row(txn, env.tables, session))
        return holder(env.path / ENGINES, row.engine)

    async def head(self, session: SessionId) -> Head:
        self._reading()
        await trio.lowlevel.checkpoint()
        return self.reader.head(session)

    async def read(
        self, session: SessionId, *, after: int = 0, until: int | None = None, limit: int = 1000
    ) -> list[Recorded]:
        events, damage = await self._page(session, after, until, limit)
        if damage:
            raise LogDamaged(session, damage.sequence, damage.why)
        return events

    async def _page(
        self, session: SessionId, after: int, until: int | None, limit: int
    ) -> tuple[list[Recorded], Damage | None]:
        self._reading()
        return await trio.to_thread.run_sync(self.reader.page, session, after, until, limit)

    async def read_at(self, session: SessionId, sequences: Sequence[int]) -> list[Recorded]:
        self._reading()
        read = partial(snapshots.read_at, self.reader, session, sequences)
        events, damage = await trio.to_thread.run_sync(read)
        if damage:
            raise LogDamaged(session, damage.sequence, damage.why)
        return events

    async def snapshot(
        self, session: SessionId, *, until: int | None = None
    ) -> StoredSnapshot | None:
        env = self._reading()
        await trio.lowlevel.checkpoint()
        try:
            return env.read(lambda txn: snapshots.newest(txn, env.tables, session, until))
        except PageDamaged:
            return None  # a cache: the session opens from its events

    def follow(self, session: SessionId, *, after: int = 0) -> Follower:
        return Follower(session, after, self._notifier, self._news, self._patience)

    async def _news(self, session: SessionId, after: int) -> Page:
        if (await self.head(session)).sequence <= after:
            return [], None  # one read only, since most looks find nothing
        events, damage = await self._page(session, after, None, FOLLOWED_AT_ONCE)
        if damage is None:
            return events, None
        return events, LogDamaged(session, damage.sequence, damage.why)

    def _patience(self, session: SessionId) -> float:
        return math.inf if session in self._claims else POLL_S

    async def sessions(self, *, limit: int = 50) -> list[SessionSummary]:
        env = self._reading()
        look = partial(listing.recent, tables=env.tables, limit=limit)
        return await trio.to_thread.run_sync(env.read, look)

    async def resolve(self, prefix: str) -> SessionId:
        env = self._reading()
        await trio.lowlevel.checkpoint()
        return env.read(lambda txn: listing.resolve(txn, env.tables, prefix))

    async def inbox(self, session: SessionId) -> list[Submission]:
        env = self._reading()
        await trio.lowlevel.checkpoint()
        return env.read(lambda txn: inbox.submissions(txn, env.tables, session))

    async def waiting(self) -> list[SessionId]:
        env = self._reading()
        await trio.lowlevel.checkpoint()
        return env.read(lambda txn: inbox.waiting(txn, env.tables))

    async def backup(self, destination: Path) -> None:
        """Write a compacted copy of this moment's state into a new folder, while running.

        Raises:
            StoreError: the folder is not empty, or cannot be written.
        """
        await trio.to_thread.run_sync(self._reading().copy, destination)

    # --- the end --------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Write what is queued, release all claims, and close the store."""
        if self._closed:
            return
        with trio.CancelScope(shield=True):
            if self._writer and self._lease:
                self._closed = True
                with suppress(StoreError):  # the disk is full; the end of the lease frees it, too
                    await self._writer.run(self._release_all)
                await self._writer.close()
            self._closed = True
            self._notifier.notify_all()
            await trio.to_thread.run_sync(self.environment.close)
            if self._lease:
                self._lease.release()


@asynccontextmanager
async def open_log(
    path: Path,
    *,
    read_only: bool = False,
    map_size: int = MAP_SIZE,
    queue_bytes: int = QUEUE_BYTES,
) -> AsyncGenerator[LmdbLog]:
    """Open the store in the folder `path`; close it on leaving.

    Args:
        read_only: follow what other processes write; nothing is claimed or changed.
        map_size: bytes of address space at first; it grows by itself.
        queue_bytes: bytes of queued appends from which on `room` waits.

    Raises:
        StoreError: the place cannot hold a store, or what it holds is not a store.
        StoreTooNew: a newer turnlog made it.
    """

    def open_files() -> tuple[Environment, Lease | None, str]:
        environment = Environment.open(path, read_only=read_only, map_size=map_size)
        try:
            return environment, None if read_only else Lease.take(path), place_of(path)
        except BaseException:
            environment.close()
            raise

    environment, lease, place = await trio.to_thread.run_sync(open_files)
    notifier, backpressure = Notifier(), Backpressure(queue_bytes)
    writer = Writer(environment, lease.engine, notifier, backpressure) if lease else None
    log = LmdbLog(environment, Reader(environment), place, lease, writer, notifier, backpressure)
    try:
        yield log
    finally:
        await log.aclose()
