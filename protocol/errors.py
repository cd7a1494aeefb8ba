"""One class for each thing that a caller can do about it.

`code` is stable: scripts and clients match on it, never on the text. The text says what
happened, where, and what to do next.

* `TurnlogError`
    * `UsageError`: the request itself is wrong; nothing was done
        * `ArgumentInvalid`, `ToolInvalid`, `NotOnTrio`, `EventInvalid`, `ConfigInvalid`,
          `HomeUnknown`, `OpRejected`, `SessionNotFound`, `AmbiguousSession`, `SequenceOutOfRange`,
          `PatchInvalid`, `ScriptInvalid`, `InputUnreadable`, `PortableInvalid`,
          `RerecordingRefused`, `RolloutInvalid`, `RolloutEmpty`, `SessionExists`
    * `SessionBusy`: somebody else is writing; follow, fork or wait
    * `Overloaded`: the session's mailbox is full; try again later
    * `StoreError`: the log cannot do it
        * `LogPaused`, `LogDamaged`, `SchemaTooNew`, `StoreUnsuitable`, `StoreDamaged`, `WriteLost`
    * `SandboxUnavailable`: commands cannot be confined here as the settings ask
    * `CredentialMissing`: a key is needed and none was found
    * `EnvironmentFault`: the machine refuses what it takes
    * `RecordingMiss`: what is played back was asked for something that it does not hold
"""

from collections.abc import Sequence
from typing import ClassVar, Final

from turnlog.protocol.faults import ENVIRONMENT_FAULT

_SHOWN_MATCHES: Final = 10  # sessions that an ambiguous name is answered with


class TurnlogError(Exception):
    """Base of every error that turnlog raises on purpose.

    Catch it to handle them all; compare `code` to tell them apart.
    """

    code: ClassVar[str] = "turnlog_error"


class UsageError(TurnlogError):
    """The request itself is wrong. Nothing was done.

    Correct it as the text says.
    """

    code = "usage_error"


class ArgumentInvalid(UsageError, ValueError):
    """A value that was passed is not allowed. Nothing was stored.

    Pass what the text names as allowed.
    """

    code = "argument_invalid"


class ToolInvalid(UsageError, TypeError):
    """What was given as a tool cannot be called by a model.

    Correct what the text names; `turnlog.Tool` has what a tool needs.
    """

    code = "tool_invalid"


class NotOnTrio(UsageError, RuntimeError):
    """An engine was opened outside of a trio program.

    Start one with `trio.run(main)`; in asyncio, run that in a thread, or use trio's guest mode.
    """

    code = "not_on_trio"

    def __init__(self) -> None:
        super().__init__(
            "turnlog runs on trio, and this was not called from a trio program. Start one with "
            "`trio.run(main)`. In an asyncio program, run it in a thread: `await "
            "asyncio.to_thread(trio.run, main)`; or side by side in one thread, in trio's guest "
            "mode: `trio.lowlevel.start_guest_run`."
        )


class EventInvalid(UsageError):
    """An event holds a value that the log could not give back. It was not stored.

    Correct the value that the text names.
    """

    code = "event_invalid"


class ConfigInvalid(UsageError):
    """A configuration value, key or file cannot be used. The text names the file and the key.

    Correct it there. `turnlog config` shows where each value comes from.
    """

    code = "config_invalid"


class HomeUnknown(UsageError):
    """No folder is known in which turnlog could keep anything.

    Set TURNLOG_HOME to an absolute path.
    """

    code = "home_unknown"

    def __init__(self, why: str) -> None:
        super().__init__(f"{why} Set TURNLOG_HOME to an absolute path, such as /srv/turnlog.")


class OpRejected(UsageError):
    """The session refused an op, since it does not fit the session's state.

    The text ends with the refusal's own code. Wait, resume or interrupt as it says.
    """

    code = "op_rejected"


class SessionNotFound(UsageError):
    """No session has this id, an id that begins like this, this name, or this place in the list.

    List the sessions with `turnlog sessions`.
    """

    code = "session_not_found"

    def __init__(self, wanted: str) -> None:
        super().__init__(f"there is no session {wanted!r}. `turnlog sessions` lists them.")
        self.wanted = wanted


class AmbiguousSession(UsageError):
    """Several sessions have an id that begins like this, or this name.

    Give more of the id.
    """

    code = "ambiguous_session"

    def __init__(
        self, wanted: str, matches: Sequence[str], described: Sequence[str] | None = None
    ) -> None:
        """Tell which sessions could be meant.

        Args:
            wanted: what the user gave.
            matches: the ids.
            described: a line for each of them, if more than its id is known.
        """
        lines = list(matches if described is None else described)
        shown = "\n  ".join(lines[:_SHOWN_MATCHES])
        more = len(lines) - _SHOWN_MATCHES
        rest = f"\n  … and {more} more" if more > 0 else ""
        super().__init__(
            f"{wanted!r} could be several sessions; give more of the id:\n  {shown}{rest}"
        )
        self.wanted, self.matches = wanted, list(matches)


class SequenceOutOfRange(UsageError):
    """The session has no event with this sequence.

    Give a sequence within the range that the text names.
    """

    code = "sequence_out_of_range"

    def __init__(self, sequence: int, head: int) -> None:
        super().__init__(f"there is no event {sequence}; this session has events 1 to {head}.")
        self.sequence, self.head = sequence, head


class PatchInvalid(UsageError):
    """A patch cannot be parsed, or does not fit the files. No file was changed.

    Read the files again and make a new patch.
    """

    code = "patch_invalid"


