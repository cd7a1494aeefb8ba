"""The conversation that a rollout's lines tell: windows between compactions, and their turns.

A turn has a start and an end in newer releases; in older ones it begins with what the user says.
"""

from typing import Any, Final, Literal

import attrs

from turnlog.protocol.codex_rollout import PRIVATE_KEY, SUMMARY_PREFIX, read_usage
from turnlog.protocol.items import JsonText
from turnlog.protocol.json_text import json_text
from turnlog.protocol.json_values import is_object, objects, text_of
from turnlog.protocol.times import time_us
from turnlog.protocol.usage import TokenUsage
from turnlog.replay.rollouts.reading import Line, Note, RolloutFile, Skipped

# Whose an item is: told to the model by the program, or by the user; the model's own; the output
# of a call; the tools of a model that is sent them among its input.
Whose = Literal["context", "user", "model", "output", "tools"]

_TURN_ABORTED: Final = "<turn_aborted>"
# How Codex begins what it says in the user's name. Source: codex-rs, the markers of its context.
_CONTEXT_BEGINS: Final = (
    "# AGENTS.md instructions",
    "<environment_context>",
    "<user_instructions>",
    "<user_shell_command>",
    "<model_switch>",
    "<skill>",
    "<subagent_notification>",
    "<goal_context>",
)
_OUTPUTS: Final = frozenset({"function_call_output", "custom_tool_call_output"})
_TOOL_ITEMS: Final = frozenset({"CommandExecution", "FileChange", "McpToolCall"})


@attrs.frozen
class Entry:
    """One item of the conversation."""

    whose: Whose
    time_us: int
    line: int
    file: str
    item: dict[str, Any]
    item_json: JsonText
    kinds: tuple[str, ...] = ()  # of its content's parts, where the rollout tells

    @property
    def kind(self) -> str:
        return text_of(self.item.get("type"))

    @property
    def call_id(self) -> str:
        return text_of(self.item.get("call_id"))


@attrs.frozen
class Usage:
    """What a response cost. It comes after the response's items."""

    time_us: int
    usage: TokenUsage
    response_id: str


@attrs.define
class Turn:
    """One turn, or what one window holds of it."""

    turn_id: str
    start_us: int
    is_told: bool  # a line says that it starts
    context: dict[str, Any] | None = None  # its `turn_context`
    context_window: int | None = None  # tokens
    entries: list[Entry | Usage] = attrs.field(factory=list[Entry | Usage])
    reports: dict[str, dict[str, Any]] = attrs.field(factory=dict[str, dict[str, Any]])
    end: Literal["completed", "aborted", "failed", "compacted"] | None = None
    end_us: int = 0
    error: dict[str, Any] = attrs.field(factory=dict[str, Any])

    @property
    def has_answer(self) -> bool:
        return any(isinstance(e, Entry) and e.whose == "model" for e in self.entries)

    @property
    def is_talk(self) -> bool:
        """Whether the user or the model says something in it."""
        told = (entry for entry in self.entries if isinstance(entry, Entry))
        return any(entry.whose in ("user", "model", "output") for entry in told)

    @property
    def open_calls(self) -> set[str]:
        items = [entry for entry in self.entries if isinstance(entry, Entry) and entry.call_id]
        answered = {entry.call_id for entry in items if entry.whose == "output"}
        return {entry.call_id for entry in items if entry.whose == "model"} - answered


@attrs.define
class Window:
    """What the model saw between two compactions."""

    base: list[Entry] = attrs.field(factory=list[Entry])  # what the compaction left
    turns: list[Turn] = attrs.field(factory=list[Turn])


@attrs.define
class Conversation:
    meta: dict[str, Any]
    windows: list[Window]
    items: int = 0  # lines that hold one
    events: int = 0  # lines of other types that say something of a turn
    passed: dict[str, int] = attrs.field(factory=dict[str, int])  # lines that say nothing more
    skipped: list[Skipped] = attrs.field(factory=list[Skipped])
    notes: list[Note] = attrs.field(factory=list[Note])


def conversation(file: RolloutFile) -> Conversation:
    """Return what the lines of a rollout tell. Pure, and total."""
    reader = _RolloutReader(
        Conversation(file.meta, [Window()]),
        has_records=any(line.type == "token_usage_record" for line in file.lines),
    )
    for line in file.lines:
        reader.take(line)
    reader.close()
    return reader.told


