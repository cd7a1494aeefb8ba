"""What the tests of the event log share: streams of events, and places that hold a store."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import attrs

from turnlog.actors.ports import Batch, EventLog, Head, Stored
from turnlog.protocol.envelope import GENESIS, Record, Recorded, chain, seal
from turnlog.protocol.events import OpReceived
from turnlog.protocol.ids import SessionId
from turnlog.protocol.ops import Submission, TextInput, UserTurn, prompt
from turnlog.protocol.summary import SessionSummary
from turnlog.runtime.store.contract import EMPTY_HEAD
from turnlog.runtime.store.lmdb.log import open_log
from turnlog.runtime.store.memory.log import MemoryLog, MemoryStore
from turnlog.runtime.store.waiting import QUEUE_BYTES


def new_session() -> SessionId:
    return SessionId(str(uuid4()))


def op(name: str, text: str = "hello") -> Submission:
    return Submission(name, prompt(text))


@attrs.define
class Stream:
    """Writes one session's events, as its actor would: each chained to the one before."""

    session: SessionId = attrs.field(factory=new_session)
    head: Head = EMPTY_HEAD

    def record(self, text: str) -> Record:
        sequence, time_us = self.head.sequence + 1, self.head.time_us + 1
        event = OpReceived(f"op-{sequence}", prompt(text))
        record = seal(
            event,
            sequence=sequence,
            time_us=time_us,
            cause=0,
            turn=0,
            previous=self.head.digest,
        )
        self.head = Head(sequence, record.digest, time_us)
        return record

    def batch(
        self,
        *texts: str,
        summary: SessionSummary | None = None,
        done_ops: tuple[str, ...] = (),
    ) -> Batch:
        return Batch(tuple(self.record(text) for text in texts), summary, done_ops)


def texts(events: list[Recorded]) -> list[str]:
    """Return what the events say that a Stream has written."""
    return [text_of(event) for event in events]


def text_of(event: Recorded) -> str:
    assert isinstance(event.event, OpReceived)
    assert isinstance(event.event.op, UserTurn)
    (item,) = event.event.op.items
    assert isinstance(item, TextInput)
    return item.text


def verify_chain(events: list[Recorded], records: list[Record]) -> None:
    """Check that `events` are `records`, which follow each other."""
    digest = GENESIS
    for event, record in zip(events, records, strict=True):
        digest = chain(digest, record.data)
        assert (event.sequence, event.digest) == (record.sequence, digest)


async def write(log: EventLog, stream: Stream, fence: int, *texts: str) -> None:
    """Append one batch of these texts, and wait until it is stored."""
    ticket = log.append(stream.session, stream.batch(*texts), fence=fence)
    assert await ticket.settled() == Stored()


async def start(log: EventLog, *texts: str) -> tuple[Stream, int]:
    """Create a session with these events, a batch each; return it and its fence."""
    stream = Stream()
    claim = await log.create(stream.session)
    for text in texts:
        await write(log, stream, claim.fence, text)
    return stream, claim.fence


class Place(Protocol):
    """Where a store is kept: it can be opened again and again, by one engine at a time."""

    def open(self, *, queue_bytes: int = QUEUE_BYTES) -> AbstractAsyncContextManager[EventLog]: ...


@attrs.define
class MemoryPlace:
    store: MemoryStore = attrs.field(factory=MemoryStore)

    @asynccontextmanager
    async def open(self, *, queue_bytes: int = QUEUE_BYTES) -> AsyncGenerator[MemoryLog]:
        log = MemoryLog(self.store, queue_bytes=queue_bytes)
        try:
            yield log
        finally:
            await log.aclose()


@attrs.define
class LmdbPlace:
    path: Path

    def open(self, *, queue_bytes: int = QUEUE_BYTES) -> AbstractAsyncContextManager[EventLog]:
        return open_log(self.path, queue_bytes=queue_bytes)
