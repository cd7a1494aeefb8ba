"""A splitter for server-sent events: bytes in, events out, in whatever pieces the bytes come.

Source: WHATWG HTML, "Server-sent events", event stream interpretation.
"""

from collections.abc import Iterator
from typing import Final

import attrs
from msgspec import Struct

MAX_EVENT_BYTES: Final = 64 * 1024 * 1024
_BOM: Final = b"\xef\xbb\xbf"


class SseEvent(Struct, frozen=True):
    """One event that has data."""

    name: str  # of its `event` field; empty if it had none
    data: str  # its `data` lines, joined by line feeds; invalid UTF-8 becomes U+FFFD


class EventTooLarge(Exception):
    """The stream holds an event larger than the splitter keeps. It cannot be read further."""


@attrs.define
class SseSplitter:
    """Splits one response's body. The events do not depend on where the chunks end.

    Lines end in LF, CRLF or CR; a byte order mark at the beginning is dropped; comments, `id`,
    `retry` and events without data are skipped; an event that no blank line ends is dropped.
    """

    max_event_bytes: int = MAX_EVENT_BYTES
    _partial: list[bytes] = attrs.field(factory=list[bytes], init=False)  # of an unfinished line
    _data: list[bytes] = attrs.field(factory=list[bytes], init=False)
    _name: bytes = attrs.field(default=b"", init=False)
    _size: int = attrs.field(default=0, init=False)  # bytes kept for the unfinished event
    _at_start: bool = attrs.field(default=True, init=False)
    _after_cr: bool = attrs.field(default=False, init=False)  # an LF would belong to that CR

    def feed(self, chunk: bytes) -> Iterator[SseEvent]:
        """Yield the events that `chunk` completes. Exhaust it before feeding the next chunk.

        Raises:
            EventTooLarge: an event has more than `max_event_bytes`.
        """
        if not chunk:
            return
        if self._after_cr:
            chunk = chunk.removeprefix(b"\n")
        self._after_cr = chunk.endswith(b"\r")
        for piece in chunk.splitlines(keepends=True):
            text = piece.rstrip(b"\r\n")
            self._partial.append(text)
            self._size += len(text)
            if self._size > self.max_event_bytes:
                raise EventTooLarge(f"an event has more than {self.max_event_bytes} bytes")
            if len(text) == len(piece):
                return  # the line continues in the next chunk
            line = b"".join(self._partial)
            self._partial.clear()
            if self._at_start:
                line = line.removeprefix(_BOM)
                self._at_start = False
            if line:
                self._take(line)
            else:
                yield from self._dispatch()

    def _take(self, line: bytes) -> None:
        field, _, value = line.partition(b":")
        if field == b"data":
            self._data.append(value.removeprefix(b" "))
        elif field == b"event":
            self._name = value.removeprefix(b" ")
        else:
            self._size -= len(line)  # nothing of it is kept

    def _dispatch(self) -> Iterator[SseEvent]:
        name, data = self._name, b"\n".join(self._data)
        self._data.clear()
        self._name, self._size = b"", 0
        if data:
            yield SseEvent(name.decode("utf-8", "replace"), data.decode("utf-8", "replace"))