@attrs.define
class _RolloutReader:
    told: Conversation
    has_records: bool  # of token usage; else it is counted by events
    _turn: Turn | None = None
    # Of a turn to come: context, and what was spent on no turn's conversation.
    _pending: list[Entry | Usage] = attrs.field(factory=list[Entry | Usage])
    _total: int = 0  # tokens, as last counted
    _now_us: int = 0

    def take(self, line: Line) -> None:
        self._now_us = line.time_us
        match line.type:
            case "session_meta":
                self._pass(line.type)
            case "response_item":
                self.told.items += 1
                self._take_item(line)
            case "turn_context":
                self._note_event()
                self._take_context(line.payload)
            case "token_usage_record":
                self._note_event()
                self._take_usage(line.payload.get("usage"), line.payload.get("response_id"))
            case "compacted":
                self._note_event()
                self._take_compaction(line)
            case "event_msg":
                self._take_event(line)
            case "world_state":
                self._pass(line.type)
            case _:
                self._skip(line, f"lines of the type {line.type!r} are not known")

    def _note_event(self) -> None:
        self.told.events += 1

    def _pass(self, kind: str) -> None:
        self.told.passed[kind] = self.told.passed.get(kind, 0) + 1

    def _skip(self, line: Line, reason: str) -> None:
        self.told.skipped.append(Skipped(line.number, reason, line.file))

    # --- events -----------------------------------------------------------------------------------

    def _take_event(self, line: Line) -> None:
        payload, kind = line.payload, text_of(line.payload.get("type"))
        self._note_event()
        match kind:
            case "task_started" | "turn_started":
                self.close_turn(None, line.time_us)
                turn = self._open(text_of(payload.get("turn_id")), is_told=True)
                window = payload.get("model_context_window")
                turn.context_window = window if isinstance(window, int) else None
            case "task_complete" | "turn_complete":
                error = payload.get("error")
                if self._turn is not None and is_object(error):
                    self._turn.error = error
                has_failed = self._turn is not None and bool(self._turn.error)
                self.close_turn("failed" if has_failed else "completed", line.time_us)
            case "turn_aborted":
                self._abort(line.time_us)
            case "error" if self._turn is not None:
                self._turn.error = payload
            case "thread_rolled_back":
                self._roll_back(line)
            case "item_completed" if is_object(item := payload.get("item")):
                if text_of(item.get("type")) not in _TOOL_ITEMS:
                    self.told.events -= 1
                    self._pass(f"item_completed {text_of(item.get('type'))}")
                elif (running := self._turn or self._last_turn()) is not None:
                    running.reports[text_of(item.get("id"))] = payload
            case "token_count" if not self.has_records:
                self._take_count(payload.get("info"))
            case _:
                self.told.events -= 1
                self._pass(kind)

    def _last_turn(self) -> Turn | None:
        """Return the last turn that is over: what was stopped reports itself after its end."""
        turns = self.told.windows[-1].turns
        return turns[-1] if turns else None

    def _abort(self, time: int) -> None:
        if self._turn is not None:
            self.close_turn("aborted", time)
        elif (turn := self._last_turn()) is not None:
            turn.end = "aborted"

    def _roll_back(self, line: Line) -> None:
        self.close_turn(None, line.time_us)
        count = line.payload.get("num_turns")
        turns = self.told.windows[-1].turns
        taken = min(count, len(turns)) if isinstance(count, int) else 0
        del turns[len(turns) - taken :]
        text = f"{taken} of {count} turns before it were taken back by the user, and are left out"
        self.told.notes.append(Note(line.number, text, line.file))

    def _take_context(self, payload: dict[str, Any]) -> None:
        turn = self._turn
        if turn is None:
            turn = self._open(text_of(payload.get("turn_id")), is_told=False)
        if turn.context is None or not turn.has_answer:
            turn.context = payload

    def _take_usage(self, value: object, response_id: object) -> None:
        usage = read_usage(value)
        if usage is not None and self._turn is not None:
            self._turn.entries.append(Usage(self._now_us, usage, text_of(response_id)))

    def _take_count(self, info: object) -> None:
        """Take a count of the old form, which repeats the last one when a response begins."""
        if not is_object(info):
            return
        total = read_usage(info.get("total_token_usage"))
        if total is not None and total.total_tokens != self._total:
            self._total = total.total_tokens
            self._take_usage(info.get("last_token_usage"), "")

    # --- items ------------------------------------------------------------------------------------

    def _take_item(self, line: Line) -> None:
        if line.metadata.get("compaction_output") is True:
            text = "the answer to a compaction; its summary begins the next window"
            self.told.notes.append(Note(line.number, text, line.file))
            return
        entry = read_entry(line, line.payload, line.payload_json)
        if entry.whose == "user" and is_turn_aborted(entry.item):
            if self._turn is not None:
                self._turn.end = "aborted"
            else:
                self._abort(line.time_us)
            return
        turn = self._turn
        if turn is not None and not turn.is_told and self._begins_next(turn, entry):
            self.close_turn(None, line.time_us)
            turn = None
        if turn is None and entry.whose in ("context", "tools"):
            self._pending.append(entry)
            return
        if turn is None and entry.whose == "output" and self._is_late(entry):
            return
        (turn or self._open("", is_told=False)).entries.append(entry)

    def _begins_next(self, turn: Turn, entry: Entry) -> bool:
        """Say whether an item is of the next turn, where no line tells when that starts."""
        is_input = entry.whose in ("context", "user")
        return is_input and turn.has_answer and not turn.open_calls

    def _is_late(self, entry: Entry) -> bool:
        """Give an output to the turn that its call is in, if that is over already."""
        for turn in reversed(self.told.windows[-1].turns):
            if entry.call_id in turn.open_calls:
                turn.entries.append(entry)
                return True
        return False

    # --- turns and windows ------------------------------------------------------------------------

    def _open(self, turn_id: str, *, is_told: bool) -> Turn:
        turns = sum(len(window.turns) for window in self.told.windows)
        turn = Turn(turn_id or f"turn-{turns + 1}", self._now_us, is_told)
        turn.entries.extend(self._pending)
        self._pending.clear()
        self._turn = turn
        return turn

    def close_turn(
        self, end: Literal["completed", "aborted", "failed", "compacted"] | None, time: int
    ) -> None:
        turn, self._turn = self._turn, None
        if turn is None:
            return
        if end is None and not any(isinstance(entry, Entry) for entry in turn.entries):
            return  # it had not begun
        if not turn.is_talk and not self._is_first():
            # A user's command, a review, a compaction: no talk with the model. What the
            # model was told by it is told with the next prompt here, at the same place.
            self._pending[:0] = turn.entries
            return
        turn.end = turn.end or end
        turn.end_us = time or self._now_us
        self.told.windows[-1].turns.append(turn)

    def _is_first(self) -> bool:
        """Say whether a turn would be the first to tell what a compaction has left."""
        window = self.told.windows[-1]
        return bool(window.base) and not window.turns

    def close(self) -> None:
        """End what is open at the end of the lines."""
        self.close_turn(None, 0)
        if any(isinstance(entry, Entry) for entry in self._pending):
            turn = self._open("", is_told=False)
            turn.end, turn.end_us = "completed", self._now_us
            self.told.windows[-1].turns.append(turn)
            self._turn = None

    def _take_compaction(self, line: Line) -> None:
        """Begin the next window with what the compaction left of this one."""
        replaced = line.payload.get("replacement_history")
        if isinstance(replaced, list):
            items = objects(line.payload["replacement_history"])
            base = [read_entry(line, item, json_text(item).decode()) for item in items]
        else:
            base = self._rebuilt(line)
        running = self._turn
        if running is not None and any(isinstance(e, Entry) for e in running.entries):
            self.close_turn("compacted", line.time_us)
        self._pending.clear()
        self.told.windows.append(Window(base))
        if running is not None:
            rest = Turn(running.turn_id, line.time_us, running.is_told)
            rest.context, rest.context_window = running.context, running.context_window
            if not any(isinstance(e, Entry) for e in running.entries):
                rest.entries = running.entries  # what the compaction cost
            self._turn = rest

    def _rebuilt(self, line: Line) -> list[Entry]:
        """Return what is left where only the summary is recorded: context, user messages, it."""
        window = self.told.windows[-1]
        turns = [*window.turns, *([self._turn] if self._turn else [])]
        seen = [*window.base, *(e for turn in turns for e in turn.entries if isinstance(e, Entry))]
        newest = {_begin(e): e for e in seen if e.whose == "context"}
        said = [e for e in seen if e.whose == "user" and not is_summary(e.item)]
        text = text_of(line.payload.get("message")) or "(no summary is recorded)"
        summary: dict[str, Any] = {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": text}],
        }
        return [*newest.values(), *said, read_entry(line, summary, json_text(summary).decode())]


