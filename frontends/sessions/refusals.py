"""Counts what a run's commands came to: those that ran, and those that could not be confined."""

from typing import Final

import attrs

from turnlog.protocol.calls import CommandReport, PatchReport
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import with_code
from turnlog.protocol.events import ToolFinished

_MARK: Final = with_code("", ErrorCode.SANDBOX_UNAVAILABLE)  # ends what a tool says of a refusal


@attrs.define
class Refusals:
    """A fold over the events of a run. Patches count as commands: they are confined as these."""

    ran: int = 0
    refused: int = 0

    def take(self, recorded: Recorded) -> None:
        match recorded.event:
            case ToolFinished() as event if _is_refusal(event):
                self.refused += 1
            case ToolFinished(report=CommandReport() | PatchReport()):
                self.ran += 1
            case _:
                pass

    @property
    def are_all(self) -> bool:
        """Whether there were commands, and each was refused."""
        return self.refused > 0 and self.ran == 0

    def explain(self) -> str:
        """Return what a person is told where all were refused."""
        commands = "the one command" if self.refused == 1 else f"all {self.refused} commands"
        text = (
            f"{commands} of this run could not be confined here, and nothing of it was run. "
            "`turnlog doctor` says what each sandbox lacks on this machine. If nothing has to be "
            "confined, choose `-s danger-full-access`."
        )
        return with_code(text, ErrorCode.SANDBOX_UNAVAILABLE)


def _is_refusal(event: ToolFinished) -> bool:
    if event.outcome != "failed" or not event.output.rstrip().endswith(_MARK):
        return False
    match event.report:
        case None:
            return True
        case PatchReport(applied=applied):
            return not applied
        case _:  # it ran, and printed these words
            return False
