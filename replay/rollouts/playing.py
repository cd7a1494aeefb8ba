"""From a recorded conversation to a session: its facts, told in order to today's core.

What the model said, what the tools gave and what the user typed are the rollout's; every decision
is made now. So an imported session replays without a difference, and continues like any other.
"""

import json
from collections.abc import Sequence
from typing import Final, Literal

import attrs

from turnlog.actors.core.model_call import sendable
from turnlog.actors.core.rules import RULES
from turnlog.actors.core.state import Call
from turnlog.actors.core.state import Turn as RunningTurn
from turnlog.protocol.calls import ContextFragment, ModelFailure
from turnlog.protocol.events import (
    ApprovalAsked,
    ContextAsked,
    ContextLoaded,
    EffectClosed,
    ModelAsked,
    ModelCompleted,
    ModelFailed,
    ModelItemReceived,
    OpReceived,
    SessionFact,
    SessionOpened,
    SessionStarted,
    ToolDispatched,
    ToolFinished,
    ToolStarted,
)
from turnlog.protocol.ids import EffectId, SessionId
from turnlog.protocol.items import CustomToolCall, FunctionCall, JsonText, OtherCall, text_message
from turnlog.protocol.json_values import objects, text_of
from turnlog.protocol.ops import (
    ExecApproval,
    ImageInput,
    Interrupt,
    Op,
    Shutdown,
    TextInput,
    UserInput,
    UserInputItem,
    UserTurn,
)
from turnlog.protocol.settings import SessionSettings, TurnSettings
from turnlog.protocol.version import VERSION
from turnlog.replay.rollouts.groups import Group, TurnParts, parts_of
from turnlog.replay.rollouts.reading import Note, Skipped
from turnlog.replay.rollouts.stream import Stream
from turnlog.replay.rollouts.terms import (
    context_kind,
    failure_of,
    output_images,
    output_text,
    part_text,
    plan_of,
    report_of,
    update_of,
)
from turnlog.replay.rollouts.turns import Entry, Turn, Window

ORIGIN: Final = "import"  # of the ops, and of the session's writer
_FENCE: Final = 1  # of the claim that makes a session
_NO_PROMPT: Final = "(continued; no prompt is recorded here)"
_NO_OUTPUT: Final = "aborted"  # what Codex itself says, when it resumes, of a call without one
_STOPPED: Final = "aborted by user"  # ends the output of a call that its user stopped
_ENDS_HERE: Final = ModelFailure("cancelled", "the recording ends here")
_COMPACTED: Final = ModelFailure("cancelled", "the conversation was compacted here")


