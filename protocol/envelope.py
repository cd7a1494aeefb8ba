"""How an event is stored in the log: an envelope that decodes alone, then the event.

An event of an unknown kind is kept as bytes. Large texts are cut out of the event, stored once by
their digest, and put back when the event is read. Every event carries a digest that is chained over
all events before it. So equal prefixes have equal digests, and one changed byte is found.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b, sha256
from typing import Final, Literal, cast, get_args

import msgspec
from msgspec import Raw, Struct

from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import StoreTooNew, UsageError
from turnlog.protocol.events import Decision, Fact, SessionDecision, SessionEvent, SessionFact

SCHEMA: Final = 1
BLOB_THRESHOLD: Final = 2048  # bytes: a longer text is stored apart
GENESIS: Final = bytes(16)  # the digest before the first event

Digest = bytes  # 16 bytes in the chain, 32 for a blob
Role = Literal["fact", "decision"]
_DECISION: Final = 1
_IGNORABLE: Final = 2
_BLOB_EXT: Final = 1
_BLOB_MARK: Final = b"\xc7\x20\x01"  # msgpack's head of such an extension of 32 bytes


class Envelope(Struct, frozen=True, array_like=True, gc=False):
    """What surrounds each event."""

    schema: int
    sequence: int  # dense within a session, from 1
    time_us: int  # Unix time; never runs backwards within a session
    flags: int  # 1: decision, 2: a reader that does not know the kind may skip it
    kind: int
    cause: int  # sequence of the fact that a decision answers; a fact's own is 0
    turn: int  # 0: outside of any turn
    body: Raw
    blobs: tuple[bytes, ...] = ()  # digests of what was cut out of the body


class UnknownEvent(Struct, frozen=True):
    """An event of a newer release, kept verbatim."""

    kind: int
    ignorable: bool
    body: bytes  # msgpack
    blobs: tuple[Digest, ...] = ()  # what was cut out of the body


class Recorded(Struct, frozen=True, gc=False):
    """One event of a session, as a reader gets it."""

    sequence: int
    time_us: int
    role: Role
    cause: int
    turn: int
    digest: bytes
    event: SessionEvent | UnknownEvent

    @property
    def kind(self) -> str:
        """The event's name, such as `model_asked`."""
        if isinstance(self.event, UnknownEvent):
            return f"unknown_{self.event.kind}"
        return KIND_NAMES[type(self.event)]


class Record(Struct, frozen=True, gc=False):
    """One event on its way to the store."""

    sequence: int
    digest: bytes
    data: bytes  # the envelope
    blobs: Mapping[bytes, bytes]


class EncodedEvent(Struct, frozen=True, gc=False):
    """An event as bytes: what a mailbox carries is what the log keeps."""

    body: bytes
    blobs: Mapping[bytes, bytes]


def _tag(kind: type[Struct]) -> int:
    tag = kind.__struct_config__.tag
    assert isinstance(tag, int)  # every event declares one
    return tag


EVENT_TYPES: Final[dict[int, type[Fact | Decision]]] = {
    _tag(kind): kind for kind in get_args(SessionEvent)
}
_TAGS: Final[dict[type, int]] = {kind: tag for tag, kind in EVENT_TYPES.items()}
KIND_NAMES: Final[dict[type, str]] = {
    kind: re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower() for kind in EVENT_TYPES.values()
}
# (schema, kind) -> a pure function on the body's plain list, one schema upwards.
Upcaster = Callable[[list[object]], list[object]]
UPCASTERS: Final[dict[tuple[int, int], Upcaster]] = {}

_encode: Final = msgspec.msgpack.Encoder().encode
_decode_event: Final[Callable[[bytes | Raw], SessionEvent]] = msgspec.msgpack.Decoder(
    SessionEvent
).decode
_decode_fact: Final[Callable[[bytes | Raw], SessionFact]] = msgspec.msgpack.Decoder(
    SessionFact
).decode
_decode_envelope: Final = msgspec.msgpack.Decoder(Envelope).decode
_NO_BLOBS: Final[Mapping[bytes, bytes]] = {}


