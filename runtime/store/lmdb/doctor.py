"""What is wrong with a store, in words, and what can be put right.

`examine` reads and changes nothing. `repair` never removes an event of a session that is there:
it takes damaged sessions out of use, rebuilds indexes, and sweeps what nothing refers to.
"""

import os
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import msgspec
import trio

from turnlog.protocol.envelope import read_envelope
from turnlog.protocol.errors import StoreError
from turnlog.protocol.ids import SessionId
from turnlog.protocol.summary import SessionSummary
from turnlog.runtime.store.lmdb.environment import Environment
from turnlog.runtime.store.lmdb.inspection import Finding, Inspection, Kind
from turnlog.runtime.store.lmdb.keys import (
    SEQUENCE_BYTES,
    SESSION_BYTES,
    child_key,
    recent_key,
    session_key,
    session_of,
)
from turnlog.runtime.store.lmdb.log import LmdbLog
from turnlog.runtime.store.lmdb.rows import DIGEST_BYTES, encode, recent_place, row_of
from turnlog.runtime.store.lmdb.snapshots import drop_flawed
from turnlog.runtime.store.lmdb.suitability import DATA_FILE
from turnlog.runtime.store.lmdb.transactions import Txn
from turnlog.runtime.store.lmdb.views import Tables

ADVICE: Final[dict[Kind, str]] = {
    "access": "This says nothing of damage: it is a matter of permissions. Use turnlog as the user "
    "whom the store belongs to, or let this one read its folder and files.",
    "gone": "Nothing is left of it that could be repaired.",
    "file": "A repair moves what is sound into a new file, and keeps the old one. What the old one "
    "has lost is only in a backup.",
    "event": "What comes before it is intact: fork before it, or restore the store from a backup. "
    "A repair puts the session in quarantine, so that nothing is built upon the damage.",
    "row": "The events are what counts: fork the session at an earlier event, or restore the "
    "store from a backup.",
    "index": "A repair rebuilds the indexes from the sessions' rows.",
    "leftover": "A repair removes the rest.",
    "blob": "Events that refer to it cannot be read; they are listed, too, if there are any.",
    "op": "Nobody will answer it. Send it again to a session that is there.",
    "snapshot": "Nothing is lost: the session opens from its events. A repair drops the snapshot.",
}


