"""Making sessions, and giving them a writer. Each function is one part of a write transaction.

All of them check before they write, so that an error leaves the transaction as it was.
"""

import msgspec

from turnlog.actors.ports import Claim
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import (
    LogDamaged,
    StoreError,
    UsageError,
    event_not_found,
    session_busy,
)
from turnlog.protocol.ids import SessionId
from turnlog.protocol.summary import SessionSummary
from turnlog.runtime.store.contract import fork_summary
from turnlog.runtime.store.lmdb.ancestry import holder_of
from turnlog.runtime.store.lmdb.appending import put_summary
from turnlog.runtime.store.lmdb.keys import (
    SEQUENCE_BYTES,
    child_key,
    event_key,
    new_session_key,
    session_key,
)
from turnlog.runtime.store.lmdb.lease import Lease
from turnlog.runtime.store.lmdb.pages import PageDamaged
from turnlog.runtime.store.lmdb.reading import digest_at, find_row, head_at
from turnlog.runtime.store.lmdb.rows import SessionRow, encode, row_of, summary_of
from turnlog.runtime.store.lmdb.transactions import Txn
from turnlog.runtime.store.lmdb.views import Tables


def create(txn: Txn, tables: Tables, lease: Lease, session: SessionId) -> Claim:
    """Make an empty session, claimed by this engine."""
    key = _new_key(txn, tables, session)
    _require_sound_end(txn, tables, session, sequence=0)
    row = SessionRow(fence=1, engine=lease.engine)
    txn.put(key, encode(row), db=tables.sessions)
    put_summary(txn, tables, key, SessionSummary(session))
    return Claim(session, row.fence, row.head)


def require_free(txn: Txn, tables: Tables, lease: Lease, session: SessionId) -> SessionRow:
    """Return the row of a session that no living engine holds."""
    row = find_row(txn, tables, session)
    holder = lease.holder(row.engine)
    if holder is not None:
        raise session_busy(session, holder)
    return row


def claim(txn: Txn, tables: Tables, lease: Lease, session: SessionId) -> Claim:
    """Make this engine the session's writer, with a new fence."""
    row = require_free(txn, tables, lease, session)
    if row.damaged_at:
        raise LogDamaged(session, row.damaged_at, f"it is in quarantine: {row.damage}")
    _require_sound_end(txn, tables, session, row.sequence)
    if digest_at(txn, tables, session_key(session), row, row.sequence) != row.digest:
        raise LogDamaged(session, row.sequence, "its row has another digest, or it is missing")
    row = msgspec.structs.replace(row, fence=row.fence + 1, engine=lease.engine)
    txn.put(session_key(session), encode(row), db=tables.sessions)
    return Claim(session, row.fence, row.head)


def _require_sound_end(txn: Txn, tables: Tables, session: SessionId, sequence: int) -> None:
    """Check the pages that the session's next event goes to.

    Raises:
        LogDamaged: LMDB must not be led there.
    """
    try:
        txn.check(tables.events, event_key(session_key(session), sequence + 1))
    except PageDamaged as damage:
        raise LogDamaged(session, max(sequence, 1), damage.short) from damage


def release(txn: Txn, tables: Tables, lease: Lease, claim: Claim) -> None:
    """Give a session up, unless somebody else has it by now."""
    key = session_key(claim.session)
    value = txn.get(key, db=tables.sessions)
    if value is None:
        return
    row = row_of(key, value)
    if row.engine == lease.engine and row.fence == claim.fence:
        txn.put(key, encode(msgspec.structs.replace(row, engine=b"")), db=tables.sessions)


def fork(txn: Txn, tables: Tables, parent: SessionId, cut: int, child: SessionId) -> None:
    """Make a session of references: a row, an index entry, a place in the list."""
    row = find_row(txn, tables, parent)
    if not 1 <= cut <= row.sequence:
        raise event_not_found(cut, row.sequence)
    key, parent_key = _new_key(txn, tables, child), session_key(parent)
    head = head_at(txn, tables, parent, row, cut)
    base = holder_of(txn, tables, parent_key, row, cut)
    summary = txn.get(parent_key, db=tables.summaries)
    if summary is None:
        raise StoreError(
            ErrorCode.STORE_ERROR, f"session {parent} has no summary. `turnlog doctor` repairs it."
        )
    parent_summary = summary_of(parent_key, summary)
    fork_row = SessionRow(head.sequence, head.digest, head.time_us, base=base, cut=cut)
    txn.put(key, encode(fork_row), db=tables.sessions)
    txn.put(child_key(base, key), cut.to_bytes(SEQUENCE_BYTES), db=tables.children)
    put_summary(txn, tables, key, fork_summary(parent_summary, child, origin=parent, cut=cut))


def _new_key(txn: Txn, tables: Tables, session: SessionId) -> bytes:
    key = new_session_key(session)
    if txn.get(key, db=tables.sessions) is not None:
        raise UsageError(
            ErrorCode.USAGE_ERROR, f"there is a session {session} already. Draw another id."
        )
    return key
