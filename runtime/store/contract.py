"""What every store does alike: which batches it takes, what a page and a new fork are. Pure."""

from collections.abc import Iterable
from typing import Final

import msgspec

from turnlog.actors.ports import Batch, Head
from turnlog.protocol.envelope import GENESIS, chain, read_envelope
from turnlog.protocol.ids import SessionId
from turnlog.protocol.summary import SessionSummary

MAX_RECORDS: Final = 4096  # in one batch
MAX_PAGE: Final = 10_000  # events that one read returns: an old reader keeps old pages alive
SNAPSHOT_SPAN: Final = 1000  # events before the newest snapshot; each span before is twice as long
SHOWN_MATCHES: Final = 10  # of an ambiguous prefix
_LIVE_US: Final = 600 * 1_000_000  # what began so shortly ago begins now
_LAST_PLACE: Final = (1 << 64) - 1
EMPTY_HEAD: Final = Head(0, GENESIS, 0)


def fork_summary(
    parent: SessionSummary, session: SessionId, *, origin: SessionId, cut: int
) -> SessionSummary:
    """Return the row that a fork has until its first step writes its own."""
    return msgspec.structs.replace(parent, session=session, parent=origin, cut=cut, status="idle")


def placed(
    summary: SessionSummary, before: SessionSummary, newest: int, now_us: int
) -> SessionSummary:
    """Return a session's row with its place among the others.

    A turn that begins now comes after all that have begun, even if the clock was set back since.
    An imported session keeps the place of its own time.

    Args:
        before: the row that it replaces.
        newest: the greatest place of all other sessions.
        now_us: what the clock says, in microseconds.
    """
    if summary.updated_us == before.updated_us:
        recency = before.recency
    elif newest >= summary.updated_us and abs(now_us - summary.updated_us) < _LIVE_US:
        recency = min(newest + 1, _LAST_PLACE)
    else:
        recency = 0
    return msgspec.structs.replace(summary, recency=recency)


def last_of_page(after: int, until: int | None, limit: int, head: int) -> int:
    """Return the sequence of the last event that a read returns. Below `after`: none."""
    return min(head if until is None else min(until, head), after + min(limit, MAX_PAGE))


def surplus_snapshots(sequences: Iterable[int]) -> list[int]:
    """Return the snapshots of a session that need not be kept, of those at `sequences`, ascending.

    The older they are, the wider apart: in each span of the log, counted from the newest, the first
    and the last stay. So there are few, and the state n events before the newest one is folded from
    a snapshot at most about 4n events before it.
    """
    spans: dict[int, list[int]] = {}
    newest = max(sequences := tuple(sequences), default=0)
    for sequence in sequences:
        spans.setdefault(((newest - sequence) // SNAPSHOT_SPAN).bit_length(), []).append(sequence)
    return [sequence for span in spans.values() for sequence in span[1:-1]]


def follow_on(head: Head, session: SessionId, batch: Batch) -> Head | str:
    """Return the head after `batch`, or why the batch does not follow `head`.

    Checks sequence, chain and time, so that what is stored can always be read back.
    """
    if not 1 <= len(batch.records) <= MAX_RECORDS:
        return f"a batch has 1 to {MAX_RECORDS} records, not {len(batch.records)}"
    if batch.summary and batch.summary.session != session:
        return f"its row is another session's: {batch.summary.session}"
    sequence, digest, time_us = head.sequence, head.digest, head.time_us
    for record in batch.records:
        sequence += 1
        if record.sequence != sequence:
            return f"event {record.sequence} is not next: the head is at {head.sequence}"
        digest = chain(digest, record.data)
        if record.digest != digest:
            return f"event {sequence} is not chained to the event before it"
        try:
            envelope = read_envelope(record.data)
        except msgspec.MsgspecError as error:
            return f"event {sequence} has no readable envelope: {error}"
        if envelope.sequence != sequence:
            return f"the envelope of event {sequence} says {envelope.sequence}"
        if envelope.time_us < time_us:
            return f"event {sequence} is older than the event before it"
        time_us = envelope.time_us
    return Head(sequence, digest, time_us)
