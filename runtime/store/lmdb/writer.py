"""The writer: one pinned thread that owns every write transaction, and commits in groups.

It takes everything that is queued, writes it in one transaction, commits, and reports the fate of
all of it by one call into the trio thread. There is no timer: whatever queues during a commit is
the next group. After a group of several jobs, the writer also waits for what the tasks it just woke
append in the same pass.

The fate of a failed commit is Unknown, and the log is paused: appends raise. It resumes once there
is some free space, and a probe (one each second) or an awaited write is committed. LMDB's pages are
as they were before, so the same environment stays in use; each transaction reads the heads again.

An error that is not the disk's belongs to one job, such as a row that cannot be decoded. Then the
group is committed a job at a time, and only that job fails.
"""

import errno
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Final, Generic, TypeVar

import attrs
import lmdb
import trio

from turnlog.actors.ports import Batch, Fate, Refused, Stored, Unknown
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import StoreDamaged, StoreError, StorePaused, TurnlogError
from turnlog.protocol.faults import advice_in
from turnlog.protocol.ids import SessionId
from turnlog.runtime.store.lmdb.appending import Packed, append_batch
from turnlog.runtime.store.lmdb.environment import Environment
from turnlog.runtime.store.lmdb.mapped import CommitUncertain
from turnlog.runtime.store.lmdb.pages import PageDamaged
from turnlog.runtime.store.lmdb.transactions import Txn
from turnlog.runtime.store.lmdb.views import Tables
from turnlog.runtime.store.waiting import Backpressure, Notifier, PendingTicket, weight

T = TypeVar("T")

GROUP_BYTES: Final = 4 << 20
GROUP_RECORDS: Final = 4096
PROBE_INTERVAL_S: Final = 1.0  # while the log is paused
DISK_ERRORS: Final = frozenset({errno.ENOSPC, errno.EIO})
RESUME_BYTES: Final = 1 << 20  # free on the disk: a small write may fit where no batch does


@attrs.define(eq=False)
class _Append:
    session: SessionId
    batch: Batch
    fence: int
    size: int
    era: int  # of the session: grows with each failure that was made known
    ticket: PendingTicket
    fate: Fate = attrs.field(factory=lambda: Unknown("the log was closed"))


@attrs.define(eq=False)
class _Change(Generic[T]):
    """An awaited write. It may raise before it has written anything."""

    change: Callable[[Txn, Tables], T]
    done: trio.Event
    results: list[T] = attrs.field(factory=list[T])
    error: Exception | None = None


_Job = _Append | _Change[Any]
_JobQueue = SimpleQueue[list[_Job] | None]


