"""What is to be said of an event that is no part of the conversation. Pure."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from turnlog.protocol.envelope import Recorded, UnknownEvent
from turnlog.protocol.events import (
    CallParked,
    ChildStopping,
    ChildTold,
    CompactionGivenUp,
    ConversationResumed,
    OpReceived,
    OpRefused,
    PrefixChanged,
    RetryScheduled,
    SessionClosed,
    SessionForked,
    StepFailed,
    TurnsDropped,
    TurnsRestored,
)
from turnlog.protocol.files import RestoredFile
from turnlog.protocol.ops import Archive, SetName

# Kinds that show in what they lead to, or that say nothing to a reader.
_SILENT: Final = frozenset(
    {
        *("session_started", "session_opened", "context_asked", "model_asked", "tool_dispatched"),
        *("tool_started", "effect_closed", "effect_lost", "timer_fired", "rate_limits_received"),
        *("input_queued", "turn_stopping", "model_failed", "effect_done", "workspace_scanned"),
        *("files_saved", "scan_asked", "compaction_wanted", "compaction_asked", "undo_asked"),
        *("agents_awaited", "op_received", "session_closed"),
    }
)
_FILES_SHOWN: Final = 20
_UNTOUCHED: Final = frozenset({"nothing", "untouched"})


def remark(record: Recorded) -> str | None:
    """Return a sentence or two about an event; None: it says nothing to a reader."""
    match record.event:
        case SessionForked(parent=parent, cut=cut):
            return f"Forked from {parent} behind its event {cut}."
        case OpReceived(op=SetName(name=name)):
            return (
                f"The session was named {name}." if name else "The session's name was taken back."
            )
        case OpReceived(op=Archive(archived=archived)):
            return "The session was archived." if archived else "The session was brought back."
        case OpRefused(reason=reason):
            return f"Refused: {reason}"
        case RetryScheduled(message=message, delay_ms=delay):
            return f"{message} Tried again after {delay} ms."
        case StepFailed(message=message):
            return f"Deciding failed: {message}"
        case CompactionGivenUp(why=why):
            return f"The conversation was not summed up: {why}"
        case ChildTold(child=child, text=text, interrupt=interrupt):
            stopped = ", and stopped first" if interrupt else ""
            return f"The agent {child} was told{stopped}: {text}"
        case ChildStopping(child=child):
            return f"The child session {child} was stopped."
        case CallParked():
            return "Nobody answered in time: the question stays open, and the session rests."
        case SessionClosed(reason="parked"):
            return "The session was closed with its turn open."
        case PrefixChanged(causes=causes):
            return f"The next request begins otherwise, by another choice of {_and(causes)}."
        case ConversationResumed(parts=parts, tokens=tokens):
            return f"The session was opened again, with {parts} parts of {tokens} tokens."
        case TurnsRestored(files=files):
            return _restored(files)
        case TurnsDropped(redo=True):
            return "The last undo was taken back: the conversation is what it was before."
        case TurnsDropped(turns=turns):
            return _dropped(turns)
        case UnknownEvent(kind=kind):
            return f"An event of the unknown kind {kind}."
        case _ if record.kind in _SILENT:
            return None
        case _:
            return record.kind.replace("_", " ").capitalize() + "."


def _dropped(turns: int) -> str:
    if turns == 0:
        return "The conversation stays as it is."
    which = "turn was" if turns == 1 else f"{turns} turns were"
    return f"The last {which} undone: the conversation is what it was before."


def _restored(files: Sequence[RestoredFile]) -> str | None:
    """Return what an undo did to files, those first that it left alone against its wish."""
    told = [note for note in files if note.outcome not in _UNTOUCHED]
    if not told:
        return None
    shown = [f"{note.outcome.replace('_', ' ')} {note.path}{_why(note)}" for note in told]
    more = f"; and {len(shown) - _FILES_SHOWN} more" if len(shown) > _FILES_SHOWN else ""
    counts = Counter(note.outcome.replace("_", " ") for note in told)
    summary = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    return f"Files: {summary}. {'; '.join(shown[:_FILES_SHOWN])}{more}."


def _why(note: RestoredFile) -> str:
    return "" if note.outcome in ("restored", "deleted") or not note.reason else f" ({note.reason})"


def _and(words: Sequence[str]) -> str:
    return " and ".join(words)
