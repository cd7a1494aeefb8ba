"""Keys of the tables. All are bytes whose order is the order that readers want.

A session is 16 bytes, its UUID; a UUIDv7 sorts by time. A number is a big-endian u64.
"""

from functools import lru_cache
from hashlib import blake2b
from typing import Final
from uuid import UUID

from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import NotFound, UsageError, session_not_found
from turnlog.protocol.ids import SessionId

SESSION_BYTES: Final = 16
SEQUENCE_BYTES: Final = 8
_HEX_DIGITS: Final = frozenset("0123456789abcdef")


@lru_cache(4096)
def session_key(session: SessionId) -> bytes:
    """Return the 16 bytes of a session's UUID.

    Raises:
        NotFound: it is not a UUID in the form that we write, so no session can have it.
    """
    try:
        key = UUID(session)
    except ValueError:
        raise session_not_found(session) from None
    if str(key) != session:
        raise session_not_found(session)
    return key.bytes


def new_session_key(session: SessionId) -> bytes:
    """Return the key of a session that is about to be made.

    Raises:
        UsageError: the id is not a UUID.
    """
    try:
        return session_key(session)
    except NotFound:
        raise UsageError(
            ErrorCode.USAGE_ERROR, f"a session's id is a UUID in lower case, not {session!r}"
        ) from None


def session_of(key: bytes) -> SessionId:
    """Return the session that a key begins with."""
    return SessionId(str(UUID(bytes=key[:SESSION_BYTES])))


def event_key(session: bytes, sequence: int) -> bytes:
    """Return the key of an event, or of a snapshot of the state after it."""
    return session + sequence.to_bytes(8)


def sequence_of(key: bytes) -> int:
    """Return the sequence in the key of an event or a snapshot."""
    return int.from_bytes(key[SESSION_BYTES:])


def recent_key(updated_us: int, session: bytes) -> bytes:
    """Return a key that sorts by time: read backwards, the newest come first."""
    return updated_us.to_bytes(8) + session


def child_key(base: bytes, child: bytes) -> bytes:
    """Return the key of a fork under its base."""
    return base + child


def inbox_key(session: bytes, op_id: str) -> bytes:
    """Return the key of an op. Equal op ids have the same key; they may have any length."""
    return session + blake2b(op_id.encode(errors="surrogatepass"), digest_size=16).digest()


def inbox_end(place: bytes) -> bytes:
    """Return a key that sorts after all ops of the session that `place` belongs to."""
    return place[:SESSION_BYTES] + b"\xff" * 17


def first_key(prefix: str) -> bytes | None:
    """Return the lowest session key whose text may begin with `prefix`; None if none can."""
    digits = prefix.replace("-", "")
    if len(digits) > 2 * SESSION_BYTES or not set(digits) <= _HEX_DIGITS:
        return None
    return bytes.fromhex(digits.ljust(2 * SESSION_BYTES, "0"))
