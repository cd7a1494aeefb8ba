"""What a session's events tell a reader: turns, and in each what was said, thought and done.

A pure function of the events. Of kinds that are not known here, the name is shown.
"""

from collections.abc import Iterable
from typing import Any, Final, Literal

import attrs
import msgspec

from turnlog.actors.core.rebuild import rebuild
from turnlog.actors.core.review import ReviewOutput, read_output
from turnlog.actors.core.state import State, Turn
from turnlog.protocol.calls import (
    CommandPreview,
    CommandReport,
    PatchPreview,
    PlanPreview,
    ToolPlan,
)
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.events import (
    ApprovalAsked,
    CallSettled,
    ChildAsked,
    ChildEnded,
    Compacted,
    CompactionAsked,
    ContextLoaded,
    EffectClosed,
    EffectLost,
    ItemsRecorded,
    ModelAsked,
    ModelCompleted,
    ModelItemReceived,
    OpeningDecision,
    OpReceived,
    QuestionAnswered,
    RecordedItem,
    ResponseAbandoned,
    ToolDispatched,
    ToolFinished,
    TurnEnded,
    TurnOpened,
    UserShellAsked,
)
from turnlog.protocol.ids import EffectId
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
from turnlog.replay.transcript.entries import (
    Entry,
    Question,
    Remark,
    Said,
    Summary,
    Thought,
    Told,
    Tool,
    Transcript,
    TurnShown,
)
from turnlog.replay.transcript.remarks import remark
from turnlog.replay.views.event_text import with_images

_USER: Final = "user"
_MARKER: Final = "turn_aborted"
_SUMMARY: Final = "summary"
_ANSWERS: Final = {
    "approved": "approved",
    "approved_for_session": "approved, also for later",
    "denied": "denied",
    "abort": "denied, and the turn stopped",
}
_TRIGGERS: Final = {
    "manual": "as its user wished",
    "before_turn": "before the turn",
    "in_turn": "within the turn",
    "smaller_window": "for a model with a smaller window",
    "overflow": "since a request was too long",
}


def transcript(records: Iterable[Recorded]) -> Transcript:
    """Return what a session's events tell a reader.

    Args:
        records: all events, from the first on; a fork's begin with its parent's.
    """
    reader = _TranscriptReader()
    for record in records:
        reader.take(record)
    return reader.finished()


@attrs.define
class _TranscriptReader:
    shown: Transcript = attrs.field(factory=lambda: Transcript(""))
    _state: State = attrs.field(factory=State)
    _tools: dict[int, Tool] = attrs.field(factory=dict[int, Tool])  # of the turn, by number
    _response: list[Said | Thought | Tool] = attrs.field(factory=list[Said | Thought | Tool])
    _running: dict[EffectId, Tool] = attrs.field(factory=dict[EffectId, Tool])  # no calls
    _questions: dict[str, Question] = attrs.field(factory=dict[str, Question])
    _asked: dict[EffectId, Question] = attrs.field(factory=dict[EffectId, Question])

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
            case TurnOpened(turn=number, kind=kind):
                self.shown.turns.append(TurnShown(number, record.time_us, kind))
                self._tools.clear()
            case ContextLoaded(settings=settings):
                if self.shown.turns:
                    self.shown.turns[-1].model = settings.session.model
            case ItemsRecorded():
                self._told(record, event)
            case ModelAsked():
                self._response.clear()
            case ModelItemReceived():
                of = self._state.in_hand.closes
                if of is not None and not isinstance(of, CompactionAsked):
                    self._received(record, event.item_json)
            case ModelCompleted(usage=usage):
                if usage is not None and self._state.in_hand.closes is not None:
                    self._turn(record).usage += usage
            case ResponseAbandoned(keep=keep):
                for entry in self._response if not keep else ():
                    entry.is_withdrawn = True
            case ToolFinished():
                self._finished_tool(running, event)
            case CallSettled():
                self._settled(event)
            case Compacted():
                self._add(record, _summary(record, event))
            case TurnEnded():
                turn = self._turn(record)
                turn.end_us, turn.status = record.time_us, event.status
                turn.error = event.error.message if event.error else None
            case _:
                self._beside(record)

    def _beside(self, record: Recorded) -> None:
        """Take an event that is not part of the talk with the model, or of an unknown kind."""
        at, when = record.sequence, record.time_us
        match record.event:
            case ApprovalAsked() as asked:
                self._ask(record, asked)
            case OpReceived(
                op=ExecApproval(id=question, decision=answer)
                | PatchApproval(id=question, decision=answer)
            ) if question in self._questions and self._state.in_hand.answers is not None:
                self._questions[question].answer = _ANSWERS[answer]
            case QuestionAnswered(effect=effect) if effect in self._asked:
                self._asked[effect].answer = "answered by an answer that holds for the session"
            case UserShellAsked(effect=effect, command=command):
                self._begin(record, effect, Tool(at, when, "user's command", command, ""))
            case ChildAsked(effect=effect) as asked:
                self._begin(record, effect, _child(record, asked))
            case ChildEnded() as ended:
                self._child_ended(ended)
            case EffectClosed(effect=effect, how=how) if effect in self._running:
                self._running.pop(effect).status = how
            case EffectLost(effect=effect) if effect in self._running:
                self._running.pop(effect).status = "interrupted"
            case _:
                if (text := remark(record)) is not None:
                    self._add(record, Remark(at, when, text))

    def _begin(self, record: Recorded, effect: EffectId, tool: Tool) -> None:
        self._running[effect] = tool
        self._add(record, tool)

    def _ask(self, record: Recorded, asked: ApprovalAsked) -> None:
        """Show a question; one that is asked again after a restart is shown once."""
        question = self._questions.get(asked.question)
        if question is None:
            plan = asked.plan
            question = Question(
                record.sequence,
                record.time_us,
                plan.tool,
                _preview(plan),
                plan.reason or "",
                plan.wants == "outside",
            )
            self._questions[asked.question] = question
            self._add(record, question)
        self._asked[asked.effect] = question

    def _child_ended(self, ended: ChildEnded) -> None:
        tool = self._running.pop(ended.effect, None)
        if tool is None:
            return
        tool.status = ended.status
        if ended.error is not None:
            tool.output = f"{ended.error.code}: {ended.error.message}"
        else:
            tool.output = _report(ended.output or "")

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
                if isinstance(turn := self._state.turn, Turn) and turn.calls:
                    self._tools[turn.calls[-1].number] = entry
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

    def _finished_tool(self, running: OpeningDecision | None, event: ToolFinished) -> None:
        tool = None
        if isinstance(running, ToolDispatched):
            tool = self._tools.get(running.call)
        elif isinstance(running, UserShellAsked):
            tool = self._running.pop(event.effect, None)
        if tool is None:
            return
        tool.status = event.outcome
        tool.output = with_images(event.full_output or event.output, event.images)
        if isinstance(event.report, CommandReport):
            tool.exit_code = event.report.exit_code
            tool.duration_ms = event.report.duration_ms
        elif not tool.output:
            tool.output = event.preamble

    def _settled(self, event: CallSettled) -> None:
        if (tool := self._tools.get(event.call)) is not None:
            tool.status = "done" if event.outcome == "answered" else "not run"
            tool.output = event.output


