"""What leads to one command: its output, and the socket over which its attendant is spoken to."""

import fcntl
import os
import select
import socket
import subprocess
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

import attrs
import trio

from turnlog.runtime.launcher.messages import MAX_MESSAGE, Ended, Refused, Started, decode

CHUNK: Final = 65_536  # bytes; what a pipe holds by default
_MOST_IN_A_PIPE: Final = 1 << 20  # bytes; a user may make a pipe as large as this
_LEAST_CONTROL: Final = 10  # lower numbers may be redirected by a shell on the way


@attrs.define(eq=False)
class Channel:
    """The engine's ends of it, and the command's until it has started."""

    output: int
    stdin_of_command: int  # a descriptor, or subprocess.DEVNULL
    output_of_command: int
    control_of_command: int
    _control: int
    _ready: select.epoll
    _of_command: ExitStack

    def release(self) -> None:
        """Close the command's ends: it has its own now, or never will."""
        self._of_command.close()

    def follow(self, pidfd: int) -> None:
        """Wait for the end of a process, too."""
        for descriptor in (pidfd, self.output, self._control):
            self._ready.register(descriptor, select.EPOLLIN)

    def forget(self, descriptor: int) -> None:
        """Wait for `descriptor` no longer: it is at its end."""
        self._ready.unregister(descriptor)

    async def wait(self) -> list[int]:
        """Wait until something can be read; return the descriptors."""
        await trio.lowlevel.wait_readable(self._ready.fileno())
        return [descriptor for descriptor, _ in self._ready.poll(0)]

    def tell(self, message: bytes) -> None:
        """Send a message to the attendant, which may be gone. Never waits."""
        with suppress(OSError):
            os.write(self._control, message)

    def hear(self) -> Started | Refused | Ended | None:
        """Return the attendant's next message, if one is there.

        Raises:
            EOFError: there will be no more.
        """
        while True:
            try:
                record = os.read(self._control, MAX_MESSAGE)
            except BlockingIOError:
                return None
            except OSError as error:  # it was killed before it had read all of ours
                raise EOFError from error
            if not record:
                raise EOFError
            if (message := decode(record)) is not None:
                return message

    def is_control(self, descriptor: int) -> bool:
        """Say whether a descriptor is the engine's end of the control socket."""
        return descriptor == self._control

    def drain(self) -> bytes:
        """Return what still is in the output's pipe."""
        pieces: list[bytes] = []
        with suppress(BlockingIOError):
            while sum(map(len, pieces)) < _MOST_IN_A_PIPE and (
                piece := os.read(self.output, CHUNK)
            ):
                pieces.append(piece)
        return b"".join(pieces)


@contextmanager
def open_channel(stdin: bytes) -> Generator[Channel]:
    """Open a channel to a command that reads `stdin`; close what is left open of it at the end.

    Everything is opened here, before the command starts: a lack costs this one command.

    Raises:
        OSError: no descriptor, or no memory, is left.
    """
    with ExitStack() as ours, ExitStack() as theirs:
        ready = ours.enter_context(select.epoll())
        output, their_output = os.pipe()
        ours.callback(os.close, output)
        theirs.callback(os.close, their_output)
        os.set_blocking(output, False)
        control, their_control = _socket_pair(theirs)
        ours.callback(os.close, control)
        their_stdin = _file_in_memory(stdin, theirs) if stdin else subprocess.DEVNULL
        yield Channel(output, their_stdin, their_output, their_control, control, ready, theirs)


def _socket_pair(theirs: ExitStack) -> tuple[int, int]:
    """Return our end, which never blocks, and the command's, which `theirs` closes."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with here, there:
        number = fcntl.fcntl(there.fileno(), fcntl.F_DUPFD_CLOEXEC, _LEAST_CONTROL)
        theirs.callback(os.close, number)
        here.setblocking(False)
        return here.detach(), number


def _file_in_memory(content: bytes, theirs: ExitStack) -> int:
    """Return a descriptor to read `content` from: no task has to feed it, whatever its size."""
    descriptor = os.memfd_create("turnlog-stdin")
    theirs.callback(os.close, descriptor)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)
        file.seek(0)
    return descriptor
