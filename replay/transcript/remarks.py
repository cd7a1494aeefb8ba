"""What a transcript says of an event that is not a part of the conversation. Pure."""

from typing import Final

from turnlog.protocol.envelope import Recorded
from turnlog.protocol.events import OpReceived, SessionClosed, TurnsRestored
from turnlog.protocol.ops import Archive, SetName
from turnlog.replay.views.event_text import event_text
from turnlog.replay.views.text import one_line

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
_WIDTH: Final = 1000  # characters: an undo may name thousands of files
_UNCHANGED: Final = frozenset({"nothing", "untouched"})


def remark(record: Recorded) -> str | None:
    """Return the event's kind and its text; None: it says nothing to a reader."""
    if record.kind in _SILENT and not _is_told(record):
        return None
    if isinstance(record.event, TurnsRestored) and not _changed_files(record.event):
        return None
    kind = record.kind.replace("_", " ").capitalize()
    text = one_line(event_text(record.event), _WIDTH)
    return f"{kind}: {text}" if text else kind


def _is_told(record: Recorded) -> bool:
    match record.event:
        case OpReceived(op=SetName() | Archive()) | SessionClosed(reason="parked"):
            return True
        case _:
            return False


def _changed_files(restored: TurnsRestored) -> bool:
    return any(file.outcome not in _UNCHANGED for file in restored.files)