def _summary(record: Recorded, event: Compacted) -> Summary:
    """Return what took the place of the conversation, and how much it took away."""
    how = "summed up" if event.method == "summary" else "cut"
    became = f"{event.replaced} parts became {len(event.parts)}"
    tokens = f"{event.tokens_before:,} tokens about {event.tokens_after:,}"
    title = f"The conversation was {how} {_TRIGGERS[event.trigger]}: {became}, {tokens}"
    new = (part for part in event.parts if isinstance(part, RecordedItem))
    texts = [_message(part.item_json)[0] for part in new if part.kind == _SUMMARY]
    return Summary(record.sequence, record.time_us, title, "\n\n".join(texts))


def _child(record: Recorded, asked: ChildAsked) -> Tool:
    """Return a child session as a call: what it was asked, and later what it came to."""
    name = asked.kind if asked.name == asked.kind else f"{asked.kind} {asked.name}"
    again = f", prompt {asked.run}" if asked.run > 1 else ""
    return Tool(record.sequence, record.time_us, name, f"{asked.child}{again}", asked.prompt)


def _report(output: str) -> str:
    """Return what a child said at its end; of a review, its findings instead of their JSON."""
    review: ReviewOutput = read_output(output)
    if not review.findings and not review.overall_correctness:
        return output
    lines = [review.overall_correctness, review.overall_explanation]
    for finding in review.findings:
        place = finding.code_location
        lines_at = f":{place.line_range.start}-{place.line_range.end}" if place else ""
        where = f" — {place.absolute_file_path}{lines_at}" if place else ""
        priority = f"[P{finding.priority}] " if finding.priority is not None else ""
        lines += ["", f"- {priority}{finding.title}{where}"]
        lines += [f"  {line}" for line in finding.body.splitlines()]
    return "\n".join(line for number, line in enumerate(lines) if line or number > 1)


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
    shown = _preview(plan) if plan is not None else ""
    return shown or _first_argument(call)


def _preview(plan: ToolPlan) -> str:
    """Return what a call is going to do, on one line; empty, if its plan does not show that."""
    match plan.preview:
        case CommandPreview(command=command):
            return command[-1] if command else ""
        case PatchPreview(changes=changes):
            return ", ".join(f"{change.kind} {change.path}" for change in changes)
        case PlanPreview(steps=steps):
            done = sum(step.status == "completed" for step in steps)
            return f"{done} of {len(steps)} steps done"
        case None:
            return ""


def _first_argument(call: str) -> str:
    try:
        arguments: Any = msgspec.json.decode(call)
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return call.strip().partition("\n")[0]
    if isinstance(arguments, dict):
        texts = [value for value in arguments.values() if isinstance(value, str)]  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        return texts[0] if texts else ""
    return ""
