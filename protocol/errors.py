"""One class for each thing that a caller can do about an error.

Every error has a `code` out of the list in `error_codes`. It is stable: scripts and clients match
on it, never on the text. The text says what happened, where, and what to do next.

* `TurnlogError`: catch it to handle them all
    * `UsageError`: the request itself is wrong; correct it
        * `FileInvalid`: a file is not what was written; restore it, or make it again
    * `NotFound`: nothing has this name; list what there is
    * `Busy`: another process works with it; follow, fork or wait
    * `Rejected`: it does not fit the session's state; resume, wait or interrupt
    * `Overloaded`: too much waits already; send it again later
    * `Failed`: it was begun and went wrong; look at what is left, then try again
    * `Unavailable`: this machine lacks what it takes; provide that
    * `RecordingMiss`: a recording does not hold what was asked of it; record again
    * `StoreError`: the event log cannot do it; the text says what to do
        * `StorePaused`: make room; writing then resumes
        * `StoreTooNew`: upgrade turnlog
        * `StoreDamaged`: read and export what is sound, then repair
            * `LogDamaged`: fork the session before the damage
        * `WriteLost`: resume the session, send the op again

Ports have typed failures of their own, which never leave the runtime: a model client raises
`ModelCallFailed`, a tool `CallRefused`. The test kit fails a test with an `AssertionError`.
"""

from collections.abc import Sequence
from typing import Final

from turnlog.protocol.error_codes import ErrorCode

_SHOWN_MATCHES: Final = 10  # sessions that an ambiguous name is answered with


class TurnlogError(Exception):
    """Base of every error that turnlog raises on purpose.

    Args:
        code: a value of `ErrorCode`; or the code that a log has of an error, which a newer
            turnlog may have written.
        text: what happened, where, and what to do next.
    """

    code: str

    def __init__(self, code: str, text: str) -> None:
        super().__init__(code, text)
        self.code = str(code)

    def __str__(self) -> str:
        return str(self.args[1])


class UsageError(TurnlogError):
    """The request itself is wrong. Nothing was done: correct it as the text says."""


class FileInvalid(UsageError):
    """A portable session file is not what was written. What comes before the line is good.

    Args:
        name: of the file.
        line: from 1.
        flaw: stable: empty, header, version, torn, json, order, time, event, count, digest.
        why: the rest of a sentence.
    """

    def __init__(self, name: str, line: int, flaw: str, why: str) -> None:
        advice = "Restore the file, or export (or record) the session once more."
        if flaw in ("empty", "header"):
            advice = "Name a file that `turnlog export` has written."
        super().__init__(ErrorCode.PORTABLE_INVALID, f"{name}, line {line}: {why}. {advice}")
        self.name = name
        self.line = line
        self.flaw = flaw
        self.why = why


class NotFound(TurnlogError):
    """No session, event, turn or question has this name. List what there is."""


class Busy(TurnlogError):
    """Another process works with the session. Follow it, fork it, or wait."""


class Rejected(TurnlogError):
    """It does not fit the session's state. Nothing was done: resume, wait or interrupt.

    For an op that the session refused, the code is that of the decision `op_refused`.
    """


class Overloaded(TurnlogError):
    """Too many ops wait for the session. Nothing was queued: send the op again later."""


class Failed(TurnlogError):
    """It was begun and went wrong. Look at what is left of it, then try again.

    For a turn that failed, the code is that of the decision `turn_ended`.
    """


class Unavailable(TurnlogError):
    """This machine lacks what it takes: a sandbox, a program, a key, memory. Provide that.

    Args:
        tried: why each way that was tried does not work; none if that is not the reason.
    """

    def __init__(self, code: str, text: str, tried: Sequence[str] = ()) -> None:
        super().__init__(code, text)
        self.tried: tuple[str, ...] = tuple(tried)


class RecordingMiss(TurnlogError):
    """A recording does not hold what was asked of it. Nothing was called live: record again."""


class StoreError(TurnlogError):
    """The event log cannot do what was asked. Do what the text says."""


class StorePaused(StoreError):
    """The disk is full or fails. Sessions can be read, not written: make room."""

    def __init__(self, text: str) -> None:
        super().__init__(ErrorCode.LOG_PAUSED, text)


class StoreTooNew(StoreError):
    """A newer turnlog, or a build before the first release, has written this. Upgrade turnlog.

    Args:
        found: the schema of what was read.
        known: the newest schema that this turnlog reads.
    """

    def __init__(self, found: int, known: int) -> None:
        super().__init__(
            ErrorCode.SCHEMA_TOO_NEW,
            f"this was written with schema {found}; this turnlog knows up to {known}. "
            "Upgrade turnlog to open it. What a build before the first release wrote stays closed.",
        )
        self.found = found
        self.known = known


class StoreDamaged(StoreError):
    """Pages of the store's file are not what was written. Export what is sound, then repair."""

    def __init__(self, text: str) -> None:
        super().__init__(ErrorCode.STORE_DAMAGED, text)


class LogDamaged(StoreError):
    """Events of a session are not what was written. Fork the session before the damage.

    Args:
        sequence: of the first event that is damaged.
        why: the rest of a sentence.
    """

    def __init__(self, session: str, sequence: int, why: str) -> None:
        super().__init__(
            ErrorCode.LOG_DAMAGED,
            f"session {session} is damaged at event {sequence}: {why}. What comes before it is "
            f"intact: fork with `turnlog fork {session} --at {sequence - 1}`; `turnlog doctor` "
            "reports all damage.",
        )
        self.session = session
        self.sequence = sequence
        self.why = why


class WriteLost(StoreError):
    """A write was refused or unanswered. Resume the session; send the op again with the same id.

    The session's state in memory was dropped. An op with the same id is done once.
    """

    def __init__(self, text: str) -> None:
        super().__init__(ErrorCode.WRITE_LOST, text)


def with_code(text: str, code: str) -> str:
    """Return an error's text as people read it. Scripts find the code at its end, in brackets."""
    return f"{text} [{code}]"


def session_not_found(wanted: str) -> NotFound:
    """Return the error for a session that does not exist; `wanted` is what the user gave."""
    return NotFound(
        ErrorCode.SESSION_NOT_FOUND,
        f"there is no session {wanted!r}. `turnlog sessions` lists them.",
    )


def event_not_found(sequence: int, head: int) -> NotFound:
    """Return the error for an event that a session of `head` events does not have."""
    return NotFound(
        ErrorCode.SEQUENCE_OUT_OF_RANGE,
        f"there is no event {sequence}; this session has events 1 to {head}.",
    )


def ambiguous_session(wanted: str, matches: Sequence[str]) -> UsageError:
    """Return the error for a name that fits several sessions.

    Args:
        wanted: what the user gave.
        matches: for each session its id, and what else is known of it, on one line.
    """
    shown = "\n  ".join(matches[:_SHOWN_MATCHES])
    more = len(matches) - _SHOWN_MATCHES
    rest = f"\n  … and {more} more" if more > 0 else ""
    return UsageError(
        ErrorCode.AMBIGUOUS_SESSION,
        f"{wanted!r} could be several sessions; give more of the id:\n  {shown}{rest}",
    )


def session_busy(session: str, owner: str) -> Busy:
    """Return the error for a session that another engine writes; `owner` describes that."""
    return Busy(
        ErrorCode.SESSION_BUSY,
        f"session {session} is open in {owner}. Follow it with `turnlog show {session} "
        "--follow`, branch from it with `turnlog fork`, or wait until it is released.",
    )
