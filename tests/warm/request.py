"""What the tests ask of the warm interpreter, and how it is written on their socket."""

import os
import pickle
import socket
from typing import Final, NamedTuple

_LENGTH: Final = 8  # bytes before a request: how long it is
_CODE: Final = 4  # bytes: an exit code
_MOST_DESCRIPTORS: Final = 4


class Program(NamedTuple):
    """A program that is to run in a fork."""

    folder: str
    environment: dict[str, str]
    words: tuple[str, ...] = ()
    module: str = "turnlog"  # run as `python -m` does
    text: str | None = None  # run in place of the module, as `python -c` does
    leads_session: bool = False  # it begins a session of processes, so its group is its own
    in_terminal: bool = False  # its stdin is a terminal, which becomes its controlling one
    umask: int | None = None  # None: that of the tests
    user: int | None = None  # and group; None: those of the tests
    interpreter: str | None = None  # its `sys.executable`, for what it starts itself
    without: tuple[str, ...] = ()  # what `tests.surroundings.without` takes from it


class Given(NamedTuple):
    """What a fork is to have as its own."""

    stdin: int
    stdout: int
    stderr: int
    end: int  # not its own: the server writes there how it ended


def send_request(control: socket.socket, program: Program, given: Given) -> None:
    body = pickle.dumps(program)
    socket.send_fds(control, [len(body).to_bytes(_LENGTH)], given)
    control.sendall(body)


def receive_request(control: socket.socket) -> tuple[Program, Given] | None:
    """Return the next request; None once the other end is closed."""
    header, descriptors, _, _ = socket.recv_fds(control, _LENGTH, _MOST_DESCRIPTORS)
    if not header:
        return None
    left, body = int.from_bytes(header), b""
    while len(body) < left:
        body += control.recv(left - len(body))
    return pickle.loads(body), Given(*descriptors)


def send_process(control: socket.socket, pid: int) -> int:
    """Answer with a process; return a descriptor of it, which can be read once it has ended."""
    process = os.pidfd_open(pid)
    socket.send_fds(control, [pid.to_bytes(_LENGTH)], [process])
    return process


def receive_process(control: socket.socket) -> tuple[int, int]:
    """Return the id of the process that was started, and a descriptor of it."""
    pid, [process], _, _ = socket.recv_fds(control, _LENGTH, 1)
    return int.from_bytes(pid), process


def encode_code(code: int) -> bytes:
    """Return an exit code, or -N after signal N, in bytes."""
    return code.to_bytes(_CODE, signed=True)


def decode_code(told: bytes) -> int:
    assert len(told) == _CODE, "the warm interpreter has ended"
    return int.from_bytes(told, signed=True)
