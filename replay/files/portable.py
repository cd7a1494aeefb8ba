"""The portable form of a session: one file, self-contained, JSON lines that read well as a diff.

The first line is the header; each further line is one event, from the session's first on: a fork's
file holds its parent's events too. An event is the array that the log keeps, with names, and a
number for its kind, so that what a newer release wrote survives, and the digest of an old file
can be computed for ever, whatever has been appended to an event since.

The chain's head is in the header only: in each line, it would hide what a change changes.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal, Protocol, cast

import attrs
import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from turnlog.protocol.envelope import (
    EVENT_TYPES,
    GENESIS,
    SCHEMA,
    EncodedEvent,
    Envelope,
    Record,
    Recorded,
    Role,
    UnknownEvent,
    chain,
    decode_event,
    encode_event,
    flags_of,
    unseal,
)
from turnlog.protocol.errors import FileInvalid, StoreTooNew
from turnlog.protocol.events import Decision, SessionEvent, SessionForked, SessionStarted
from turnlog.protocol.ids import SessionId
from turnlog.protocol.version import VERSION

FORMAT: Final = 1
SUFFIX: Final = ".turnlog"  # of a file's name
_ROLES: Final[dict[int, Role]] = {
    tag: "decision" if issubclass(kind, Decision) else "fact" for tag, kind in EVENT_TYPES.items()
}
_NO_BLOBS: Final[Mapping[bytes, bytes]] = {}


class Header(Struct, frozen=True, omit_defaults=True):
    """What a file says of itself."""

    turnlog: int  # version of this format; its name tells what the file is
    session: SessionId
    engine: str  # turnlog's version, that wrote the file
    schema: int  # of the events
    events: int
    digest: str  # of the last event, chained over all that the file holds; hex
    parent: SessionId | None = None  # as information: the file holds the parent's events
    cut: int = 0
    origin_digest: str | None = None  # of the last event in its store, where that is another one
    redacted: bool = False


class EventLine(Struct, frozen=True, omit_defaults=True):
    """One event."""

    sequence: int
    time_us: int
    role: Role
    cause: int  # sequence of the fact that a decision answers; a fact's own is 0
    turn: int
    kind: str  # for people; the tag counts
    tag: int
    event: dict[str, Any] | UnsetType = UNSET  # in the order of the log's array
    ignorable: bool = False
    body: str | UnsetType = UNSET  # instead of `event`, of a kind without names: msgpack, base64
    blobs: list[str] = []  # what was cut out of the body, by digest, hex; it is not in this file


class PortableEvent(Struct, frozen=True, gc=False):
    """An event of a file: for a reader, for a store, and as a line of the file."""

    recorded: Recorded
    record: Record
    line: EventLine


class TextStream(Protocol):
    def write(self, text: str, /) -> object: ...


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder().decode
_encode_json: Final = msgspec.json.Encoder().encode
_decode_line: Final = msgspec.json.Decoder(EventLine).decode
_decode_header: Final = msgspec.json.Decoder(Header).decode


# --- writing ----------------------------------------------------------------------------------


def write_portable(
    records: Iterable[Recorded],
    stream: TextStream,
    *,
    session: SessionId | None = None,
    redacted: bool = False,
) -> Header:
    """Write a session, and return the header.

    What a newer release wrote is kept as it is; of a large text in it, the digest alone.

    Args:
        records: all events, from the first on; a fork's begin with its parent's.
        session: its id, where no event says it: a fork that has not yet begun.
        redacted: whether texts have been taken out of `records`.

    Raises:
        FileInvalid: there is no event, or none that says which session this is.
    """
    lines: list[EventLine] = []
    origin = b""
    started: SessionStarted | SessionForked | None = None
    for recorded in records:
        lines.append(event_line(recorded))
        origin = recorded.digest
        if isinstance(recorded.event, SessionStarted | SessionForked):
            started = recorded.event
    session = session or (started.session if started is not None else None)
    if session is None or not lines:
        raise FileInvalid("the session", 1, "empty", "it has no event that says which it is")
    header = Header(FORMAT, session, VERSION, SCHEMA, 0, "", redacted=redacted)
    if isinstance(started, SessionForked):
        header = msgspec.structs.replace(header, parent=started.parent, cut=started.cut)
    return write_lines(header, lines, stream, origin=None if redacted else origin)


def write_lines(
    header: Header, lines: Iterable[EventLine], stream: TextStream, *, origin: bytes | None = None
) -> Header:
    """Write a file of `lines`; return its header, with a new number of events and a new digest.

    Args:
        origin: digest of the last event in its store.
    """
    digest, texts = GENESIS, list[str]()
    for line in lines:
        data, _ = seal_line(line, header.schema)
        digest = chain(digest, data)
        texts.append(_encode_json(line).decode())
    header = msgspec.structs.replace(
        header,
        events=len(texts),
        digest=digest.hex(),
        origin_digest=origin.hex() if origin is not None and origin != digest else None,
    )
    for text in (_encode_json(header).decode(), *texts):
        stream.write(text + "\n")
    return header


def event_line(recorded: Recorded) -> EventLine:
    """Return an event as its line."""
    event = recorded.event
    line = EventLine(
        recorded.sequence,
        recorded.time_us,
        recorded.role,
        recorded.cause,
        recorded.turn,
        recorded.kind,
        0,
        ignorable=event.ignorable,
    )
    if isinstance(event, UnknownEvent):
        body, blobs = b64encode(event.body).decode(), [blob.hex() for blob in event.blobs]
        return msgspec.structs.replace(line, tag=event.kind, body=body, blobs=blobs)
    tag, *values = cast(list[Any], _decode(_encode(event)))
    named = dict(zip(type(event).__struct_encode_fields__, values, strict=True))
    return msgspec.structs.replace(line, tag=tag, event=named)


def seal_line(line: EventLine, schema: int) -> tuple[bytes, EncodedEvent]:
    """Return a line's envelope, which the chain goes over, and its event as the log keeps it."""
    if line.event is not UNSET:
        # Only its shape matters for the bytes, so that today's fields are not asked about.
        plain = cast(SessionEvent, [line.tag, *line.event.values()])
        encoded = encode_event(plain)
        digests = tuple(encoded.blobs)
    else:
        encoded = EncodedEvent(b64decode(line.body or "", validate=True), _NO_BLOBS)
        digests = tuple(bytes.fromhex(blob) for blob in line.blobs)
    flags = flags_of(line.role, ignorable=line.ignorable)
    envelope = Envelope(
        schema,
        line.sequence,
        line.time_us,
        flags,
        line.tag,
        line.cause,
        line.turn,
        Raw(encoded.body),
        digests,
    )
    return _encode(envelope), encoded


