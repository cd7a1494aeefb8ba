"""What a session's events tell a reader: turns, and in each what was said, thought and done.

A pure function of the events. Of kinds that are not known here, the name is shown.
"""

from collections.abc import Iterable
from typing import Any, Final, Literal

import attrs
import msgspec

from turnlog.actors.core.effects import RunTool
from turnlog.actors.core.rebuild import rebuild
from turnlog.actors.core.state import State
from turnlog.protocol.calls import CommandPreview, CommandReport, PatchPreview, PlanPreview
from turnlog.protocol.envelope import Recorded, UnknownEvent
from turnlog.protocol.events import (
    ApprovalAsked,
    CallSettled,
    ContextLoaded,
    ItemsRecorded,
    ModelAsked,
    ModelCompleted,
    ModelItemReceived,
    OpReceived,
    OpRefused,
    ResponseAbandoned,
    RetryScheduled,
    SessionForked,
    SessionStarted,
    StepFailed,
    ToolFinished,
    TurnEnded,
    TurnOpened,
)
from turnlog.protocol.items import (
    CustomToolCall,
    FunctionCall,
    JsonText,
    Message,
    OtherItem,
    Reasoning,
    WebSearchCall,
    message_text,
    read_item,
)
from turnlog.protocol.ops import ExecApproval, PatchApproval
from turnlog.protocol.usage import TokenUsage

ToolStatus = Literal["done", "failed", "cancelled", "crashed", "not run", "running"]
_USER: Final = "user"
_MARKER: Final = "turn_aborted"
_ANSWERS: Final = {
    "approved": "approved",
    "approved_for_session": "approved, also for later",
    "denied": "denied",
    "abort": "denied, and the turn stopped",
}
# Kinds that show in what they lead to, or that say nothing to a reader.
_SILENT: Final = frozenset(
    {
        *("session_opened", "session_closed", "context_asked", "model_asked", "tool_dispatched"),
        *("tool_started", "effect_closed", "effect_lost", "timer_fired", "rate_limits_received"),
        *("input_queued", "turn_stopping", "model_failed", "effect_done", "workspace_scanned"),
        *("files_saved", "scan_asked"),
    }
)


@attrs.define
class Said:
    """A message of the user's or of the model's."""

    sequence: int
    time_us: int
    who: Literal["user", "assistant"]
    text: str
    images: tuple[str, ...] = ()  # data: and https: addresses
    part: int = 0  # of the event: one can record several messages
    is_withdrawn: bool = False  # the response was cut, and asked for again


@attrs.define
class Thought:
    """A summary of the model's reasoning."""

    sequence: int
    time_us: int
    text: str
    is_withdrawn: bool = False


@attrs.define
class Told:
    """What turnlog told the model itself: instructions, permissions, the environment."""

    sequence: int
    time_us: int
    kind: str
    text: str


@attrs.define
class Tool:
    """A call, and what came of it."""

    sequence: int
    time_us: int
    name: str
    title: str  # on one line: the command, the files, the first of the arguments
    call: str  # arguments or input, as the model wrote them
    status: ToolStatus = "running"
    output: str = ""
    exit_code: int | None = None
    duration_ms: int | None = None
    is_withdrawn: bool = False


@attrs.define
class Remark:
    """Something that happened beside the conversation."""

    sequence: int
    time_us: int
    text: str


Entry = Said | Thought | Told | Tool | Remark


@attrs.define
class TurnShown:
    number: int  # 0: before the first turn
    start_us: int
    model: str = ""
    end_us: int | None = None
    status: Literal["completed", "interrupted", "failed", "open"] = "open"
    error: str | None = None
    usage: TokenUsage = attrs.field(factory=TokenUsage)
    entries: list[Entry] = attrs.field(factory=list[Entry])