class ScriptInvalid(UsageError):
    """A script for the scripted model cannot be read. The text names the line.

    Correct the script.
    """

    code = "script_invalid"


class InputUnreadable(UsageError):
    """A file or a stream that the user named cannot be read.

    Check its path and its permissions.
    """

    code = "input_unreadable"


class PortableInvalid(UsageError):
    """A portable session file is not what was written. What precedes the line is good.

    Restore the file, or export the session again. `flaw` is stable: empty, header, version,
    torn, json, order, time, event, count, digest.
    """

    code = "portable_invalid"

    def __init__(self, name: str, line: int, flaw: str, why: str) -> None:
        advice = "Restore the file, or export (or record) the session once more."
        if flaw in ("empty", "header"):
            advice = "Name a file that `turnlog export` has written."
        super().__init__(f"{name}, line {line}: {why}. {advice}")
        self.name, self.line, self.flaw, self.why = name, line, flaw, why


class RerecordingRefused(UsageError):
    """Today's decisions do not fit the recorded facts. The file was left alone.

    Record the session once more with today's code.
    """

    code = "rerecording_refused"

    def __init__(self, sequence: int, why: str) -> None:
        super().__init__(
            f"the change at event {sequence} cannot be accepted: {why}. Record the session once "
            "more with today's code."
        )
        self.sequence, self.why = sequence, why


class RolloutInvalid(UsageError):
    """A file to be imported holds no line of a recorded session.

    Name a rollout of Codex, or a file that `turnlog export` has written.
    """

    code = "rollout_invalid"


class RolloutEmpty(RolloutInvalid):
    """A file to be imported is empty.

    Name another file.
    """

    code = "rollout_empty"


class SessionExists(UsageError):
    """The store already has a session with the id of the imported one.

    Import the file under an id of its own, with `--new-id`.
    """

    code = "session_exists"

    def __init__(self, session: str) -> None:
        super().__init__(
            f"there is a session {session} already; nothing was changed. See it with `turnlog "
            f"show {session}`, or import the file under an id of its own with --new-id."
        )
        self.session = session


class SessionBusy(TurnlogError):
    """Another engine is the session's writer.

    Follow the session, fork it, or wait until it is released.
    """

    code = "session_busy"

    def __init__(self, session: str, owner: str) -> None:
        super().__init__(
            f"session {session} is open in {owner}. Follow it with `turnlog show {session} "
            "--follow`, branch from it with `turnlog fork`, or wait until it is released."
        )
        self.session, self.owner = session, owner


class Overloaded(TurnlogError):
    """Too many ops wait for the session. Nothing was queued.

    Send the op again later.
    """

    code = "overloaded"


class StoreError(TurnlogError):
    """The event log cannot do what was asked.

    Do what the text says; `turnlog doctor` checks the store.
    """

    code = "store_error"


class LogPaused(StoreError):
    """The disk is full or fails. Sessions can be read, not written.

    Make room. Writing resumes by itself.
    """

    code = "log_paused"


class LogDamaged(StoreError):
    """Stored bytes are not what was written. The rest of the store stays readable.

    Fork the session before the damage; `turnlog doctor` reports all of it.
    """

    code = "log_damaged"

    def __init__(self, session: str, sequence: int, why: str) -> None:
        super().__init__(
            f"session {session} is damaged at event {sequence}: {why}. What comes before it is "
            f"intact: fork with `turnlog fork {session} --at {sequence - 1}`; `turnlog doctor` "
            "reports all damage."
        )
        self.session, self.sequence, self.why = session, sequence, why


class SchemaTooNew(StoreError):
    """A newer turnlog has written this.

    Upgrade turnlog.
    """

    code = "schema_too_new"

    def __init__(self, found: int, known: int) -> None:
        super().__init__(
            f"this was written with schema {found}; this turnlog knows up to {known}. "
            "Upgrade turnlog to open it."
        )
        self.found, self.known = found, known


class StoreUnsuitable(StoreError):
    """The folder cannot hold a store: a network file system, a file, no permission.

    Choose another folder with `TURNLOG_HOME`, or correct what the text names.
    """

    code = "store_unsuitable"


class StoreDamaged(StoreError):
    """Pages of the store's file are not what was written, so that it is not written to.

    What is sound can be read and exported; a repair moves it into a new file.
    """

    code = "store_damaged"


class WriteLost(StoreError):
    """A write was refused or unanswered, so the session's state in memory was dropped.

    Resume the session. Send the op again with the same id: it is done once.
    """

    code = "write_lost"


class SandboxUnavailable(TurnlogError):
    """Commands cannot be confined on this machine as the settings ask. Nothing was run.

    Do what the text names for each mechanism, or choose another `sandbox_mode`.
    """

    code = "sandbox_unavailable"

    def __init__(self, text: str, tried: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.tried = tuple(tried)  # why each mechanism does not work; none if that is not why


class CredentialMissing(TurnlogError):
    """A provider needs an API key, and none was found.

    Set the variable that the text names, or `env_key`, `key_command` or `keyring`.
    """

    code = "credential_missing"


class EnvironmentFault(TurnlogError):
    """The machine refused something: files, memory, threads, permission. The text says what to do.

    Nothing is wrong with turnlog, nor with the request.
    """

    code = ENVIRONMENT_FAULT


class RecordingMiss(TurnlogError):
    """Something was asked of a recording that it does not hold. Nothing was called live.

    Compare with the nearest entry that the text shows. Record again if the change is meant.
    """

    code = "recording_miss"