def encode_event(event: SessionEvent) -> EncodedEvent:
    """Return `event` as bytes. Texts of more than `BLOB_THRESHOLD` bytes are apart."""
    body = _encode(event)
    if len(body) <= BLOB_THRESHOLD:
        return EncodedEvent(body, _NO_BLOBS)
    blobs: dict[bytes, bytes] = {}
    plain = _cut(msgspec.msgpack.decode(body), blobs)
    return EncodedEvent(_encode(plain), blobs) if blobs else EncodedEvent(body, _NO_BLOBS)


def encode_fact(fact: SessionFact) -> EncodedEvent:
    """Return a fact as bytes. Decoding them gives an equal fact, so the session can read it.

    Raises:
        UsageError: a value in it is not what its type says, or cannot be stored.
    """
    try:
        encoded = encode_event(fact)
        decode_fact(encoded)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise _invalid(fact, error) from error
    return encoded


def require_storable(decision: SessionDecision) -> None:
    """Check that the log will give a decision back as it is: about 1 us.

    Raises:
        UsageError: it would not, since a value in it is not what its type says.
    """
    try:
        same = _decode_event(_encode(decision)) == decision
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise _invalid(decision, error) from error
    if not same:
        raise _invalid(decision, "it would be read back otherwise")


def _invalid(event: SessionEvent, why: object) -> UsageError:
    text = f"{why}".encode(errors="replace").decode()
    return UsageError(
        ErrorCode.EVENT_INVALID, f"{KIND_NAMES[type(event)]}: it cannot be stored: {text}"
    )


def decode_event(encoded: EncodedEvent) -> SessionEvent:
    """Return the event that `encode_event` was given."""
    return _decode_event(_filled(encoded.body, encoded.blobs) if encoded.blobs else encoded.body)


def decode_fact(encoded: EncodedEvent) -> SessionFact:
    """Return the fact that a message carries.

    Raises:
        msgspec.ValidationError: it is a decision, which nobody may send.
    """
    return _decode_fact(_filled(encoded.body, encoded.blobs) if encoded.blobs else encoded.body)


def _cut(value: object, blobs: dict[bytes, bytes]) -> object:
    """Return `value` with its large texts in `blobs`. Lists and maps are changed in place."""
    whole = value
    match value:
        case str():
            if 4 * len(value) > BLOB_THRESHOLD and len(data := value.encode()) > BLOB_THRESHOLD:
                digest = sha256(data).digest()
                blobs[digest] = data
                return msgspec.msgpack.Ext(_BLOB_EXT, digest)
        case list():
            for index, item in enumerate(items := cast(list[object], value)):
                items[index] = _cut(item, blobs)
        case dict():
            for key, item in (pairs := cast(dict[object, object], value)).items():
                pairs[key] = _cut(item, blobs)
        case _:
            pass
    return whole


def _filled(body: bytes | Raw, blobs: Mapping[bytes, bytes]) -> bytes:
    """Return a body with its large texts put back.

    The mark of a cut is no valid UTF-8, so no text can hold it.
    """
    filled = bytes(body)
    for digest, text in blobs.items():
        size = len(text)
        head = b"\xda" + size.to_bytes(2) if size < 1 << 16 else b"\xdb" + size.to_bytes(4)
        filled = filled.replace(_BLOB_MARK + digest, head + text)
    return filled


def chain(previous: Digest, data: bytes) -> Digest:
    """Return the digest of a stream that `data` is appended to."""
    return blake2b(data, key=previous, digest_size=16).digest()