@attrs.define
class Transcript:
    session: str
    title: str = ""
    cwd: str = ""
    model: str = ""
    originator: str = ""
    start_us: int = 0
    parent: str | None = None
    cut: int = 0
    usage: TokenUsage = attrs.field(factory=TokenUsage)
    events: int = 0
    turns: list[TurnShown] = attrs.field(factory=list[TurnShown])


def transcript(records: Iterable[Recorded]) -> Transcript:
    """Return what a session's events tell a reader.

    Args:
        records: all events, from the first on; a fork's begin with its parent's.
    """
    reader = _Reader()
    for record in records:
        reader.take(record)
    return reader.finished()


@attrs.define
class _Reader:
    shown: Transcript = attrs.field(factory=lambda: Transcript(""))
    _state: State = attrs.field(factory=State)
    _tools: dict[int, Tool] = attrs.field(factory=dict[int, Tool])  # of the turn, by number
    _response: list[Said | Thought | Tool] = attrs.field(factory=list[Said | Thought | Tool])

    def finished(self) -> Transcript:
        state, shown = self._state, self.shown
        shown.session, shown.usage, shown.events = state.session, state.usage, state.head
        if (summary := state.summary) is not None:
            shown.title, shown.cwd, shown.model = summary.title, summary.cwd, summary.model
            shown.originator, shown.start_us = summary.originator, summary.created_us
            shown.parent, shown.cut = summary.parent, summary.cut
        return shown

    def take(self, record: Recorded) -> None:
        event = record.event
        running = None
        if isinstance(event, ToolFinished):
            running = self._state.outstanding.get(event.effect)
        rebuild((record,), self._state)
        match event:
            case TurnOpened(turn=number):
                self.shown.turns.append(TurnShown(number, record.time_us))
                self._tools.clear()
            case ContextLoaded(settings=settings):
                if self.shown.turns:
                    self.shown.turns[-1].model = settings.session.model
            case ItemsRecorded():
                self._told(record, event)
            case ModelAsked():
                self._response.clear()
            case ModelItemReceived():
                if self._state.belongs_to is not None:
                    self._received(record, event.item_json)
            case ModelCompleted(usage=usage):
                if usage is not None and self._state.belongs_to is not None:
                    self._turn(record).usage += usage
            case ResponseAbandoned(keep=keep):
                for entry in self._response if not keep else ():
                    entry.is_withdrawn = True
            case ToolFinished():
                self._finished_tool(running, event)
            case CallSettled():
                self._settled(record, event)
            case TurnEnded():
                turn = self._turn(record)
                turn.end_us, turn.status = record.time_us, event.status
                turn.error = event.error.message if event.error else None
            case _:
                if (text := _remark(record)) is not None:
                    self._add(record, Remark(record.sequence, record.time_us, text))

    def _turn(self, record: Recorded) -> TurnShown:
        if not self.shown.turns:
            self.shown.turns.append(TurnShown(0, record.time_us, status="completed"))
        return self.shown.turns[-1]

    def _add(self, record: Recorded, entry: Entry) -> None:
        self._turn(record).entries.append(entry)

    def _told(self, record: Recorded, event: ItemsRecorded) -> None:
        at, when = record.sequence, record.time_us
        for index, item in enumerate(event.items):
            text, images = _message(item.item_json)
            if item.kind == _USER:
                self._add(record, Said(at, when, "user", text, images, index))
            elif item.kind == _MARKER:
                self._add(record, Remark(at, when, "The user stopped the turn."))
            else:
                self._add(record, Told(at, when, item.kind, text))

    def _received(self, record: Recorded, item_json: JsonText) -> None:
        at, when = record.sequence, record.time_us
        try:
            item = read_item(item_json)
        except (msgspec.MsgspecError, RecursionError):
            self._add(record, Remark(at, when, "The model sent an item that cannot be read."))
            return
        entry: Said | Thought | Tool
        match item:
            case Message(role=role):
                who: Literal["user", "assistant"] = "assistant" if role == "assistant" else "user"
                entry = Said(at, when, who, message_text(item))
            case Reasoning():
                summary = "\n\n".join(part.text for part in item.summary)
                if not summary:
                    return
                entry = Thought(at, when, summary)
            case FunctionCall() | CustomToolCall():
                call = item.arguments if isinstance(item, FunctionCall) else item.input
                entry = Tool(at, when, item.name, _title(record, call), call)
                if (turn := self._state.turn) is not None and turn.calls:
                    self._tools[turn.first_call + len(turn.calls) - 1] = entry
            case WebSearchCall(action=action):
                query = str((action or {}).get("query", ""))
                entry = Tool(at, when, "web_search", query, "", "done")
            case OtherItem(type=kind):
                self._add(record, Remark(at, when, f"The model sent an item `{kind}`."))
                return
            case _:
                self._add(record, Remark(at, when, "The model sent an output of its own making."))
                return
        self._response.append(entry)
        self._add(record, entry)

    def _finished_tool(self, running: object, event: ToolFinished) -> None:
        tool = self._tools.get(running.call) if isinstance(running, RunTool) else None
        if tool is None:
            return
        tool.status = event.outcome
        tool.output = event.full_output or event.output
        if isinstance(event.report, CommandReport):
            tool.exit_code = event.report.exit_code
            tool.duration_ms = event.report.duration_ms
        elif not tool.output:
            tool.output = event.preamble

    def _settled(self, record: Recorded, event: CallSettled) -> None:
        if (tool := self._tools.get(event.call)) is not None:
            tool.status, tool.output = "not run", event.output


