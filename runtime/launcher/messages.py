"""What an attendant and its engine tell each other. Pure.

They are the two ends of a SOCK_SEQPACKET socket: each message is one record, and the end of the
other side is an end of file.
"""

from __future__ import annotations

VARIABLE = "TURNLOG_CONTROL"  # names the attendant's descriptor; a command is never given it
MAX_MESSAGE = 65_536  # bytes

# From the engine.
STOP = b"stop"  # end the command: SIGTERM, a grace, SIGKILL
KILL = b"kill"  # end it at once

MOST_NAMED = 5  # processes of one call
_MAX_NAME = 80  # characters


class Started:
    """The command runs.

    Args:
        namespace: of the pids here: in a sandbox they may be others than outside.
        attendant: the attendant's pid.
        leader: the command's.
    """

    def __init__(self, namespace: int, attendant: int, leader: int) -> None:
        self.namespace = namespace
        self.attendant = attendant
        self.leader = leader


class Refused:
    """Nothing was run."""

    def __init__(self, why: str) -> None:
        self.why = why


class Ended:
    """The command is over. Nothing of it is left but `survivors`.

    Args:
        code: exit code of its leader, 128 + n for signal n.
        ended: how many processes still ran when the call was over, and were ended with it.
        names: of the first of these, `MOST_NAMED` at most.
        survivors: pids that SIGKILL has not ended yet: in an uninterruptible wait, or another
            user's. The attendant still waits for them.
    """

    def __init__(
        self,
        code: int,
        ended: int = 0,
        names: tuple[str, ...] = (),
        survivors: tuple[int, ...] = (),
    ) -> None:
        self.code = code
        self.ended = ended
        self.names = names
        self.survivors = survivors


def encode(message: Started | Refused | Ended) -> bytes:
    """Return a message as one record."""
    if isinstance(message, Started):
        words = ["started", *map(str, (message.namespace, message.attendant, message.leader))]
    elif isinstance(message, Refused):
        words = ["refused", message.why]
    else:
        survivors = " ".join(map(str, message.survivors))
        words = ["ended", str(message.code), str(message.ended), survivors, *message.names]
    return "\0".join(words).encode("utf-8", "replace")[:MAX_MESSAGE]


def decode(record: bytes) -> Started | Refused | Ended | None:
    """Return the message; None if it is not one of ours."""
    kind, *words = record.decode("utf-8", "replace").split("\0")
    try:
        if kind == "started":
            return Started(*map(int, words))
        if kind == "refused":
            return Refused(words[0])
        if kind == "ended":
            code, ended, survivors, *names = words
            pids = tuple(map(int, survivors.split()))
            return Ended(int(code), int(ended), tuple(map(clean, names[:MOST_NAMED])), pids)
    except (ValueError, IndexError, TypeError):
        pass
    return None


def clean(name: str) -> str:
    """Return a name on one line, bounded and printable, since a process chooses its own name."""
    line = "".join(letter if letter.isprintable() else " " for letter in name).strip()
    return line if len(line) <= _MAX_NAME else line[: _MAX_NAME - 1] + "…"