def read_entry(line: Line, item: dict[str, Any], item_json: JsonText) -> Entry:
    """Return an item as the conversation has it, without what never was on the wire."""
    own = item.get(PRIVATE_KEY)
    kinds: list[object] = []
    if is_object(own):
        found = own.get("content_item_kinds")
        kinds = list(found) if isinstance(found, list) else []  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    if PRIVATE_KEY in item:
        item = {name: value for name, value in item.items() if name != PRIVATE_KEY}
        item_json = json_text(item).decode()
    told = tuple(text_of(kind) for kind in kinds)
    return Entry(whose_is(item, told), line.time_us, line.number, line.file, item, item_json, told)


def whose_is(item: dict[str, Any], kinds: tuple[str, ...]) -> Whose:
    kind = text_of(item.get("type"))
    if kind in _OUTPUTS:
        return "output"
    if kind == "additional_tools":
        return "tools"
    if kind != "message" or item.get("role") == "assistant":
        return "model"
    if item.get("role") != "user":
        return "context"
    if kinds and "unknown" not in kinds:
        return "user" if all(kind.startswith("user.") for kind in kinds) else _marker(item)
    text = first_text(item)
    return "context" if text.startswith(_CONTEXT_BEGINS) else "user"


def _marker(item: dict[str, Any]) -> Whose:
    return "user" if is_turn_aborted(item) else "context"


def is_turn_aborted(item: dict[str, Any]) -> bool:
    return item.get("role") == "user" and first_text(item).startswith(_TURN_ABORTED)


def is_summary(item: dict[str, Any]) -> bool:
    return first_text(item).startswith(SUMMARY_PREFIX)


def first_text(item: dict[str, Any]) -> str:
    return next((text_of(part.get("text")) for part in objects(item.get("content"))), "")


def _begin(entry: Entry) -> str:
    """Return what tells one kind of context from another."""
    return ",".join(entry.kinds) or first_text(entry.item)[:20]


def started_us(meta: dict[str, Any]) -> int:
    """Return when a session began, by its `session_meta`; 0 if that does not tell."""
    return time_us(meta.get("timestamp")) or 0