def seal(
    event: SessionEvent,
    *,
    sequence: int,
    time_us: int,
    cause: int,
    turn: int,
    previous: Digest,
    encoded: EncodedEvent | None = None,
) -> Record:
    """Return the record of `event`, chained to the event before it.

    Args:
        previous: digest of the event before; `GENESIS` for the first.
        encoded: the event's bytes, where they are at hand: a fact keeps those it came in.
    """
    encoded = encoded or encode_event(event)
    role: Role = "decision" if isinstance(event, Decision) else "fact"
    flags = flags_of(role, ignorable=event.ignorable)
    kind = _TAGS[type(event)]
    body, blobs = Raw(encoded.body), tuple(encoded.blobs)
    data = _encode(Envelope(SCHEMA, sequence, time_us, flags, kind, cause, turn, body, blobs))
    return Record(sequence, chain(previous, data), data, encoded.blobs)


def reseal(recorded: Recorded, *, previous: Digest) -> Record:
    """Return the record of an event that was read, chained to another one than before.

    The texts that were cut out of an unknown event are not in it.
    """
    event = recorded.event
    if not isinstance(event, UnknownEvent):
        return seal(
            event,
            sequence=recorded.sequence,
            time_us=recorded.time_us,
            cause=recorded.cause,
            turn=recorded.turn,
            previous=previous,
        )
    envelope = Envelope(
        SCHEMA,
        recorded.sequence,
        recorded.time_us,
        flags_of(recorded.role, ignorable=event.ignorable),
        event.kind,
        recorded.cause,
        recorded.turn,
        Raw(event.body),
        event.blobs,
    )
    data = _encode(envelope)
    return Record(recorded.sequence, chain(previous, data), data, _NO_BLOBS)


def flags_of(role: Role, *, ignorable: bool) -> int:
    """Return the flags of an envelope."""
    return (_DECISION if role == "decision" else 0) | (_IGNORABLE if ignorable else 0)


def read_envelope(data: bytes | memoryview) -> Envelope:
    """Return the envelope alone. Enough to list, count, skip and check.

    Raises:
        msgspec.MsgspecError: these bytes are not an envelope.
    """
    return _decode_envelope(data)


def unseal(data: bytes, digest: Digest, load: Callable[[Digest], bytes]) -> Recorded:
    """Return the event that a stored envelope holds.

    Args:
        load: gives a blob by its digest.

    Raises:
        msgspec.MsgspecError: these bytes are not an event.
        KeyError: `load` has no such blob.
    """
    envelope = _decode_envelope(data)
    role: Role = "decision" if envelope.flags & _DECISION else "fact"
    return Recorded(
        envelope.sequence,
        envelope.time_us,
        role,
        envelope.cause,
        envelope.turn,
        digest,
        _event_of(envelope, load),
    )


def _event_of(envelope: Envelope, load: Callable[[Digest], bytes]) -> SessionEvent | UnknownEvent:
    if envelope.kind not in EVENT_TYPES or envelope.schema > SCHEMA:
        return UnknownEvent(
            envelope.kind,
            bool(envelope.flags & _IGNORABLE),
            bytes(memoryview(envelope.body)),
            envelope.blobs,
        )
    if not envelope.blobs and envelope.schema == SCHEMA:
        return _decode_event(envelope.body)
    blobs = {digest: load(digest) for digest in envelope.blobs}
    if any((schema, envelope.kind) in UPCASTERS for schema in range(envelope.schema, SCHEMA)):
        plain = msgspec.msgpack.decode(_filled(envelope.body, blobs))
        for schema in range(envelope.schema, SCHEMA):
            if upcast := UPCASTERS.get((schema, envelope.kind)):
                plain = upcast(cast(list[object], plain))
        event: SessionEvent = msgspec.convert(plain, SessionEvent)
        return event
    return _decode_event(_filled(envelope.body, blobs) if blobs else envelope.body)


def require_known(records: Iterable[Recorded]) -> None:
    """Check that this release knows what a session is after `records`.

    Raises:
        StoreTooNew: one of them is of an unknown kind that changes what a session is.
    """
    for record in records:
        if isinstance(record.event, UnknownEvent) and not record.event.ignorable:
            raise StoreTooNew(found=SCHEMA + 1, known=SCHEMA)
