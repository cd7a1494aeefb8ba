"""A rollout file for the import: its lines in order, and what could not be read of it.

No line is fatal, unless all are unreadable: files are torn by killed processes, edited by hand,
and written by releases that are not known here.
"""

import re
from pathlib import Path
from typing import Any, Final

import attrs
from msgspec import Struct

from turnlog.protocol.codex_rollout import MAX_FILE, RolloutLine, rollout_lines
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import UsageError
from turnlog.protocol.items import JsonText
from turnlog.protocol.json_values import is_object
from turnlog.protocol.times import time_us
from turnlog.runtime.input_file import read_input

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


def read_rollout(path: Path) -> RolloutFile:
    """Read a rollout file.

    Raises:
        UsageError: it cannot be read, or is over MAX_FILE bytes.
        UsageError: there is nothing in it.
        UsageError: not one of its lines is a rollout's.
    """
    return parse_rollout(read_input(path, limit=MAX_FILE), str(path))


def parse_rollout(data: bytes, name: str) -> RolloutFile:
    """Return what the rollout in `data` holds; `name` is its file's.

    Raises:
        UsageError: as `read_rollout`.
    """
    if not data.strip(b"\0 \t\r\n"):
        raise UsageError(
            ErrorCode.ROLLOUT_EMPTY,
            f"{name} is empty: the process that was to write it had not begun.",
        )
    reader = _LineReader(RolloutFile(name))
    last = data.count(b"\n") + 1
    for number, text, line in rollout_lines(data):
        reader.take(number, text, line, is_last=number == last)
    if not reader.file.lines:
        raise UsageError(
            ErrorCode.ROLLOUT_INVALID,
            f"{name} is no rollout: none of its {reader.file.count} lines is a JSON object with "
            "`timestamp`, `type` and `payload`.",
        )
    return reader.file


@attrs.define
class _LineReader:
    file: RolloutFile
    _seen: set[bytes] = attrs.field(factory=set[bytes])
    _last: bytes = b""
    _next: int | None = None  # the ordinal that is to come
    _time_us: int = 0

    def take(self, number: int, text: bytes, line: RolloutLine | None, *, is_last: bool) -> None:
        file = self.file
        file.count += 1
        if line is None:
            torn = "torn: the file ends in the middle of it" if is_last else "no line of a rollout"
            file.skipped.append(Skipped(number, torn, file.name))
            return
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
                line.payload,
                line.payload_json,
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
