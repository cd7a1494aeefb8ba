"""Ports that fail or crash as they did when a session was recorded."""

from typing import ClassVar

from turnlog.actors.ports.recorded import RecordedCrash
from turnlog.protocol.errors import TurnlogError
from turnlog.protocol.events import EffectClosed


class RecordedFailure(TurnlogError):
    """A port failed when this session was recorded; the text is the recorded one.

    It belongs to the recording. Rerun the session live to see today's result.
    """

    code: ClassVar[str] = "recorded_failure"

    def __init__(self, closed: EffectClosed) -> None:
        super().__init__(closed.message)
        # Of this one error: what it was then may be of any class.
        vars(self)["code"] = closed.code or self.code


def raise_recorded(closed: EffectClosed) -> None:
    """Raise what closed the effect then. Return if it was cancelled, which is no error.

    Raises:
        RecordedFailure: the port failed then.
        RecordedCrash: the port crashed then.
    """
    match closed.how:
        case "failed":
            raise RecordedFailure(closed)
        case "crashed":
            raise RecordedCrash(closed.message, closed.code)
        case "cancelled":
            pass
