"""A recorded Codex session as a script: what its model said, in the recorded order.

Reads both forms of a rollout: the paginated one (ordinals, `token_usage_record`) and the one of
releases up to about 0.98 (`user_message` and `token_count` events). Lines that cannot be read are
skipped and counted, as the recorder itself does.

What ends a response, in the recorded order: its `token_usage_record`; in the old form the
`token_count` after its items; the first output of a tool; the turn's end.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import attrs
import msgspec
from msgspec import Struct

from turnlog.protocol.codex_rollout import (
    MAX_FILE,
    PRIVATE_KEY,
    SUMMARY_PREFIX,
    RolloutLine,
    read_usage,
    rollout_lines,
)
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import UsageError
from turnlog.protocol.json_values import is_list, is_object, text_of
from turnlog.protocol.usage import TokenUsage
from turnlog.runtime.input_file import read_input
from turnlog.runtime.scripted_model.script import (
    Item,
    Response,
    Script,
    message,
)

_MODEL_KINDS: Final = frozenset({"reasoning", "compaction", "compaction_summary"})


class RecordedTurn(Struct, frozen=True):
    """One turn: what the user asked, and the model's responses."""

    prompt: str  # empty: the turn's beginning is not in the file
    responses: list[Response] = []
    steered: list[str] = []  # what the user said while the turn ran


class Rollout(Struct, frozen=True):
    """What a rollout file holds. A fork's file begins where it left its parent."""

    session: str | None  # None: the first line is lost
    turns: list[RecordedTurn]
    skipped: list[int]  # numbers of the lines, from 1, that could not be read

    def script(self) -> Script:
        """Return the responses of all turns. Those of compactions answer only such requests."""
        return Script([response for turn in self.turns for response in turn.responses])


@attrs.define
class _Turn:
    has_start: bool  # a line says that it starts; the old form has none
    prompt: str = ""
    has_prompt: bool = False
    steered: list[str] = attrs.field(factory=list[str])
    responses: list[Response] = attrs.field(factory=list[Response])


