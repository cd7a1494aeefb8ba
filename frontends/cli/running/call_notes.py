"""What a person is told of calls that did not run, which the lines of `exec --json` leave out.

Codex has no line for a call that was refused, or that failed before it began. A person should know
of it all the same. Pure: a fold over what is published.
"""

from typing import Final

import attrs
import msgspec

from turnlog.frontends.cli.output.terminal import style
from turnlog.protocol.calls import CommandReport
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.events import CallSettled, ModelItemReceived, ToolDispatched, ToolFinished
from turnlog.protocol.ids import EffectId
from turnlog.protocol.items import CustomToolCall, FunctionCall, other_call, read_item
from turnlog.replay.views.text import excerpt, printable

_LINES: Final = 6  # of the reason that are shown
_WIDTH: Final = 160  # columns
_REFUSED: Final = ("refused", "declined", "unknown")


@attrs.define(eq=False)
class CallNotes:
    """Remembers which tool each call is of, from the events of a run."""

    _tools: dict[str, str] = attrs.field(factory=dict[str, str])  # by call id
    _dispatched: dict[EffectId, str] = attrs.field(factory=dict[EffectId, str])

    def take(self, recorded: Recorded) -> str | None:
        """Return what an event has to tell a person, if anything."""
        match recorded.event:
            case ModelItemReceived(item_json=item, plan=plan) if plan is not None:
                self._tools[_call_id(item)] = plan.tool
            case ToolDispatched(effect=effect, tool=tool):
                self._dispatched[effect] = tool
            case ToolFinished(effect=effect) as event:
                tool = self._dispatched.pop(effect, "")
                if event.outcome == "failed" and not isinstance(event.report, CommandReport):
                    return _note(tool, "failed", f"{event.preamble}{event.output}")
            case CallSettled(call_id=call_id, outcome=outcome) as event if outcome in _REFUSED:
                return _note(self._tools.get(call_id, ""), outcome, event.output)
            case _:
                pass
        return None


def _note(tool: str, outcome: str, why: str) -> str:
    text = f"{printable(tool) or 'a call'} {outcome}: {printable(why)}"
    return style(excerpt(text, _LINES, _WIDTH), fg="red")


def _call_id(item_json: str) -> str:
    try:
        item = read_item(item_json)
    except msgspec.MsgspecError:
        return ""
    if isinstance(item, FunctionCall | CustomToolCall):
        return item.call_id
    other = other_call(item_json)
    return other.call_id if other is not None else ""
