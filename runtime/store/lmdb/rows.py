"""What the tables hold besides events. Logs outlive releases: fields are only appended."""

from typing import Final

import msgspec
from msgspec import Struct

from turnlog.actors.ports import Head
from turnlog.protocol.envelope import GENESIS
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import StoreError
from turnlog.protocol.ops import Submission
from turnlog.protocol.summary import SessionSummary
from turnlog.runtime.store.lmdb.keys import recent_key, session_of

DIGEST_BYTES: Final = 16  # before the envelope, in an event's value
FORMAT: Final = 1  # of the tables; a higher one is a newer turnlog's


class SessionRow(Struct, frozen=True, array_like=True, gc=False):
    """The head of a session, and who may write it. Changes with each append."""

    sequence: int = 0
    digest: bytes = GENESIS
    time_us: int = 0
    fence: int = 0  # grows with each claim
    engine: bytes = b""  # who has claimed it; empty: nobody
    base: bytes = b""  # the session that holds its events up to `cut`; empty: no fork
    cut: int = 0
    deleted: bool = False  # kept for the events that forks refer to
    damaged_at: int = 0  # sequence; 0: not in quarantine
    damage: str = ""

    @property
    def head(self) -> Head:
        return Head(self.sequence, self.digest, self.time_us)


class InboxRow(Struct, frozen=True, array_like=True, gc=False):
    """An op that waits in a session's inbox."""

    arrival: int  # ascending within a session's inbox
    submission: Submission


encode: Final = msgspec.msgpack.Encoder().encode
decode_row: Final = msgspec.msgpack.Decoder(SessionRow).decode
decode_summary: Final = msgspec.msgpack.Decoder(SessionSummary).decode
decode_inbox: Final = msgspec.msgpack.Decoder(InboxRow).decode


def row_of(key: bytes, value: bytes) -> SessionRow:
    """Return the row of the session `key` from its stored bytes.

    Raises:
        StoreError: they cannot be decoded.
    """
    try:
        return decode_row(value)
    except msgspec.MsgspecError as error:
        raise _damaged("row", key, error) from error


def summary_of(key: bytes, value: bytes) -> SessionSummary:
    """Return the summary of the session `key` from its stored bytes.

    Raises:
        StoreError: they cannot be decoded.
    """
    try:
        return decode_summary(value)
    except msgspec.MsgspecError as error:
        raise _damaged("summary", key, error) from error


def recent_place(key: bytes, value: bytes) -> bytes | None:
    """Return where a session belongs among the recent ones, by the stored bytes of its summary.

    None: they cannot be decoded, or give a time that no key can hold.
    """
    try:
        return recent_key(decode_summary(value).place, key)
    except (msgspec.MsgspecError, OverflowError):
        return None


def _damaged(what: str, key: bytes, error: Exception) -> StoreError:
    return StoreError(
        ErrorCode.STORE_ERROR,
        f"the {what} of session {session_of(key)} is damaged: {error}. "
        "`turnlog doctor` reports more.",
    )
