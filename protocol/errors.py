"""One class for each thing that a caller can do about it.

`code` is stable: scripts and clients match on it, never on the text. The text says what
happened, where, and what to do next.

* `TurnlogError`
    * `UsageError`: the request itself is wrong; nothing was done
        * `ConfigInvalid`, `HomeUnknown`, `OpRejected`, `SessionNotFound`, `AmbiguousSession`,
          `SequenceOutOfRange`, `PatchInvalid`, `ScriptInvalid`, `InputUnreadable`,
          `PortableInvalid`, `RerecordingRefused`, `RolloutInvalid`, `RolloutEmpty`, `SessionExists`
    * `SessionBusy`: somebody else is writing; follow, fork or wait
    * `Overloaded`: the session's mailbox is full; try again later
    * `StoreError`: the log cannot do it
        * `LogPaused`, `LogDamaged`, `SchemaTooNew`, `StoreUnsuitable`, `WriteLost`
    * `SandboxUnavailable`: commands cannot be confined here as the settings ask
    * `CredentialMissing`: a key is needed and none was found
    * `RecordingMiss`: what is played back was asked for something that it does not hold
"""

from typing import ClassVar


class TurnlogError(Exception):
    """Base of every error that turnlog raises on purpose."""

    code: ClassVar[str] = "turnlog_error"


class UsageError(TurnlogError):
    """The request itself is wrong. Nothing was done."""

    code = "usage_error"


class ConfigInvalid(UsageError):
    """A configuration value, key or file cannot be used. The text names the layer and the key."""

    code = "config_invalid"


class HomeUnknown(UsageError):
    """No folder is known in which turnlog could keep anything."""

    code = "home_unknown"

    def __init__(self, why: str) -> None:
        super().__init__(f"{why} Set TURNLOG_HOME to an absolute path, such as /srv/turnlog.")


class OpRejected(UsageError):
    """The op does not fit the session's state."""

    code = "op_rejected"


class SessionNotFound(UsageError):
    """No session has this id, or begins with this prefix."""

    code = "session_not_found"

    def __init__(self, wanted: str) -> None:
        super().__init__(
            f"no session has an id that begins with {wanted!r}. `turnlog sessions` lists them."
        )
        self.wanted = wanted


class AmbiguousSession(UsageError):
    """Several sessions begin with this prefix."""

    code = "ambiguous_session"

    def __init__(self, wanted: str, matches: list[str]) -> None:
        shown = "\n  ".join(matches[:10])
        super().__init__(f"{wanted!r} is the beginning of several ids; give more of it:\n  {shown}")
        self.wanted, self.matches = wanted, matches


class SequenceOutOfRange(UsageError):
    """The session has no event with this sequence."""

    code = "sequence_out_of_range"

    def __init__(self, sequence: int, head: int) -> None:
        super().__init__(f"there is no event {sequence}; this session has events 1 to {head}.")
        self.sequence, self.head = sequence, head


class PatchInvalid(UsageError):
    """A patch that cannot be parsed, or does not fit the files. No file was changed."""

    code = "patch_invalid"


class ScriptInvalid(UsageError):
    """A script for the scripted model that cannot be read. The text names the line."""

    code = "script_invalid"


class InputUnreadable(UsageError):
    """A file or a stream that the user named cannot be read."""

    code = "input_unreadable"


class PortableInvalid(UsageError):
    """A portable session file is not what was written. What precedes the line is good.

    `flaw` is stable: empty, header, version, torn, json, order, time, event, count, digest.
    """

    code = "portable_invalid"

    def __init__(self, name: str, line: int, flaw: str, why: str) -> None:
        advice = "Restore the file, or export (or record) the session once more."
        if flaw in ("empty", "header"):
            advice = "Name a file that `turnlog export` has written."
        super().__init__(f"{name}, line {line}: {why}. {advice}")
        self.name, self.line, self.flaw, self.why = name, line, flaw, why


class RerecordingRefused(UsageError):
    """Today's decisions do not fit the facts that were recorded. The file was left alone."""

    code = "rerecording_refused"

    def __init__(self, sequence: int, why: str) -> None:
        super().__init__(
            f"the change at event {sequence} cannot be accepted: {why}. Record the session once "
            "more with today's code."
        )
        self.sequence, self.why = sequence, why


class RolloutInvalid(UsageError):
    """A file that should be imported holds no line that a recorded session is made of."""

    code = "rollout_invalid"


class RolloutEmpty(RolloutInvalid):
    """There is nothing at all in a file that should be imported."""

    code = "rollout_empty"


class SessionExists(UsageError):
    """A session with the id of an imported one is in the store already."""

    code = "session_exists"

    def __init__(self, session: str) -> None:
        super().__init__(
            f"there is a session {session} already; nothing was changed. See it with `turnlog "
            f"show {session}`, or import the file under an id of its own with --new-id."
        )
        self.session = session


class SessionBusy(TurnlogError):
    """Another engine is the session's writer."""

    code = "session_busy"

    def __init__(self, session: str, owner: str) -> None:
        super().__init__(
            f"session {session} is open in {owner}. Follow it with `turnlog show {session} "
            "--follow`, branch from it with `turnlog fork`, or wait until it is released."
        )
        self.session, self.owner = session, owner


class Overloaded(TurnlogError):
    """The session's mailbox has no room for another op. Nothing was lost; try again."""

    code = "overloaded"


class StoreError(TurnlogError):
    """The event log cannot do what was asked."""

    code = "store_error"


class LogPaused(StoreError):
    """The disk is full or failing. Reading goes on; writing resumes when a probe succeeds."""

    code = "log_paused"


class LogDamaged(StoreError):
    """Stored bytes are not what was written. The rest of the store stays readable."""

    code = "log_damaged"

    def __init__(self, session: str, sequence: int, why: str) -> None:
        super().__init__(
            f"session {session} is damaged at event {sequence}: {why}. What comes before it is "
            f"intact: fork with `turnlog fork {session} --at {sequence - 1}`; `turnlog doctor` "
            "reports all damage."
        )
        self.session, self.sequence, self.why = session, sequence, why


class SchemaTooNew(StoreError):
    """The store was written by a newer turnlog."""

    code = "schema_too_new"

    def __init__(self, found: int, known: int) -> None:
        super().__init__(
            f"this was written with schema {found}; this turnlog knows up to {known}. "
            "Upgrade turnlog to open it."
        )
        self.found, self.known = found, known


class StoreUnsuitable(StoreError):
    """The place for the store cannot hold one: a network file system, a file, no permission."""

    code = "store_unsuitable"


class WriteLost(StoreError):
    """The session's state was thrown away, since its last write was refused or unanswered."""

    code = "write_lost"


class SandboxUnavailable(TurnlogError):
    """Commands cannot be confined on this machine as the settings ask. Nothing was run."""

    code = "sandbox_unavailable"


class CredentialMissing(TurnlogError):
    """A provider needs a key, and no source gave one."""

    code = "credential_missing"


class RecordingMiss(TurnlogError):
    """A recorded model or tool was asked for something that the recording does not hold."""

    code = "recording_miss"
