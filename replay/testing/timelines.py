"""A session in lines of text, for messages of tests: one event a line. Pure."""

from collections.abc import Collection, Iterable, Sequence
from typing import Final

import msgspec

from turnlog.protocol.envelope import Recorded
from turnlog.protocol.events import (
    CallSettled,
    EffectClosed,
    ItemsRecorded,
    ModelFailed,
    ModelItemReceived,
    OpReceived,
    StepFailed,
    ToolDispatched,
    ToolFinished,
    TurnEnded,
)
from turnlog.protocol.items import (
    CustomToolCall,
    FunctionCall,
    JsonText,
    Message,
    message_text,
    read_item,
)
from turnlog.protocol.ops import TextInput, UserInput, UserTurn, op_name

WIDTH: Final = 96  # characters of a line's text


def timeline(
    records: Iterable[Recorded], *, marked: Collection[int] = (), last: int | None = None
) -> str:
    """Return one line for each event: its sequence, its kind, and what it says.

    Args:
        marked: sequences whose lines begin with an arrow.
        last: show at most so many of the last events.
    """
    shown: Sequence[Recorded] = list(records)
    hidden = 0 if last is None else max(len(shown) - last, 0)
    lines = [f"   ... {hidden} events before"] if hidden else []
    for recorded in shown[hidden:]:
        mark = "->" if recorded.sequence in marked else "  "
        text = " ".join(summary(recorded).split())
        short = text if len(text) <= WIDTH else f"{text[: WIDTH - 3]}..."
        lines.append(f"{mark} {recorded.sequence:>4} {recorded.kind:<19} {short}".rstrip())
    return "\n".join(lines)


def summary(recorded: Recorded) -> str:
    """Return what is worth knowing of an event; nothing for kinds that speak for themselves."""
    match recorded.event:
        case OpReceived(op=UserInput() | UserTurn() as op):
            texts = [item.text for item in op.items if isinstance(item, TextInput)]
            return f"{op_name(op)} {' '.join(texts)}"
        case OpReceived(op=op):
            return op_name(op)
        case ModelItemReceived(item_json=text):
            return item_summary(text)
        case ModelFailed(failure=failure):
            return f"{failure.code}: {failure.message}"
        case ItemsRecorded(items=items):
            return ", ".join(item.kind for item in items)
        case ToolDispatched(tool=tool, call_id=call_id):
            return f"{tool} {call_id}"
        case ToolFinished(outcome=outcome, preamble=preamble, output=output):
            return f"{outcome}: {preamble}{output}"
        case CallSettled(call_id=call_id, outcome=outcome, output=output):
            return f"{call_id} {outcome}: {output}"
        case EffectClosed(effect=effect, how=how, message=message):
            return f"{effect} {how} {message}"
        case TurnEnded(status=status, error=error):
            return f"{status}{f': {error.message}' if error else ''}"
        case StepFailed(message=message):
            return message
        case _:
            return ""


def item_summary(text: JsonText) -> str:
    """Return an item of the conversation for a person; one that cannot be read, as it is."""
    try:
        item = read_item(text)
    except msgspec.MsgspecError:
        return text
    match item:
        case Message(role=role):
            return f"{role}: {message_text(item)}"
        case FunctionCall(name=name, arguments=arguments):
            return f"{name} {arguments}"
        case CustomToolCall(name=name, input=given):
            return f"{name} {given}"
        case _:
            return text