@attrs.frozen
class Report:
    """What an examination has found."""

    sessions: int = 0
    events: int = 0
    unused_blobs: int = 0  # of deleted sessions; a sweep removes them
    unused_bytes: int = 0
    findings: tuple[Finding, ...] = ()
    is_writable: bool = True  # by this user, in this place

    @property
    def is_within_reach(self) -> bool:
        """Whether there is a store that this user can read, so that a repair can do something."""
        return all(finding.kind not in ("access", "gone") for finding in self.findings)

    @property
    def is_healthy(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def explain(self) -> str:
        """Return the report as text, a finding and its advice at a time."""
        counts = f"{_counted(self.sessions, 'session')}, {_counted(self.events, 'event')}: "
        found = "no damage" if self.is_healthy else _counted(len(self.findings), "finding")
        lines = [f"{counts}{found}."]
        for finding in self.findings:
            place = f"session {finding.session}" if finding.session else "the store"
            event = _events(finding)
            lines += [f"- {place}{event}: {finding.what}.", f"  {ADVICE[finding.kind]}"]
        if not self.is_writable:
            lines.append(
                "This user can read the store and not write it, so no session can be continued."
            )
        if self.unused_blobs:
            lines.append(
                f"{self.unused_blobs} stored texts ({self.unused_bytes} bytes) belong to no event "
                "any more. A repair removes them."
            )
        return "\n".join(lines)


def _events(finding: Finding) -> str:
    if finding.last:
        return f", events {finding.sequence} to {finding.last}"
    return f", event {finding.sequence}" if finding.sequence else ""


def examine(environment: Environment) -> Report:
    """Check all contents of an open store. Takes a second or so for 100,000 events."""
    return _report(Inspection(environment).run())


def _report(found: Inspection) -> Report:
    unused = found.unused_blobs
    return Report(
        found.sessions, found.events, len(unused), sum(unused.values()), tuple(found.findings)
    )


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def examine_path(path: Path) -> Report:
    """Check the pages of the store in `path`, then its contents. It may be in use.

    If pages are damaged, what can be salvaged is inspected, so that each session that has lost
    something is named.
    """
    try:
        environment = Environment.open(path, read_only=True)
    except StoreError as error:
        return Report(findings=(Finding(_kind_of(error, path), str(error).removesuffix(".")),))
    try:
        return attrs.evolve(_examine_open(environment), is_writable=_is_writable(path))
    finally:
        environment.close()


def _examine_open(environment: Environment) -> Report:
    flaws = environment.check_pages()
    if not flaws:
        return examine(environment)
    found = _report(Inspection(environment.salvaged()).run())
    pages = (Finding("file", f"{flaw.table}: {flaw.why}") for flaw in flaws)
    return attrs.evolve(found, findings=(*pages, *found.findings))


def _kind_of(error: StoreError, path: Path) -> Kind:
    """Return what kind of damage keeps a store from being opened."""
    if isinstance(error.__cause__, PermissionError):
        return "access"
    data = path / DATA_FILE
    return "file" if data.exists() and data.stat().st_size else "gone"


def _is_writable(path: Path) -> bool:
    return all(os.access(place, os.W_OK) for place in (path, path / DATA_FILE))


async def repair(log: LmdbLog) -> Report:
    """Repair what can be repaired, and return what was found before.

    Sweeping looks at all events within one write transaction, so that a text to which an append
    refers just now is not lost. Appends wait meanwhile, about a second for 500,000 events.

    Raises:
        StorePaused: the disk is full.
    """
    found = await trio.to_thread.run_sync(Inspection(log.environment).run)
    damaged: dict[SessionId, Finding] = {}
    for finding in found.findings:
        if finding.kind == "event" and finding.session and finding.sequence:
            damaged.setdefault(finding.session, finding)
    for session in damaged.keys() | found.quarantined:
        await log.commit(partial(_quarantine, session=session, damage=damaged.get(session)))
    if any(finding.kind == "index" for finding in found.findings):
        await log.commit(_rebuild_indexes)
    for finding in found.findings:
        if finding.kind == "leftover" and finding.session:
            await log.collect(session_key(finding.session))
    if any(finding.kind == "snapshot" for finding in found.findings):
        await log.commit(drop_flawed)
    if found.unused_blobs:
        await log.commit(_sweep)
    return _report(found)


def _quarantine(txn: Txn, tables: Tables, session: SessionId, damage: Finding | None) -> None:
    """Put a session in quarantine; without damage, lift it."""
    key = session_key(session)
    value = txn.get(key, db=tables.sessions)
    if value is None:
        return
    sequence, why = (damage.sequence, damage.what) if damage else (0, "")
    row = msgspec.structs.replace(row_of(key, value), damaged_at=sequence, damage=why)
    txn.put(key, encode(row), db=tables.sessions)


def _rebuild_indexes(txn: Txn, tables: Tables) -> None:
    """Rebuild the tables of recent sessions and of forks, from rows and summaries.

    A row that cannot be decoded is skipped. Its session stays a fork of the same base, so that the
    base keeps the events, and it stays in the list if it was there.
    """
    forks = [*txn.cursor(db=tables.children).iternext()]
    txn.drop(tables.recent, delete=False)
    txn.drop(tables.children, delete=False)
    unreadable: set[bytes] = set()
    for key, value in txn.cursor(db=tables.sessions).iternext():
        try:
            row = row_of(key, value)
        except StoreError:
            unreadable.add(key)
            is_listed = txn.get(key, db=tables.summaries) is not None
        else:
            is_listed = not row.deleted
            if row.base:
                cut = row.cut.to_bytes(SEQUENCE_BYTES)
                txn.put(child_key(row.base, key), cut, db=tables.children)
        if is_listed:
            txn.put(_sound_place(txn, tables, key), b"", db=tables.recent)
    for place, value in forks:
        if place[SESSION_BYTES:] in unreadable:
            txn.put(place, value, db=tables.children)


def _sound_place(txn: Txn, tables: Tables, key: bytes) -> bytes:
    """Return a session's place in the list; an unreadable summary gives way to an empty one."""
    place = recent_place(key, txn.get(key, b"", db=tables.summaries))
    if place is not None:
        return place
    summary = SessionSummary(session_of(key))
    txn.put(key, encode(summary), db=tables.summaries)
    return recent_key(summary.place, key)


def _sweep(txn: Txn, tables: Tables) -> None:
    """Remove the blobs that no event refers to; none while an event cannot be read."""
    used: set[bytes] = set()
    for value in txn.cursor(db=tables.events).iternext(keys=False, values=True):
        try:
            used.update(read_envelope(value[DIGEST_BYTES:]).blobs)
        except msgspec.MsgspecError:
            return
    digests = txn.cursor(db=tables.blobs).iternext(keys=True, values=False)
    for digest in [digest for digest in digests if digest not in used]:
        txn.delete(digest, db=tables.blobs)
