"""The lines of a rollout file, both forms of it, and what could not be read of it.

A line is one JSON object: `timestamp`, `type`, `payload`, and in the paginated form of newer
releases an `ordinal`, dense from 0. Releases up to about 0.98 wrote none. Nothing in a file is
fatal but that no line of it is a rollout's: files are torn by killed processes, mended by hand
and written by releases that are not known here.
"""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeGuard, cast

import attrs
import msgspec
from msgspec import Raw, Struct

from turnlog.protocol.errors import InputUnreadable, RolloutEmpty, RolloutInvalid
from turnlog.protocol.items import JsonText

MAX_FILE: Final = 512 << 20  # bytes; a rollout of 5,000 turns has about 64 MB

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UUID: Final = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_SESSION_IN_NAME: Final = re.compile(rf"({_UUID})\.jsonl$")
_IS_UUID: Final = re.compile(_UUID)


class Skipped(Struct, frozen=True):
    """A line that did not become a part of the session."""

    line: int  # from 1
    reason: str
    file: str


class Note(Struct, frozen=True):
    """Something that became a part of the session in another form than it has in the file."""

    line: int  # from 1; 0: not about one line
    text: str
    file: str


@attrs.frozen
class Line:
    """One line that could be read."""

    number: int  # from 1
    file: str
    time_us: int
    ordinal: int  # its own, or where it would have to be
    type: str
    payload: dict[str, Any]
    payload_json: JsonText  # verbatim
    metadata: dict[str, Any]


@attrs.define
class RolloutFile:
    """What a file holds. A fork's file begins where it left its parent."""

    name: str
    lines: list[Line] = attrs.field(factory=list[Line])
    skipped: list[Skipped] = attrs.field(factory=list[Skipped])
    notes: list[Note] = attrs.field(factory=list[Note])
    count: int = 0  # lines that are not blank
    is_paginated: bool = False

    @property
    def meta(self) -> dict[str, Any]:
        """The first `session_meta`; empty if that line is lost."""
        for line in self.lines:
            if line.type == "session_meta":
                return line.payload
        return {}

    @property
    def session(self) -> str | None:
        """The session's own id: of its first line, or of the file's name."""
        own = self.meta.get("id")
        if isinstance(own, str) and _IS_UUID.fullmatch(own):
            return own
        named = _SESSION_IN_NAME.search(self.name)
        return named.group(1) if named else None


class _RawLine(Struct):
    type: str
    payload: Raw
    timestamp: Any = None
    ordinal: Any = None
    metadata: Any = None


_decode: Final = msgspec.json.Decoder(_RawLine).decode


def read_rollout(path: Path) -> RolloutFile:
    """Read a rollout file.

    Raises:
        InputUnreadable: it cannot be read, or is over MAX_FILE bytes.
        RolloutEmpty: there is nothing in it.
        RolloutInvalid: not one of its lines is a rollout's.
    """
    return parse_rollout(read_bytes(path), str(path))


def read_bytes(path: Path) -> bytes:
    """Return the content of a file that should be imported.

    Raises:
        InputUnreadable: it cannot be read, or is over MAX_FILE bytes.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except (OSError, ValueError) as problem:  # ValueError: a NUL in the path
        why = problem.strerror if isinstance(problem, OSError) else problem
        raise InputUnreadable(f"{path} cannot be read: {why}.") from problem
    if len(data) > MAX_FILE:
        raise InputUnreadable(f"{path} is over {MAX_FILE >> 20} MiB, which is not imported.")
    return data


def parse_rollout(data: bytes, name: str) -> RolloutFile:
    """Return what the rollout in `data` holds; `name` is its file's.

    Raises:
        RolloutEmpty, RolloutInvalid: as `read_rollout`.
    """
    if not data.strip(b"\0 \t\r\n"):
        raise RolloutEmpty(f"{name} is empty: the process that was to write it had not begun.")
    reader = _Reader(RolloutFile(name))
    texts = data.split(b"\n")  # not `splitlines`: a text may hold U+2028
    for number, text in enumerate(texts, start=1):
        reader.take(number, text.strip(b"\0 \t\r"), is_last=number == len(texts))
    if not reader.file.lines:
        raise RolloutInvalid(
            f"{name} is no rollout: none of its {reader.file.count} lines is a JSON object with "
            "`timestamp`, `type` and `payload`."
        )
    return reader.file


@attrs.define
class _Reader:
    file: RolloutFile
    _seen: set[bytes] = attrs.field(factory=set[bytes])
    _last: bytes = b""
    _next: int | None = None  # the ordinal that is to come
    _time_us: int = 0

    def take(self, number: int, text: bytes, *, is_last: bool) -> None:
        if not text:
            return
        file = self.file
        file.count += 1
        read = _read_line(text)
        if read is None:
            torn = "torn: the file ends in the middle of it" if is_last else "no line of a rollout"
            file.skipped.append(Skipped(number, torn, file.name))
            return
        line, payload = read
        own = line.ordinal if isinstance(line.ordinal, int) else None
        if text == self._last or (own is not None and text in self._seen):
            file.skipped.append(Skipped(number, "a repetition of an earlier line", file.name))
            return
        self._last = text
        self._check_ordinal(number, own)
        if own is not None:
            self._seen.add(text)
        ordinal = own if own is not None else self._next or 0
        self._next = ordinal + 1
        metadata = line.metadata if is_object(line.metadata) else {}
        file.lines.append(
            Line(
                number,
                file.name,
                self._time(line.timestamp),
                ordinal,
                line.type,
                payload,
                bytes(line.payload).decode(errors="replace"),
                metadata,
            )
        )

    def _check_ordinal(self, number: int, own: int | None) -> None:
        file, expected = self.file, self._next
        if own is None:
            if file.is_paginated:
                file.notes.append(Note(number, "the ordinal is missing", file.name))
            return
        if expected is not None and own != expected and file.is_paginated:
            text = f"the ordinal is {own}, where {expected} was to come"
            file.notes.append(Note(number, text, file.name))
        file.is_paginated = True

    def _time(self, timestamp: object) -> int:
        self._time_us = time_us(timestamp) or self._time_us
        return self._time_us


def _read_line(text: bytes) -> tuple[_RawLine, dict[str, Any]] | None:
    """Return a line and its payload, or None if that is not what `text` holds."""
    try:
        line = _decode(text)
        payload: object = msgspec.json.decode(line.payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _read_loosely(text)
    return (line, payload) if is_object(payload) else None


def _read_loosely(text: bytes) -> tuple[_RawLine, dict[str, Any]] | None:
    """Read what strict JSON does not allow: half of a surrogate pair, which models do write."""
    try:
        whole: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not is_object(whole) or not isinstance(whole.get("type"), str):
        return None
    payload: object = whole.get("payload")
    if not is_object(payload):
        return None
    raw = Raw(json.dumps(payload, separators=(",", ":")).encode())
    rest = (whole.get(name) for name in ("timestamp", "ordinal", "metadata"))
    return _RawLine(whole["type"], raw, *rest), payload


def time_us(timestamp: object) -> int | None:
    """Return a time of RFC 3339 in microseconds of Unix time, or None if it is none."""
    if not isinstance(timestamp, str):
        return None
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1)


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Say whether a value of JSON is an object."""
    return isinstance(value, dict)


def objects(value: object) -> list[dict[str, Any]]:
    """Return the objects of a list of JSON; of anything else, none."""
    if not isinstance(value, list):
        return []
    return [item for item in cast(list[object], value) if is_object(item)]


def text_of(value: object) -> str:
    """Return a text of JSON; of anything else, the empty one."""
    return value if isinstance(value, str) else ""
