"""Ports that fail or crash as they did when a session was recorded."""

from turnlog.actors.ports.recorded import RecordedCrash
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import Failed
from turnlog.protocol.events import EffectClosed


def recorded_failure(closed: EffectClosed) -> Failed:
    """Return the error for a port that failed when the session was recorded, with its code."""
    return Failed(closed.code or ErrorCode.RECORDED_FAILURE, closed.message)


def raise_recorded(closed: EffectClosed) -> None:
    """Raise what closed the effect then. Return if it was cancelled, which is no error.

    Raises:
        Failed: the port failed then; the code is the recorded one.
        RecordedCrash: the port crashed then.
    """
    match closed.how:
        case "failed":
            raise recorded_failure(closed)
        case "crashed":
            raise RecordedCrash(closed.message, closed.code)
        case "cancelled":
            pass
