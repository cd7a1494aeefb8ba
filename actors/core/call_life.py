"""The life of a tool call: what each event makes of its status. `evolve` keeps to this table.

A call begins as `waiting` with its item, and ends as `settled` with its output. A response that is
dropped takes its calls with it.
"""

from collections.abc import Mapping
from typing import Final

from turnlog.actors.core.state import CallStatus
from turnlog.protocol.events import (
    AgentsAwaited,
    ApprovalAsked,
    CallParked,
    CallPlanned,
    CallSettled,
    EffectClosed,
    EffectLost,
    ModelItemReceived,
    OpReceived,
    PlanAsked,
    QuestionAnswered,
    SessionEvent,
    StepFailed,
    ToolDispatched,
    ToolFinished,
    ToolStarted,
)

# What every call that has no output yet may get: one from the session.
_OUTPUT: Final[dict[type[SessionEvent], tuple[CallStatus, ...]]] = {
    CallSettled: ("settled",),
    StepFailed: ("settled",),
}
# By status and event: what the status may become. Any other event leaves it as it is.
CALL: Final[Mapping[CallStatus, Mapping[type[SessionEvent], tuple[CallStatus, ...]]]] = {
    "waiting": {
        PlanAsked: ("planning",),
        ApprovalAsked: ("asked",),
        ToolDispatched: ("dispatched",),
        AgentsAwaited: ("awaiting",),
        ModelItemReceived: ("settled",),  # the provider has answered the call itself
        **_OUTPUT,
    },
    "planning": {CallPlanned: ("waiting",), EffectLost: ("waiting",), **_OUTPUT},
    "asked": {
        OpReceived: ("waiting",),  # it is allowed
        QuestionAnswered: ("waiting",),  # an answer to another question allows it, too
        CallParked: ("waiting",),
        EffectLost: ("waiting",),
        **_OUTPUT,
    },
    "dispatched": {
        ToolStarted: ("running",),
        ToolFinished: ("settled", "waiting"),  # waiting: to be asked about, outside the sandbox
        CallPlanned: ("waiting",),  # a file that it names has changed
        EffectClosed: ("waiting",),  # cancelled
        EffectLost: ("unknown",),
        **_OUTPUT,
    },
    "running": {
        ToolFinished: ("settled", "waiting"),
        CallPlanned: ("waiting",),
        EffectClosed: ("stopped",),  # cancelled
        EffectLost: ("stopped",),
        **_OUTPUT,
    },
    "awaiting": {EffectLost: ("waiting",), **_OUTPUT},
    "stopped": {**_OUTPUT},
    "unknown": {**_OUTPUT},
    "settled": {},
}