# --- reading ----------------------------------------------------------------------------------

Flaw = Literal[
    "empty", "header", "version", "torn", "json", "order", "time", "event", "count", "digest"
]
NO_SESSION: Final[frozenset[str]] = frozenset({"empty", "header", "version"})  # to speak of


@attrs.define
class PortableReader:
    """Reads a file's events one by one, once. Made by `read_portable`."""

    header: Header
    name: str
    _lines: Iterator[bytes]

    def __iter__(self) -> Iterator[PortableEvent]:
        """Yield the events; what precedes damage is good.

        Raises:
            FileInvalid: this line, or the file as a whole, is not what was written.
        """
        digest, time_us, sequence = GENESIS, 0, 0
        for number, text in enumerate(self._lines, 2):
            line = self._parsed(number, text)
            if line.sequence != sequence + 1:
                why = f"event {line.sequence} is where event {sequence + 1} should be"
                raise self._invalid(number, "order", why)
            if line.time_us < time_us:
                raise self._invalid(number, "time", "it is older than the event before it")
            event = self._event(number, line, digest)
            sequence, time_us, digest = line.sequence, line.time_us, event.record.digest
            yield event
        if sequence != (promised := self.header.events):
            why = f"the header promises {promised} events, and {sequence} are there"
            flaw: Flaw = "torn" if sequence < promised else "count"
            raise self._invalid(min(sequence, promised) + 2, flaw, why)
        if digest.hex() != self.header.digest:
            why = f"the events' digest is {digest.hex()}, and not the header's"
            raise self._invalid(1, "digest", why)

    def recorded(self) -> Iterator[Recorded]:
        """Yield the events alone; see `__iter__`."""
        return (event.recorded for event in self)

    def _parsed(self, number: int, text: bytes) -> EventLine:
        try:
            return _decode_line(text)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            if not text.endswith(b"\n"):
                raise self._invalid(number, "torn", "the file ends in the middle of it") from None
            raise self._invalid(number, "json", f"it is no event: {error}") from None

    def _event(self, number: int, line: EventLine, previous: bytes) -> PortableEvent:
        if (role := _ROLES.get(line.tag)) is not None and role != line.role:
            raise self._invalid(number, "event", f"a {line.kind} is a {role}, not a {line.role}")
        try:
            data, encoded = seal_line(line, self.header.schema)
            digest = chain(previous, data)
            recorded = self._recorded(line, data, digest, encoded)
        except (ValueError, KeyError, OverflowError) as error:  # msgspec's are ValueErrors
            raise self._invalid(number, "event", f"it is no {line.kind}: {error}") from None
        return PortableEvent(recorded, Record(line.sequence, digest, data, encoded.blobs), line)

    def _recorded(
        self, line: EventLine, data: bytes, digest: bytes, encoded: EncodedEvent
    ) -> Recorded:
        event: SessionEvent | UnknownEvent
        if line.blobs:  # their texts stayed where the file came from
            body, blobs = encoded.body, tuple(bytes.fromhex(blob) for blob in line.blobs)
            event = UnknownEvent(line.tag, line.ignorable, body, blobs)
        elif self.header.schema < SCHEMA or line.tag not in _ROLES:
            return unseal(data, digest, encoded.blobs.__getitem__)
        else:
            event = decode_event(encoded)
        return Recorded(
            line.sequence, line.time_us, line.role, line.cause, line.turn, digest, event
        )

    def _invalid(self, line: int, flaw: Flaw, why: str) -> FileInvalid:
        return FileInvalid(self.name, line, flaw, why)


