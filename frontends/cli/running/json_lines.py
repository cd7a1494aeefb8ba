"""From a session's events to the lines of `exec --json`. Pure: a fold over what is published."""

import shlex
from collections.abc import Iterable, Iterator
from typing import Final

import attrs
import msgspec
from msgspec import Raw

from turnlog.protocol.calls import (
    CommandPreview,
    CommandReport,
    ErrorInfo,
    PatchPreview,
    PlanPreview,
    Preview,
)
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.events import (
    CallPlanned,
    CompactionAsked,
    ModelAsked,
    ModelCompleted,
    ModelFailed,
    ModelItemReceived,
    PlanAsked,
    ResponseAbandoned,
    RetryScheduled,
    StepFailed,
    ToolDispatched,
    ToolFinished,
    ToolStarted,
    TurnEnded,
    TurnOpened,
    UserShellAsked,
)
from turnlog.protocol.exec_lines import (
    AgentMessage,
    Change,
    CommandExecution,
    Error,
    ErrorItem,
    FileChange,
    ItemCompleted,
    ItemStarted,
    ItemUpdated,
    Line,
    Reasoning,
    Status,
    Todo,
    TodoList,
    TurnCompleted,
    TurnError,
    TurnFailed,
    TurnStarted,
    encode_item,
    encode_web_search,
)
from turnlog.protocol.ids import EffectId
from turnlog.protocol.items import Message, WebSearchCall, message_text, read_item
from turnlog.protocol.items import Reasoning as ReasoningItem
from turnlog.protocol.usage import TokenUsage

_COMPLETED: Final[Status] = "completed"
_FAILED: Final[Status] = "failed"
_UNNAMED: Final = ErrorInfo(ErrorCode.FAILED, "failed")