@attrs.define(eq=False)
class Writer:
    """The only writer of `environment` in this process."""

    environment: Environment
    engine: bytes
    notifier: Notifier
    backpressure: Backpressure
    paused: str | None = None  # why; set by the writer's thread
    _resumed: trio.Event | None = None  # made by the first task that waits
    _trio: trio.lowlevel.TrioToken = attrs.field(factory=trio.lowlevel.current_trio_token)
    _jobs: _JobQueue = attrs.field(factory=_JobQueue)
    _gathered: list[_Job] | None = None  # trio thread's; None: jobs go straight to the writer
    _taken: deque[_Job] = attrs.field(factory=deque[_Job])  # writer thread's
    _eras: dict[SessionId, int] = attrs.field(factory=dict[SessionId, int])  # trio thread's
    _failed: dict[SessionId, int] = attrs.field(factory=dict[SessionId, int])  # writer thread's
    _thread: Thread = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        # A daemon: a process that ends without closing its log loses only what is unacknowledged.
        self._thread = Thread(target=self._run, name="turnlog-log-writer", daemon=True)
        self._thread.start()

    # --- in the trio thread ---------------------------------------------------------------

    def append(self, session: SessionId, batch: Batch, fence: int) -> PendingTicket:
        """Queue a batch.

        Raises:
            StorePaused: the disk takes nothing.
        """
        if self.paused is not None:
            raise StorePaused(pause_text(self.paused))
        job = _Append(
            session, batch, fence, weight(batch), self._eras.get(session, 0), PendingTicket()
        )
        self.backpressure.take(job.size)
        self._enqueue(job)
        return job.ticket

    def _enqueue(self, job: _Job) -> None:
        if self._gathered is None:
            self._jobs.put([job])
        else:
            self._gathered.append(job)

    def _gather(self) -> None:
        """Hold jobs back until the tasks that were just woken have run.

        So everything that they append next is one commit. A thread that took the first job at once
        would commit that job alone, and compete with the loop for the interpreter meanwhile.
        """
        self._gathered = []
        # The second call is made in the pass after the one that runs those tasks.
        self._tell(self._tell, self._hand_over)

    def _hand_over(self) -> None:
        if self._gathered:
            self._jobs.put(self._gathered)
        self._gathered = None

    async def run(self, change: Callable[[Txn, Tables], T]) -> T:
        """Commit `change` in its turn, and return what it returns. Cannot be cancelled.

        Raises:
            StorePaused: the disk does not take it.
            StoreError: it met damage, or failed in another way. Nothing was written.
        """
        job = _Change(change, trio.Event())
        self._enqueue(job)
        with trio.CancelScope(shield=True):
            await job.done.wait()
        if job.error is not None:
            raise job.error
        return job.results[0]

    def run_unheard(self, change: Callable[[Txn, Tables], None]) -> None:
        """Commit `change` in its turn, if that is possible. Return at once; errors are dropped."""
        if self.paused is None:
            self._enqueue(_Change(change, trio.Event()))

    async def resumed(self) -> None:
        """Wait while the log is paused. No checkpoint if it is not."""
        while self.paused is not None:
            if self._resumed is None:
                self._resumed = trio.Event()
            await self._resumed.wait()

    async def close(self) -> None:
        """Commit what is queued, and end the thread."""
        self._hand_over()
        self._jobs.put(None)
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._thread.join)

    def _settle(self, group: list[_Job]) -> None:
        written: set[SessionId] = set()
        for job in group:
            if isinstance(job, _Change):
                job.done.set()
                continue
            self.backpressure.give_back(job.size)
            if isinstance(job.fate, Stored):
                written.add(job.session)
            else:
                self._eras[job.session] = job.era + 1
            job.ticket.settle(job.fate)
        for session in written:
            self.notifier.notify(session)
        if len(group) > 1 and self._gathered is None:
            self._gather()
        self._wake()

    def _wake(self) -> None:
        if self._resumed is not None and self.paused is None:
            self._resumed.set()
            self._resumed = None

    # --- in the writer's thread -----------------------------------------------------------

    def _run(self) -> None:
        closing = False
        while not closing:
            group, closing = self._collect()
            if group:
                self._commit(group)
                self._tell(self._settle, group)
            elif not closing:
                self._probe()

    def _collect(self) -> tuple[list[_Job], bool]:
        """Wait for work; return all of it that fits one transaction, and whether to end."""
        group: list[_Job] = []
        size = records = 0
        patience = None if self.paused is None else PROBE_INTERVAL_S
        while size < GROUP_BYTES and records < GROUP_RECORDS:
            if not self._taken:
                try:
                    jobs = self._jobs.get(block=not group, timeout=patience)
                except Empty:
                    break
                if jobs is None:
                    return group, True
                self._taken.extend(jobs)
            job = self._taken.popleft()
            group.append(job)
            if isinstance(job, _Append):
                size += job.size
                records += len(job.batch.records)
        return group, False

    def _probe(self) -> None:
        try:
            self.environment.probe()
        except (StoreError, lmdb.Error) as error:
            self.paused = str(error)
        else:
            self._resume()
            self._tell(self._wake)

    def _resume(self) -> None:
        if self.paused is None:
            return
        with suppress(OSError):  # the disk does not answer: stay paused, and ask again later
            if self.environment.free_bytes() >= RESUME_BYTES:
                self.paused = None

    def _tell(self, call: Callable[..., None], *args: object) -> None:
        """Have the trio thread call this. Nothing happens after trio has ended."""
        with suppress(trio.RunFinishedError):
            self._trio.run_sync_soon(call, *args)

    def _commit(self, group: list[_Job]) -> None:
        if self.paused is not None and all(isinstance(job, _Append) for job in group):
            self._refuse_paused(group, self.paused)
            return
        packed: Packed = {}
        try:
            self.environment.write(lambda txn: self._apply(txn, group, packed))
        except CommitUncertain as error:
            self.paused = str(error)
            self._fail(group, Unknown(str(error)), StorePaused, pause_text(self.paused))
        except Exception as error:  # nothing is written; the thread must outlive any bug
            self._undone(group, error)
        else:
            self._resume()
            for job in group:
                if isinstance(job, _Append) and not isinstance(job.fate, Stored):
                    self._failed[job.session] = job.era

    def _apply(self, txn: Txn, group: list[_Job], packed: Packed) -> None:
        """Write all of `group`. Called again, from the start, when the map has grown."""
        if self.paused is not None:
            self.environment.touch(txn)
        failed = dict(self._failed)
        tables = self.environment.tables
        for job in group:
            if isinstance(job, _Change):
                _apply_change(txn, tables, job)
                continue
            if failed.get(job.session, -1) >= job.era:
                job.fate = Refused("an append before it failed")
            else:
                job.fate = append_batch(
                    txn,
                    tables,
                    self.engine,
                    job.session,
                    job.batch,
                    fence=job.fence,
                    packed=packed,
                )
            if not isinstance(job.fate, Stored):
                failed[job.session] = job.era

    def _undone(self, group: list[_Job], error: Exception) -> None:
        """Find out which jobs the error concerns that kept `group` from being written."""
        if _concerns_all(error):
            self.paused = _described(error)
            self._refuse_paused(group, self.paused)
        elif len(group) > 1:
            for job in group:
                self._commit([job])
        else:
            why = f"{_described(error).removesuffix('.')}. `turnlog doctor` reports more."
            self._fail(group, Refused(why), partial(StoreError, ErrorCode.STORE_ERROR), why)

    def _refuse_paused(self, group: list[_Job], paused: str) -> None:
        why = pause_text(paused)
        self._fail(group, Refused(why), StorePaused, why)

    def _fail(
        self,
        group: list[_Job],
        fate: Refused | Unknown,
        kind: Callable[[str], StoreError],
        why: str,
    ) -> None:
        """Give `fate`, or an error, to what would have been written. Refusals stay as they are."""
        for job in group:
            if isinstance(job, _Change):
                job.error = job.error or kind(why)
                continue
            if not isinstance(job.fate, Refused):
                job.fate = fate
            self._failed[job.session] = job.era


def _apply_change(txn: Txn, tables: Tables, job: _Change[Any]) -> None:
    job.results, job.error = [], None
    try:
        job.results.append(job.change(txn, tables))
    except TurnlogError as error:
        job.error = error


def _concerns_all(error: Exception) -> bool:
    """Return whether an error belongs to the disk or the whole store, and not to one job."""
    if isinstance(error, OSError):
        return error.errno in DISK_ERRORS
    if isinstance(error, PageDamaged):
        return False
    return isinstance(error, (StorePaused, StoreDamaged, lmdb.Error))


def _described(error: Exception) -> str:
    return str(error) if isinstance(error, StoreError) else f"{type(error).__name__}: {error}"


def pause_text(why: str) -> str:
    """Return a text: the log is paused, and what ends that. `why` may say both itself."""
    if why.endswith("."):
        return f"the log takes no writes: {why}"
    advice = advice_in(why) or "Free some space on its disk."
    return f"the log takes no writes: {why}. {advice} Writing then resumes."