def read_portable(lines: Iterable[bytes], *, name: str = "the file") -> PortableReader:
    """Read a file's header; the events are read as they are asked for.

    Args:
        lines: with their ends, as a file that was opened in binary gives them.
        name: of the file, for errors.

    Raises:
        FileInvalid: the first line is no header, or one of a later version of the format.
        StoreTooNew: the events are of a later schema.
    """
    iterator = iter(lines)
    first = next(iterator, b"")
    if not is_portable(first):
        why = "this is no turnlog file" if first.strip() else "the file is empty"
        raise FileInvalid(name, 1, "header" if first.strip() else "empty", why)
    version = _loose(first).get("turnlog")
    if version != FORMAT:
        why = f"this is version {version} of the format, and this turnlog knows version {FORMAT}"
        raise FileInvalid(name, 1, "version", why)
    try:
        header = _decode_header(first)
    except msgspec.MsgspecError as error:
        raise FileInvalid(name, 1, "header", f"this is no header: {error}") from None
    if header.schema > SCHEMA:
        raise StoreTooNew(header.schema, SCHEMA)
    return PortableReader(header, name, iterator)


def is_portable(first_line: bytes) -> bool:
    """Say, by its first line, whether a file claims to be a portable session."""
    return "turnlog" in _loose(first_line)


def _loose(line: bytes) -> dict[str, object]:
    try:
        found: object = msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return {}
    return cast(dict[str, object], found) if isinstance(found, dict) else {}
