"""What an event says, in a line: for the timeline of `turnlog show`. Pure."""

from shlex import join

import msgspec

from turnlog.protocol.calls import CommandPreview, CommandReport, PatchPreview, PlanPreview, Preview
from turnlog.protocol.envelope import UnknownEvent
from turnlog.protocol.events import (
    ApprovalAsked,
    CallSettled,
    ContextLoaded,
    EffectClosed,
    ItemsRecorded,
    ModelAsked,
    ModelCompleted,
    ModelFailed,
    ModelItemReceived,
    OpReceived,
    OpRefused,
    RetryScheduled,
    SessionClosed,
    SessionEvent,
    SessionForked,
    SessionOpened,
    SessionStarted,
    StepFailed,
    ToolDispatched,
    ToolFinished,
    TurnEnded,
    TurnOpened,
    TurnStopping,
)
from turnlog.protocol.items import (
    CustomToolCall,
    CustomToolCallOutput,
    FunctionCall,
    FunctionCallOutput,
    JsonText,
    Message,
    Reasoning,
    message_text,
    read_item,
)
from turnlog.protocol.ops import Op, TextInput, UserInput, UserTurn, op_name
from turnlog.protocol.view import event_object


def gist(event: SessionEvent | UnknownEvent) -> str:
    """Return what is worth knowing of `event`; the text may be long, and of several lines."""
    match event:
        case UnknownEvent(body=body):
            return f"written by a newer turnlog, {len(body)} bytes"
        case SessionStarted() | SessionForked() | SessionOpened() | SessionClosed():
            return _of_session(event)
        case OpReceived() | OpRefused() | TurnOpened() | TurnStopping() | TurnEnded():
            return _of_turn(event)
        case (
            ModelAsked() | ModelItemReceived() | ModelCompleted() | ModelFailed() | RetryScheduled()
        ):
            return _of_model(event)
        case ToolDispatched() | ToolFinished() | CallSettled() | ApprovalAsked():
            return _of_tool(event)
        case ContextLoaded(settings=settings, fragments=fragments):
            kinds = ", ".join(fragment.kind for fragment in fragments)
            return f"{settings.session.model} in {settings.session.cwd}: {kinds}"
        case ItemsRecorded(items=items):
            return ", ".join(item.kind for item in items)
        case EffectClosed(effect=effect, how=how, message=message):
            return f"{effect} {how}{f': {message}' if message else ''}"
        case StepFailed(message=message):
            return message
        case other:
            return _fields(other)


def _of_session(event: SessionStarted | SessionForked | SessionOpened | SessionClosed) -> str:
    match event:
        case SessionStarted(settings=settings):
            return f"{settings.model} in {settings.cwd}, {settings.sandbox.mode}"
        case SessionForked(parent=parent, cut=cut):
            return f"from {parent} at {cut}"
        case SessionOpened(owner=owner):
            return f"by {owner}"
        case SessionClosed(reason=reason):
            return reason


def _of_turn(event: OpReceived | OpRefused | TurnOpened | TurnStopping | TurnEnded) -> str:
    match event:
        case OpReceived(op=op):
            return f"{op_name(op)} {op_text(op)}"
        case OpRefused(code=code, reason=reason):
            return f"{code}: {reason}"
        case TurnOpened(turn=turn):
            return f"turn {turn}"
        case TurnStopping(status=status, error=error):
            return f"{status}: {error.message}" if error else status
        case TurnEnded(turn=turn, status=status, error=error):
            return f"turn {turn} {status}{f': {error.message}' if error else ''}"


def op_text(op: Op) -> str:
    """Return what an op says to the model; what is no text, by its kind."""
    if isinstance(op, UserInput | UserTurn):
        return " ".join(
            item.text if isinstance(item, TextInput) else "[image]" for item in op.items
        )
    return ""


def _of_model(
    event: ModelAsked | ModelItemReceived | ModelCompleted | ModelFailed | RetryScheduled,
) -> str:
    match event:
        case ModelAsked(request=request, attempt=attempt, parts=parts, input_digest=digest):
            again = f", attempt {attempt}" if attempt > 1 else ""
            return f"request {request}{again}: {parts} parts, digest {digest[:12]}"
        case ModelItemReceived(item_json=text):
            return item_text(text)
        case ModelCompleted(usage=usage):
            return f"{usage.input_tokens} tokens in, {usage.output_tokens} out" if usage else ""
        case ModelFailed(failure=failure):
            return f"{failure.code}: {failure.message}"
        case RetryScheduled(delay_ms=delay, message=message):
            return f"in {delay} ms: {message}"


def item_text(text: JsonText) -> str:
    """Return an item of the conversation for a person; one of an unknown kind as it is."""
    try:
        item = read_item(text)
    except msgspec.MsgspecError:
        return text
    match item:
        case Message(role=role):
            return f"{role}: {message_text(item)}"
        case Reasoning(summary=summary):
            return f"reasoning: {' '.join(part.text for part in summary)}"
        case FunctionCall(name=name, arguments=arguments):
            return f"{name} {arguments}"
        case CustomToolCall(name=name, input=given):
            return f"{name} {given}"
        case FunctionCallOutput(output=output) | CustomToolCallOutput(output=output):
            said = output if isinstance(output, str) else "".join(p.text or "" for p in output)
            return f"output: {said}"
        case _:
            return text


def _of_tool(event: ToolDispatched | ToolFinished | CallSettled | ApprovalAsked) -> str:
    match event:
        case ToolDispatched(tool=tool, call_id=call_id, sandbox=sandbox):
            return f"{tool} {call_id}, {sandbox.mode}"
        case ToolFinished(outcome=outcome, output=output, report=CommandReport() as report):
            return f"{outcome}, exit code {report.exit_code}, {report.duration_ms} ms: {output}"
        case ToolFinished(outcome=outcome, preamble=preamble, output=output):
            return f"{outcome}: {preamble}{output}"
        case CallSettled(call_id=call_id, outcome=outcome, output=output):
            return f"{call_id} {outcome}: {output}"
        case ApprovalAsked(plan=plan):
            reason = f" ({plan.reason})" if plan.reason else ""
            return f"{plan.tool} wants to run {plan.wants}{reason}: {_preview(plan.preview)}"


def _preview(preview: Preview | None) -> str:
    match preview:
        case CommandPreview(command=command):
            return join(command)
        case PatchPreview(changes=changes):
            return ", ".join(f"{change.kind} {change.path}" for change in changes)
        case PlanPreview(steps=steps):
            return ", ".join(step.step for step in steps)
        case None:
            return ""


def _fields(event: SessionEvent) -> str:
    return ", ".join(f"{name} {value}" for name, value in event_object(event).items())