def _remark(record: Recorded) -> str | None:
    """Return what is to be said of an event that is no part of the conversation."""
    match record.event:
        case SessionStarted():
            return None
        case SessionForked(parent=parent, cut=cut):
            return f"Forked from {parent} behind its event {cut}."
        case OpReceived(op=ExecApproval(decision=answer) | PatchApproval(decision=answer)):
            return f"The question was answered: {_ANSWERS[answer]}."
        case OpReceived():
            return None
        case OpRefused(reason=reason):
            return f"Refused: {reason}"
        case ApprovalAsked(plan=plan):
            return f"Asked whether `{plan.tool}` may run. {plan.reason or ''}".rstrip()
        case RetryScheduled(message=message, delay_ms=delay):
            return f"{message} Tried again after {delay} ms."
        case StepFailed(message=message):
            return f"Deciding failed: {message}"
        case UnknownEvent(kind=kind):
            return f"An event of the unknown kind {kind}."
        case _ if record.kind in _SILENT:
            return None
        case _:
            return record.kind.replace("_", " ").capitalize() + "."


def _message(item_json: JsonText) -> tuple[str, tuple[str, ...]]:
    try:
        item = read_item(item_json)
    except (msgspec.MsgspecError, RecursionError):
        return item_json, ()
    if not isinstance(item, Message):
        return item_json, ()
    images = tuple(part.image_url for part in item.content if part.image_url)
    return message_text(item), images


def _title(record: Recorded, call: str) -> str:
    """Return what a call is about, on one line."""
    plan = record.event.plan if isinstance(record.event, ModelItemReceived) else None
    match plan.preview if plan else None:
        case CommandPreview(command=command):
            return command[-1] if command else ""
        case PatchPreview(changes=changes):
            return ", ".join(f"{change.kind} {change.path}" for change in changes)
        case PlanPreview(steps=steps):
            done = sum(step.status == "completed" for step in steps)
            return f"{done} of {len(steps)} steps done"
        case _:
            return _first_argument(call)


def _first_argument(call: str) -> str:
    try:
        arguments: Any = msgspec.json.decode(call)
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return call.strip().partition("\n")[0]
    if isinstance(arguments, dict):
        texts = [value for value in arguments.values() if isinstance(value, str)]  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        return texts[0] if texts else ""
    return ""
