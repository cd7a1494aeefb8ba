"""What an event says, in a line: for timelines, transcripts and messages of tests. Pure."""

from collections.abc import Sequence
from shlex import join

import msgspec

from turnlog.actors.core.review import read_output
from turnlog.protocol.calls import (
    CommandPreview,
    CommandReport,
    PatchPreview,
    PlanPreview,
    Preview,
    ToolPlan,
)
from turnlog.protocol.envelope import UnknownEvent
from turnlog.protocol.events import (
    AgentsAwaited,
    ApprovalAsked,
    CallParked,
    CallSettled,
    ChildAsked,
    ChildEnded,
    ChildStopping,
    ChildTold,
    Compacted,
    CompactionAsked,
    CompactionGivenUp,
    ContextLoaded,
    ConversationResumed,
    EffectClosed,
    FilesSaved,
    ItemsRecorded,
    ModelAsked,
    ModelCompleted,
    ModelFailed,
    ModelItemReceived,
    OpReceived,
    OpRefused,
    PrefixChanged,
    RetryScheduled,
    SessionClosed,
    SessionEvent,
    SessionForked,
    SessionImported,
    SessionOpened,
    SessionStarted,
    StepFailed,
    ToolDispatched,
    ToolFinished,
    TurnEnded,
    TurnOpened,
    TurnsDropped,
    TurnsRestored,
    TurnStopping,
    UndoAsked,
    UserShellAsked,
    WorkspaceScanned,
)
from turnlog.protocol.files import RestoredFile
from turnlog.protocol.images import Image
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
from turnlog.protocol.ops import (
    Archive,
    ExecApproval,
    Op,
    PatchApproval,
    Review,
    RunUserShellCommand,
    SetName,
    TextInput,
    Undo,
    UserInput,
    UserTurn,
    op_name,
)
from turnlog.protocol.view import event_object
from turnlog.replay.views.text import counted


def event_text(event: SessionEvent | UnknownEvent) -> str:
    """Return what a reader wants to know of `event`. The text may be long, and of several lines."""
    match event:
        case UnknownEvent(body=body):
            return f"written by a newer turnlog, {len(body)} bytes"
        case SessionImported(engine=engine):
            return f"by turnlog {engine}, from a file"
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
            place = f"{settings.session.model} in {settings.session.cwd}"
            return f"{place}: {kinds}" if kinds else place
        case ItemsRecorded(items=items):
            return ", ".join(item.kind for item in items)
        case EffectClosed(effect=effect, how=how, message=message):
            return f"{effect} {how}{f': {message}' if message else ''}"
        case StepFailed(message=message):
            return message
        case CompactionAsked() | Compacted() | CompactionGivenUp() | TurnsDropped():
            return _of_conversation(event)
        case ChildAsked() | ChildTold() | ChildEnded() | ChildStopping() | AgentsAwaited():
            return _of_child(event)
        case FilesSaved() | WorkspaceScanned() | UndoAsked() | TurnsRestored():
            return _of_files(event)
        case UserShellAsked(command=command):
            return command
        case CallParked():
            return "nobody answered in time; the question stays open"
        case PrefixChanged(causes=causes):
            return f"the next request has another beginning: {', '.join(causes)}"
        case ConversationResumed(parts=parts, tokens=tokens):
            return f"{counted(parts, 'part')}, {tokens} tokens"
        case other:
            return _fields(other)


def full_text(event: SessionEvent | UnknownEvent) -> str:
    """Return the whole text of `event`: an output, an item, or what `event_text` says."""
    match event:
        case ToolFinished(preamble=preamble, output=output, full_output=full):
            return preamble + (output if full is None else full)
        case CallSettled(output=output):
            return output
        case ModelItemReceived(item_json=item):
            return item_text(item)
        case OpReceived(op=op):
            return op_text(op)
        case other:
            return event_text(other)


def _of_conversation(
    event: CompactionAsked | Compacted | CompactionGivenUp | TurnsDropped,
) -> str:
    match event:
        case CompactionAsked(trigger=trigger, parts=parts, tokens=tokens, attempt=attempt):
            again = f", attempt {attempt}" if attempt > 1 else ""
            return f"{trigger}: {counted(parts, 'part')}, {tokens} tokens{again}"
        case Compacted(method=method, replaced=replaced, parts=parts):
            counts = f"{replaced} parts became {len(parts)}"
            return f"{method}: {counts}, {event.tokens_before} tokens about {event.tokens_after}"
        case CompactionGivenUp(trigger=trigger, why=why):
            return f"{trigger}: {why}"
        case TurnsDropped(turns=turns, redo=redo):
            return "an undo was taken back" if redo else _count(turns)


def _of_child(
    event: ChildAsked | ChildTold | ChildEnded | ChildStopping | AgentsAwaited,
) -> str:
    match event:
        case ChildAsked(kind=kind, name=name, child=child, prompt=prompt):
            return (
                f"{kind} {child}: {prompt}" if name == kind else f"{kind} {name} {child}: {prompt}"
            )
        case ChildTold(child=child, text=text, interrupt=interrupt):
            return f"{child}{', stopped first' if interrupt else ''}: {text}"
        case ChildEnded(child=child, status=status, output=output, error=error):
            return f"{child} {status}: {error.message if error else _report(output or '')}"
        case ChildStopping(child=child):
            return child
        case AgentsAwaited(call_id=call_id, delay_ms=delay):
            return f"{call_id}, {delay} ms at most"