@attrs.define
class _TurnReader:
    """Puts lines together to turns."""

    prompts_from_items: bool  # else from user_message events
    session: str | None = None
    turns: list[_Turn] = attrs.field(factory=list[_Turn])
    _turn: _Turn | None = None
    _items: list[Item] = attrs.field(factory=list[Item])
    _is_compaction: bool = False
    _total: int | None = None  # tokens of the session, as last reported

    def take(self, line: RolloutLine) -> None:
        payload = line.payload
        match line.type, payload.get("type"):
            case "session_meta", _:
                self.session = self.session or payload.get("id")
            case "response_item", str(kind):
                self._take_item(kind, payload, line.metadata if is_object(line.metadata) else {})
            case "token_usage_record", _:
                self._total = _total(payload.get("thread_token_usage"))
                self._take_usage(read_usage(payload.get("usage")), payload.get("response_id"))
            case "compacted", _:
                self._take_summary(payload)
            case "event_msg", str(kind):
                self._take_event(kind, payload)
            case _:
                pass

    def _take_event(self, kind: str, payload: dict[str, Any]) -> None:
        match kind:
            case "task_started" | "turn_started":
                self.close_turn()
                self._open_turn(has_start=True)
            case "task_complete" | "turn_complete" | "turn_aborted":
                self.close_turn()
            case "user_message" if not self.prompts_from_items:
                self._take_prompt(text_of(payload.get("message")))
            case "item_completed" if self.prompts_from_items:
                item = payload.get("item")
                if is_object(item) and item.get("type") == "UserMessage":
                    self._take_prompt("".join(_texts(item.get("content"))))
            case "token_count":
                self._take_token_count(payload.get("info"))
            case _:
                pass

    def _take_prompt(self, prompt: str) -> None:
        turn = self._turn
        if turn is None or (turn.has_prompt and not turn.has_start):
            self.close_turn()
            turn = self._open_turn(has_start=False)
        if turn.has_prompt:
            turn.steered.append(prompt)
        else:
            turn.prompt, turn.has_prompt = prompt, True

    def _take_item(self, kind: str, item: Item, metadata: dict[str, Any]) -> None:
        if kind.endswith("_output"):
            self._end_response(None, None)
        elif kind in _MODEL_KINDS or kind.endswith("_call") or item.get("role") == "assistant":
            self._items.append({name: item[name] for name in item if name != PRIVATE_KEY})
            self._is_compaction |= metadata.get("compaction_output") is True

    def _take_usage(self, usage: TokenUsage | None, response_id: object) -> None:
        """End the response that `usage` is of: the open one, or one that its outputs ended."""
        name = response_id if isinstance(response_id, str) else None
        done = self._turn.responses if self._turn is not None else []
        if not self._items and done and done[-1].items and done[-1].usage is None:
            done[-1] = msgspec.structs.replace(done[-1], usage=usage, id=name)
        else:
            self._end_response(usage, name, may_be_empty=True)

    def _take_token_count(self, info: object) -> None:
        """End the open response, or note one without items, which shows in the total alone.

        The old form repeats the last count, unchanged, when the next response begins.
        """
        if not is_object(info):
            self._total = self._total or 0
            return
        total = _total(info.get("total_token_usage"))
        is_news = self._total is not None and total != self._total
        if self._items or is_news:
            self._take_usage(read_usage(info.get("last_token_usage")), None)
        self._total = total

    def _take_summary(self, payload: dict[str, Any]) -> None:
        """Note a compaction whose answer is not among the items, as in the old form."""
        self._end_response(None, None)
        turn = self._turn or self._open_turn(has_start=False)
        last = turn.responses[-1] if turn.responses else None
        text = text_of(payload.get("message"))
        if text.startswith(SUMMARY_PREFIX):
            text = text.partition("\n")[2]
        if not text or (last is not None and last.compaction):
            return
        usage = None
        if last is not None and not last.items:
            usage = turn.responses.pop().usage
        turn.responses.append(Response(items=[message(text)], usage=usage, compaction=True))

    def _end_response(
        self, usage: TokenUsage | None, name: str | None, *, may_be_empty: bool = False
    ) -> None:
        if self._items or may_be_empty:
            turn = self._turn or self._open_turn(has_start=False)
            turn.responses.append(
                Response(items=self._items, usage=usage, id=name, compaction=self._is_compaction)
            )
        self._items, self._is_compaction = [], False

    def _open_turn(self, *, has_start: bool) -> _Turn:
        self._turn = _Turn(has_start)
        self.turns.append(self._turn)
        return self._turn

    def close_turn(self) -> None:
        self._end_response(None, None)
        self._turn = None


def load_rollout(path: Path) -> Rollout:
    """Read a rollout file.

    Raises:
        UsageError: it cannot be read, or is over MAX_FILE bytes.
        UsageError: not one of its lines is a rollout's.
    """
    return parse_rollout(read_input(path, limit=MAX_FILE), str(path))


def parse_rollout(data: bytes, name: str) -> Rollout:
    """Return what the rollout in `data` holds; `name` is its file's, for errors.

    Raises:
        UsageError: not one of its lines is a rollout's.
    """
    read = list(rollout_lines(data))
    lines = [line for _, _, line in read if line is not None]
    skipped = [number for number, _, line in read if line is None]
    if not lines:
        raise UsageError(
            ErrorCode.SCRIPT_INVALID,
            f"{name}: no line is a rollout's; expected one JSON object a line with "
            "`timestamp`, `type` and `payload`",
        )
    from_items = any(_is_user_message(line) for line in lines)
    reader = _TurnReader(from_items)
    for line in lines:
        reader.take(line)
    reader.close_turn()
    turns = [
        RecordedTurn(turn.prompt, turn.responses, turn.steered)
        for turn in reader.turns
        if turn.has_prompt or turn.responses
    ]
    return Rollout(reader.session, turns, skipped)


def _is_user_message(line: RolloutLine) -> bool:
    item = line.payload.get("item")
    return is_object(item) and item.get("type") == "UserMessage"


def _total(value: object) -> int | None:
    usage = read_usage(value)
    return None if usage is None else usage.total_tokens


def _texts(content: object) -> Iterator[str]:
    for part in content if is_list(content) else []:
        if is_object(part):
            yield text_of(part.get("text"))
