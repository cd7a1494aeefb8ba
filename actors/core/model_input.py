"""What the model would be sent, were the turn cut off at this event and asked again."""

from turnlog.actors.core import texts
from turnlog.actors.core.model_call import keeps_items
from turnlog.actors.core.state import Call, State, Turn
from turnlog.actors.core.tool_call import never_started
from turnlog.protocol.items import JsonText, output_item


def model_input(state: State) -> list[JsonText]:
    """Return a valid input at any event: each call has exactly one output, in call order.

    A call without a result gets the outcome that fits: never started, stopped, or unknown.
    """
    parts = state.history.texts()
    turn = state.turn
    if not isinstance(turn, Turn) or (turn.items and not keeps_items(turn)):
        return parts
    items = list(turn.items)
    while items and items[-1].is_reasoning:
        items.pop()
    parts += [received.item_json for received in items]
    parts += [output_item(call.item, _output(state, call), call.images) for call in turn.calls]
    return parts


def _output(state: State, call: Call) -> str:
    match call.status:
        case "settled":
            return call.output
        case "waiting" | "planning" | "asked" | "awaiting":
            return never_started(call)
        case "running" | "stopped":
            return texts.STOPPED
        case "dispatched" | "unknown":
            return texts.UNKNOWN