def _report(output: str) -> str:
    """Return what a child said at its end; for a review, its findings instead of its JSON."""
    review = read_output(output)
    if not review.findings and not review.overall_correctness:
        return output
    titles = "; ".join(finding.title for finding in review.findings) or "nothing found"
    return f"{titles} ({review.overall_correctness})" if review.overall_correctness else titles


def _count(turns: int) -> str:
    return {0: "no turn", 1: "1 turn"}.get(turns, f"{turns} turns")


def _of_files(event: FilesSaved | WorkspaceScanned | UndoAsked | TurnsRestored) -> str:
    match event:
        case FilesSaved(files=files):
            return ", ".join(image.path for image in files)
        case WorkspaceScanned(files=files, left_out=left_out, why=why):
            return f"{files} files{f', {left_out} left out: {why}' if left_out else ''}"
        case UndoAsked(since=since, turns=0):
            return f"the last undo is taken back: as it was at event {since}"
        case UndoAsked(since=since, turns=turns):
            return f"{_count(turns)}, back to event {since}"
        case TurnsRestored(files=files):
            return ", ".join(f"{_words(file.outcome)} {file.path}{_why(file)}" for file in files)


def _why(file: RestoredFile) -> str:
    """Return why a file was left alone, in brackets; nothing if it was restored."""
    return (
        f" ({file.reason})" if file.reason and file.outcome not in ("restored", "deleted") else ""
    )


def _words(name: str) -> str:
    return name.replace("_", " ")


def _of_session(event: SessionStarted | SessionForked | SessionOpened | SessionClosed) -> str:
    match event:
        case SessionStarted(settings=settings):
            return f"{settings.model} in {settings.cwd}, {settings.sandbox.mode}"
        case SessionForked(parent=parent, cut=cut):
            return f"from {parent} after event {cut}"
        case SessionOpened(owner=owner):
            return f"by {owner}"
        case SessionClosed(reason="parked"):
            return "parked, with its turn open"
        case SessionClosed(reason=reason):
            return reason


def _of_turn(event: OpReceived | OpRefused | TurnOpened | TurnStopping | TurnEnded) -> str:
    match event:
        case OpReceived(op=op):
            return f"{op_name(op)} {op_text(op)}"
        case OpRefused(code=code, reason=reason):
            return f"{code}: {reason}"
        case TurnOpened(turn=turn, kind=kind):
            return f"turn {turn}" if kind == "regular" else f"turn {turn}, {kind}"
        case TurnStopping(status=status, error=error):
            return f"{status}: {error.message}" if error else status
        case TurnEnded(turn=turn, status=status, error=error):
            return f"turn {turn} {status}{f': {error.message}' if error else ''}"


def op_text(op: Op) -> str:
    """Return what an op says; an image is shown as a word."""
    match op:
        case UserInput(items=items) | UserTurn(items=items):
            texts = (item.text if isinstance(item, TextInput) else "[image]" for item in items)
            return " ".join(texts)
        case RunUserShellCommand(command=text) | Review(prompt=text) | SetName(name=text):
            return text
        case (
            ExecApproval(id=question, decision=decision)
            | PatchApproval(id=question, decision=decision)
        ):
            return f"{question} {decision}"
        case Undo(turns=turns):
            return _count(turns)
        case Archive(archived=archived):
            return "" if archived else "taken back"
        case _:
            return ""


def _of_model(
    event: ModelAsked | ModelItemReceived | ModelCompleted | ModelFailed | RetryScheduled,
) -> str:
    match event:
        case ModelAsked(request=request, attempt=attempt, parts=parts, input_digest=digest):
            again = f", attempt {attempt}" if attempt > 1 else ""
            return f"request {request}{again}: {counted(parts, 'part')}, digest {digest[:12]}"
        case ModelItemReceived(item_json=text):
            return item_text(text)
        case ModelCompleted(usage=usage):
            return f"{usage.input_tokens} tokens in, {usage.output_tokens} out" if usage else ""
        case ModelFailed(failure=failure, partial_text=text):
            said = f"; until then it said: {text}" if text else ""
            return f"{failure.code}: {failure.message}{said}"
        case RetryScheduled(delay_ms=delay, message=message):
            return f"in {delay} ms: {message}"


def item_text(text: JsonText) -> str:
    """Return an item of the conversation for people; an item of an unknown kind as it is."""
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
        case ToolFinished(outcome=outcome, preamble=preamble, output=output, images=images):
            return f"{outcome}: {preamble}{with_images(output, images)}"
        case CallSettled(call_id=call_id, outcome=outcome, output=output):
            return f"{call_id} {outcome}: {output}"
        case ApprovalAsked(plan=plan):
            reason = f" ({plan.reason})" if plan.reason else ""
            return f"{plan.tool} wants to run {plan.wants}{reason}: {preview_text(plan.preview)}"


def with_images(text: str, images: Sequence[Image]) -> str:
    """Return the output of a call, with a line for each of its images."""
    shown = (f"[image: {image.url.partition(',')[0]}]" for image in images)
    return "\n".join((*filter(None, (text,)), *shown))


def traceback_of(event: SessionEvent | UnknownEvent) -> str | None:
    """Return the traceback of a tool's error; None: the event has none."""
    match event:
        case ToolFinished(traceback=traceback):
            return traceback
        case ModelItemReceived(plan=ToolPlan(traceback=traceback)):
            return traceback
        case _:
            return None


def preview_text(preview: Preview | None) -> str:
    """Return what a call is going to do, in a line."""
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