@attrs.define(eq=False)
class ExecStream:
    """Projects one process's view of a session. Item ids count from 0 for each such view."""

    usage: TokenUsage  # of the session, before the first event that is taken
    last_message: str | None = None
    failed: bool = False
    _failure: str = ErrorCode.FAILED  # the code of the last attempt at the model that failed
    _items: int = 0
    _todo: tuple[str, PlanPreview] | None = None
    _previews: list[Preview | None] = attrs.field(factory=list["Preview | None"])  # by call
    _kept: int = 0  # calls of the turn's earlier responses
    _calls: dict[EffectId, int] = attrs.field(factory=dict[EffectId, int])
    _shown: dict[EffectId, str] = attrs.field(factory=dict[EffectId, str])
    _summaries: set[EffectId] = attrs.field(factory=set[EffectId])  # not said to the user

    def catch_up(self, events: Iterable[Recorded]) -> None:
        """Take the events of a turn that another process began, and show nothing of them."""
        for recorded in events:
            for _ in self.take(recorded):
                pass
        self._items = 0

    def item_of(self, effect: EffectId) -> str | None:
        """Return the id of the item that stands for a tool that runs, if it has one."""
        return self._shown.get(effect)

    def warning(self, message: str) -> Line:
        """Return the line that tells the user something that is no event of the session."""
        return ItemCompleted(encode_item(ErrorItem(self._next_id(), "error", message)))

    def take(self, recorded: Recorded) -> Iterator[Line]:
        """Yield the lines that an event adds."""
        match recorded.event:
            case TurnOpened():
                self._previews.clear()
                yield TurnStarted()
            case CompactionAsked(effect=effect):
                self._summaries.add(effect)
            case ModelItemReceived() as event:
                if event.effect not in self._summaries:
                    yield from self._item(event)
            case ModelAsked():
                self._kept = len(self._previews)
            case ResponseAbandoned(keep=False):
                del self._previews[self._kept :]
            case ModelFailed(failure=failure):
                self._failure = failure.code
            case ModelCompleted(usage=usage):
                self.usage += usage or TokenUsage()
            case ToolDispatched(effect=effect, call=call) | PlanAsked(effect=effect, call=call):
                self._calls[effect] = call
            case CallPlanned(effect=effect, plan=plan):
                self._previews[self._calls.pop(effect)] = plan.preview
            case UserShellAsked(effect=effect, command=command):
                self._calls[effect] = len(self._previews)
                self._previews.append(CommandPreview(("bash", "-lc", command), ""))
            case ToolStarted(effect=effect):
                yield from self._tool_started(effect)
            case ToolFinished() as event:
                yield from self._tool_finished(event)
            case RetryScheduled(level="stream", message=message):
                yield Error(message, self._failure)
            case TurnEnded() as event:
                yield from self._turn_ended(event)
            case StepFailed(message=message):
                yield from self._turn_failed(ErrorInfo(ErrorCode.STEP_FAILED, message))
            case _:
                pass

    def _next_id(self) -> str:
        self._items += 1
        return f"item_{self._items - 1}"

    def _item(self, event: ModelItemReceived) -> Iterator[Line]:
        if event.plan is not None:
            self._previews.append(event.plan.preview)
        try:
            item = read_item(event.item_json)
        except msgspec.MsgspecError:
            return
        match item:
            case Message(role="assistant") if text := message_text(item):
                self.last_message = text
                shown = AgentMessage(self._next_id(), "agent_message", text)
                yield ItemCompleted(encode_item(shown))
            case ReasoningItem(summary=summary) if summary:
                text = "\n".join(part.text for part in summary)
                yield ItemCompleted(encode_item(Reasoning(self._next_id(), "reasoning", text)))
            case WebSearchCall(id=search_id, action=action):
                target = (action or {}).get("query") or (action or {}).get("url") or ""
                raw = encode_web_search(self._next_id(), search_id or "", str(target), action)
                yield ItemStarted(raw)
                yield ItemCompleted(raw)
            case _:
                pass

    def _tool_started(self, effect: EffectId) -> Iterator[Line]:
        preview = self._previews[self._calls[effect]]
        if isinstance(preview, PlanPreview):
            yield self._plan(preview)
        elif preview is not None:
            self._shown[effect] = self._next_id()
            yield ItemStarted(_tool_item(self._shown[effect], preview, "in_progress", "", None))

    def _plan(self, preview: PlanPreview) -> Line:
        started = self._todo is None
        item_id = self._todo[0] if self._todo else self._next_id()
        self._todo = (item_id, preview)
        item = _todo_item(item_id, preview)
        return ItemStarted(item) if started else ItemUpdated(item)

    def _tool_finished(self, event: ToolFinished) -> Iterator[Line]:
        item_id = self._shown.pop(event.effect, None)
        preview = self._previews[self._calls.pop(event.effect)]
        if item_id is None or preview is None or event.outcome == "cancelled":
            return
        status = _COMPLETED if event.outcome == "done" else _FAILED
        output = event.output if event.full_output is None else event.full_output
        code = event.report.exit_code if isinstance(event.report, CommandReport) else None
        yield ItemCompleted(_tool_item(item_id, preview, status, output, code))

    def _turn_ended(self, event: TurnEnded) -> Iterator[Line]:
        if self._todo is not None:
            todo, self._todo = self._todo, None
            yield ItemCompleted(_todo_item(*todo))
        match event.status:
            case "completed":
                yield TurnCompleted(self.usage)
            case "failed":
                yield from self._turn_failed(event.error or _UNNAMED)
            case "interrupted":
                self.failed = True

    def _turn_failed(self, error: ErrorInfo) -> Iterator[Line]:
        self.failed = True
        yield Error(error.message, error.code)
        yield TurnFailed(TurnError(error.message, error.code))


def _tool_item(
    item_id: str,
    preview: Preview,
    status: Status,
    output: str,
    exit_code: int | None,
) -> Raw:
    match preview:
        case CommandPreview(command=command):
            return encode_item(
                CommandExecution(
                    item_id, "command_execution", shlex.join(command), output, exit_code, status
                )
            )
        case PatchPreview(changes=changes):
            shown = tuple(Change(change.path, change.kind) for change in changes)
            return encode_item(FileChange(item_id, "file_change", shown, status))
        case PlanPreview():
            return _todo_item(item_id, preview)


def _todo_item(item_id: str, preview: PlanPreview) -> Raw:
    todos = tuple(Todo(step.step, step.status == "completed") for step in preview.steps)
    return encode_item(TodoList(item_id, "todo_list", todos))
