"""What the model is told when a call did not run to its end. Recorded where used, so a change
here changes later turns only.
"""

from typing import Final

TURN_ABORTED: Final = (
    "<turn_aborted>\nThe user interrupted the previous turn on purpose. Commands that were "
    "running have been stopped; they may have done part of their work.\n</turn_aborted>"
)
NEVER_STARTED: Final = "aborted: this call was never started, because the turn was stopped first."
STOPPED: Final = (
    "aborted: this was stopped while it was running. "
    "It may have done part of its work; its output is lost."
)
UNKNOWN: Final = (
    "aborted: the outcome is unknown. The engine ended just as this was about to start, "
    "so it may or may not have run. Check before you do it again."
)
CRASHED: Final = "aborted: the tool failed inside turnlog: {message}"
UNPLANNED: Final = "unsupported call: {name}"
DECLINED: Final = "rejected by user"
UNANSWERED: Final = "rejected: nobody answered the question in time"
NO_ESCALATION: Final = (
    "approval policy is {policy}; reject command — you cannot ask for escalated permissions "
    "if the approval policy is {policy}"
)