@attrs.define
class Player:
    """Writes one window of a rollout as a session."""

    session: SessionId
    originator: str
    stream: Stream = attrs.field(factory=Stream)
    notes: list[Note] = attrs.field(factory=list[Note])
    skipped: list[Skipped] = attrs.field(factory=list[Skipped])
    _ops: int = 0

    def play(self, window: Window, settings: SessionSettings, start_us: int) -> None:
        """Tell the core all of a window, from the session's start to its end."""
        self._send(SessionStarted(self.session, settings, self.originator, VERSION), start_us)
        self._send(SessionOpened(_FENCE, ORIGIN, VERSION, rules=RULES), start_us)
        base = list(window.base)
        for turn in window.turns:
            self._turn(turn, base)
            base = []
        last_us = window.turns[-1].end_us if window.turns else start_us
        self._op(Shutdown(), last_us)

    # --- small things -----------------------------------------------------------------------------

    def _send(self, fact: SessionFact, time_us: int) -> None:
        self.stream.send(fact, time_us)

    def _op(self, op: Op, time_us: int) -> None:
        self._ops += 1
        self._send(OpReceived(f"{ORIGIN}-{self._ops}", op, ORIGIN), time_us)

    def _note(self, entry: Entry, text: str) -> None:
        self.notes.append(Note(entry.line, text, entry.file))

    def _skip(self, entry: Entry, reason: str) -> None:
        self.skipped.append(Skipped(entry.line, reason, entry.file))

    def _asked(self) -> EffectId | None:
        """Return the effect of the model being asked, if it is."""
        return next((asked.effect for asked in self.stream.state.open(ModelAsked)), None)

    # --- a turn -----------------------------------------------------------------------------------

    def _turn(self, turn: Turn, base: Sequence[Entry]) -> None:
        parts = parts_of(turn, base)
        self.skipped += parts.skipped
        self.notes += parts.notes
        self._open(turn, parts)
        groups = parts.groups
        for number, group in enumerate(groups):
            if not self._group(turn, group, is_last=number == len(groups) - 1):
                break
        self._end(turn, parts)

    def _open(self, turn: Turn, parts: TurnParts) -> None:
        state = self.stream.state
        assert state.settings is not None
        update = update_of(turn.context or {}, state.settings)
        prompt = parts.prompt
        when = prompt.time_us if prompt else turn.start_us
        if prompt is None:
            self.notes.append(Note(0, f"turn {turn.turn_id}: no prompt is recorded", parts.file))
        self._op(UserTurn(_inputs(prompt), update), turn.start_us or when)
        for steered in parts.steered:
            self._steer(steered)
        loading = [asked.effect for asked in state.open(ContextAsked)]
        settings = TurnSettings(state.settings, context_window=turn.context_window)
        tools = next((_tools(entry) for entry in parts.tools), "[]")
        fragments = self._fragments(parts.context)
        message = prompt.item_json if prompt else text_message("user", _NO_PROMPT)
        self._send(ContextLoaded(loading[0], settings, tools, fragments, message), when)

    def _steer(self, entry: Entry) -> None:
        self._op(UserInput(_inputs(entry)), entry.time_us)

    def _fragments(self, entries: Sequence[Entry]) -> tuple[ContextFragment, ...]:
        """Return the parts of the context, each as a fragment that the core will tell."""
        found: list[ContextFragment] = []
        state = self.stream.state
        told = dict(state.history.context)
        base = state.settings.base_instructions if state.settings else None
        if base is not None and not state.turns > 1:
            found.append(ContextFragment("base_instructions", "developer", base))
        for entry in entries:
            parts = objects(entry.item.get("content"))
            is_user = entry.item.get("role") == "user"
            role: Literal["developer", "user"] = "user" if is_user else "developer"
            if len(parts) > 1:
                self._note(entry, f"a message of {len(parts)} parts is as many messages here")
            for index, part in enumerate(parts):
                name = entry.kinds[index] if index < len(entry.kinds) else ""
                text = part_text(part)
                kind = _free_kind(context_kind(name, text), text_message(role, text), told)
                told[kind] = text_message(role, text)
                found.append(ContextFragment(kind, role, text))
        return tuple(found)

    # --- a response -------------------------------------------------------------------------------

    def _group(self, turn: Turn, group: Group, *, is_last: bool) -> bool:
        """Tell a response, its calls, and what the user said meanwhile. False: the turn is over."""
        effect = self._asked()
        if effect is None:
            for entry in group.items:
                self._skip(entry, "it comes after the end of its turn")
            return False
        for entry in group.items:
            self._item(effect, turn, entry)
        running = self.stream.state.turn
        calls = _for_tools(running) if isinstance(running, RunningTurn) else []
        stops = is_last and turn.end == "aborted"
        when = group.end_us
        if not calls:
            if is_last and turn.end == "failed" and group.items:
                self._last_words(group, stops=False)
                if group.items[-1].kind != "reasoning":
                    return True  # the failure closes the response
                # What was thought last would go with that. With a word after it, the turn continues
                # to fail; else it is over.
                self._send(ModelCompleted(effect, group.response_id, group.usage), when)
                return True
            self._last_words(group, stops=stops)
        self._send(ModelCompleted(effect, group.response_id, group.usage), when)
        for call in calls:
            if call is calls[-1]:
                self._last_words(group, stops=stops)
            self._tool(turn, group, call)
        return True

    def _last_words(self, group: Group, *, stops: bool) -> None:
        """Tell what must be known before the response ends, so that the turn continues or stops."""
        for entry in group.steered:
            self._steer(entry)
        if stops:
            self._op(Interrupt(), group.end_us)

    def _item(self, effect: EffectId, turn: Turn, entry: Entry) -> None:
        item = sendable(entry.item_json)
        if item is None:
            self._skip(entry, "no item that a conversation can hold")
            return
        plan = None
        if isinstance(item, FunctionCall | CustomToolCall):
            plan = plan_of(item.name, turn.reports.get(item.call_id))
        self._send(ModelItemReceived(effect, entry.item_json, plan), entry.time_us)
        asked = self.stream.state.open(ApprovalAsked)
        for question in asked:  # rollouts do not hold the answers; that it ran, they do
            self._op(ExecApproval(question.question, "approved"), entry.time_us)

    def _tool(self, turn: Turn, group: Group, call: Call) -> None:
        effect = next(
            dispatched.effect
            for dispatched in self.stream.state.open(ToolDispatched)
            if dispatched.call == call.number
        )
        call_id = call.item.call_id
        report = turn.reports.get(call_id)
        started = report.get("started_at_ms") if report else None
        output = group.outputs.get(call_id)
        when = output.time_us if output else group.end_us
        started_us = started * 1000 if isinstance(started, int) else group.end_us
        self._send(ToolStarted(effect), min(started_us, when))
        if output is None:
            text = f"the call {call_id} has no output: it is told as {_NO_OUTPUT!r}"
            self.notes.append(Note(group.line, text, group.file))
            self._send(ToolFinished(effect, "cancelled", "", _NO_OUTPUT), when)
            return
        given = output.item.get("output")
        text, is_exact = output_text(given)
        if not is_exact:
            self._note(output, "an output in parts is one text here, and its images follow it")
        outcome, told = report_of(report)
        outcome = "cancelled" if text.endswith(_STOPPED) else outcome
        head, mark, tail = text.partition("\nOutput:\n")
        preamble, rest = (head + mark, tail) if mark else ("", text)
        images = output_images(given)
        self._send(ToolFinished(effect, outcome, preamble, rest, report=told, images=images), when)

    # --- the end ----------------------------------------------------------------------------------

    def _end(self, turn: Turn, parts: TurnParts) -> None:
        """Close what the turn's end closes. A turn whose last response is whole has ended."""
        state = self.stream.state
        effect, when = self._asked(), turn.end_us
        if effect is None or state.turn is None:
            return
        usage = parts.late_usage
        match turn.end:
            case "aborted":
                self._op(Interrupt(), when)
                self._send(EffectClosed(effect, "cancelled"), when)
            case "failed":
                self._send(_failed(effect, failure_of(turn.error)), when)
            case "completed":
                self._send(ModelCompleted(effect, "", usage), when)
            case "compacted":
                self._send(ModelFailed(effect, _COMPACTED), when)
            case None:
                self._send(ModelFailed(effect, _ENDS_HERE), when)


