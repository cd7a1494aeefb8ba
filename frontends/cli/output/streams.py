"""The doors of this process: stdout and stderr, and stdin beside them.

All that commands print goes through here, whoever prints it. A terminal is sent nothing that it
would obey (see `terminal`); a file or a pipe gets every byte as it is. Nothing is lost where a
stream does not take it at once, and a stream that takes nothing more is told by its name.
"""

import io
import os
import select
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, cast

from turnlog.frontends.cli.errors import NobodyReads
from turnlog.frontends.cli.output.terminal import shown, verbatim
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import UsageError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STDIN: Final = 0
STDOUT: Final = 1
STDERR: Final = 2
_NAMES: Final = {STDOUT: "stdout", STDERR: "stderr"}


class Door(io.BufferedIOBase):
    """What is written here has left the process on return: there is no buffer.

    What stderr does not take is passed over: the work matters more than the remarks on it.
    """

    def __init__(self, descriptor: int, encoding: str) -> None:
        self._descriptor = descriptor
        self._target = descriptor  # where it leads; a pager's pipe instead of the terminal
        self._encoding = encoding
        self._is_terminal = os.isatty(descriptor)
        self._is_shut = False  # it took something badly; there is no second error
        self.styles: bool = self._is_terminal and _wants_styles()

    @property
    def name(self) -> str:
        return _NAMES[self._descriptor]

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return self._is_terminal

    def writable(self) -> bool:
        return True

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write all of `data`, and return its length in bytes.

        Raises:
            NobodyReads: stdout is a pipe without a reader. Told once, as the next one.
            UsageError: stdout takes nothing, such as a file on a full disk.
        """
        whole = bytes(data)
        if not self._is_shut:
            self._send(self._for_terminal(whole) if self._is_terminal else self._for_file(whole))
        return len(whole)

    @contextmanager
    def sent_to(self, target: int) -> Generator[None]:
        """Lead to a pager, which shows to the terminal what it is given."""
        self._target = target
        try:
            yield
        finally:
            sys.stdout.flush()
            self._target, self._is_shut = self._descriptor, False

    def _for_terminal(self, data: bytes) -> bytes:
        try:
            text = data.decode()
        except UnicodeDecodeError:
            text = data.decode(self._encoding, "replace")
        return shown(text, styles=self.styles).encode(self._encoding, "replace")

    def _for_file(self, data: bytes) -> bytes:
        return verbatim(data, styles=self.styles)

    def _send(self, data: bytes) -> None:
        try:
            _write_all(self._target, data)
        except OSError as error:
            self._is_shut = True
            if self._descriptor == STDERR:
                return
            if isinstance(error, BrokenPipeError):
                raise NobodyReads(error.errno, error.strerror) from None
            raise UsageError(
                ErrorCode.OUTPUT_UNWRITABLE, f"{self.name} cannot be written: {error.strerror}."
            ) from None


def open_doors() -> None:
    """Put the doors in the place of the interpreter's streams, for the rest of the process."""
    _hold_standard_streams()
    sys.stdout = _through_door(STDOUT, sys.stdout, errors="replace")
    sys.stderr = _through_door(STDERR, sys.stderr, errors="backslashreplace")


def send(descriptor: int, data: bytes) -> None:
    """Write all of `data` to stdout or stderr, from any thread.

    Raises:
        NobodyReads, UsageError: as `Door.write` says.
    """
    stream = sys.stdout if descriptor == STDOUT else sys.stderr
    stream.buffer.write(data)
    stream.buffer.flush()


def draws_on_stderr() -> bool:
    """Say whether stderr is a terminal that a line can be drawn on again and again."""
    door = sys.stderr.buffer
    return isinstance(door, Door) and door.isatty() and door.styles


def show_styles(wanted: bool) -> None:
    """Say whether stderr is sent our colours; otherwise a terminal is."""
    if isinstance(door := sys.stderr.buffer, Door):
        door.styles = wanted


def read_stdin(most: int) -> bytes:
    """Return what stdin has, at most so many bytes, once it has any; nothing at its end.

    Raises:
        OSError: it cannot be read.
    """
    while True:
        try:
            return os.read(STDIN, most)
        except BlockingIOError:
            _wait(STDIN, select.POLLIN)


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:  # it is shared with somebody who does not want to wait
            _wait(descriptor, select.POLLOUT)


def _wait(descriptor: int, event: int) -> None:
    poll = select.poll()
    poll.register(descriptor, event)
    poll.poll()


def _wants_styles() -> bool:
    """Say whether terminals are sent colours. Source: no-color.org, and terminfo's `dumb`."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"


def _hold_standard_streams() -> None:
    """Keep a closed 0, 1 or 2 from being given to the next file: it would get what is printed."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        pass
    os.close(descriptor)


def _through_door(descriptor: int, given: object, errors: str) -> io.TextIOWrapper:
    """Return a text stream through a new door, in the encoding that the interpreter has chosen."""
    before = cast("io.TextIOWrapper | None", given)  # None: it was closed
    encoding = "utf-8" if before is None else before.encoding
    door = Door(descriptor, encoding)
    return io.TextIOWrapper(
        door,
        encoding,
        errors,
        newline="\n",
        line_buffering=door.isatty() or descriptor == STDERR,
        write_through=before is not None and before.write_through,
    )