def _failed(effect: EffectId, failure: ModelFailure) -> ModelFailed | EffectClosed:
    """Return the fact that ends a turn with this failure.

    A conversation that was too long is no failure of the model here: the core would ask for a
    summary, and the recording holds none.
    """
    if failure.code == "context_window_exceeded":
        return EffectClosed(effect, "failed", failure.message, failure.code)
    return ModelFailed(effect, failure)


def _for_tools(turn: RunningTurn) -> list[Call]:
    """Return the calls that a tool of the recording answered."""
    return [call for call in turn.calls if not isinstance(call.item, OtherCall)]


def _inputs(entry: Entry | None) -> tuple[UserInputItem, ...]:
    if entry is None:
        return (TextInput(_NO_PROMPT),)
    found: list[UserInputItem] = []
    for part in objects(entry.item.get("content")):
        url = text_of(part.get("image_url"))
        found.append(ImageInput(url) if url else TextInput(part_text(part)))
    return tuple(found) or (TextInput(""),)


def _tools(entry: Entry) -> JsonText:
    return json.dumps(entry.item.get("tools", []), ensure_ascii=False)


def _free_kind(kind: str, item_json: JsonText, told: dict[str, JsonText]) -> str:
    """Return `kind`, numbered if this very text was the last that was told of it."""
    name, number = kind, 1
    while told.get(name) == item_json:
        number += 1
        name = f"{kind}.{number}"
    return name
