"""The parts of a recorded turn: what it starts with, and its responses one by one."""

import json
from collections.abc import Sequence
from typing import Final

import attrs

from turnlog.protocol.json_values import is_object, objects
from turnlog.protocol.usage import TokenUsage
from turnlog.replay.rollouts.reading import Note, Skipped
from turnlog.replay.rollouts.turns import Entry, Turn, Usage

_CALLS: Final = frozenset({"function_call", "custom_tool_call"})


@attrs.define
class Group:
    """A response: the model's items, the outputs of its calls, and what the user said meanwhile.

    What the program told the model in between is among the items, at its place.
    """

    items: list[Entry] = attrs.field(factory=list[Entry])
    outputs: dict[str, Entry] = attrs.field(factory=dict[str, Entry])  # by call
    steered: list[Entry] = attrs.field(factory=list[Entry])
    usage: TokenUsage | None = None
    response_id: str = ""
    end_us: int = 0

    @property
    def calls(self) -> set[str]:
        return {entry.call_id for entry in self.items if entry.kind in _CALLS}

    @property
    def line(self) -> int:
        return self.items[-1].line if self.items else 0

    @property
    def file(self) -> str:
        return self.items[-1].file if self.items else ""

    def take_usage(self, usage: Usage) -> None:
        self.usage = usage.usage if self.usage is None else self.usage + usage.usage
        self.response_id = usage.response_id or self.response_id
        self.end_us = max(self.end_us, usage.time_us)

    def take(self, entry: Entry) -> None:
        self.items.append(entry)
        self.end_us = max(self.end_us, entry.time_us)

    def merge(self, other: "Group") -> None:
        """Take what another response holds, which nothing that we know of had to wait for."""
        self.items += other.items
        self.outputs |= other.outputs
        self.steered += other.steered
        if other.usage is not None:
            self.take_usage(Usage(other.end_us, other.usage, other.response_id))
        self.end_us = max(self.end_us, other.end_us)


@attrs.define
class TurnParts:
    """A turn, taken apart."""

    file: str
    prompt: Entry | None = None
    context: list[Entry] = attrs.field(factory=list[Entry])  # before the prompt
    steered: list[Entry] = attrs.field(factory=list[Entry])  # said before the first response
    tools: list[Entry] = attrs.field(factory=list[Entry])
    groups: list[Group] = attrs.field(factory=list[Group])
    late_usage: TokenUsage | None = None  # of responses that are not whole
    skipped: list[Skipped] = attrs.field(factory=list[Skipped])
    notes: list[Note] = attrs.field(factory=list[Note])


def parts_of(turn: Turn, base: Sequence[Entry]) -> TurnParts:
    """Take a turn apart.

    Args:
        base: what a compaction has left before the turn.
    """
    entries: list[Entry | Usage] = [*base, *turn.entries]
    files = [entry.file for entry in entries if isinstance(entry, Entry)]
    parts = TurnParts(files[-1] if files else "")
    rest = _take_start(parts, entries, len(base))
    _take_groups(parts, rest)
    return parts


def _take_start(
    parts: TurnParts, entries: Sequence[Entry | Usage], base: int
) -> list[Entry | Usage]:
    """Take what comes before the first response; return the rest, in order.

    What a compaction left is context up to the prompt after it, or else up to its last item; or
    up to a user message that context cannot hold, which is the prompt then.
    """
    start = 0
    while start < len(entries):
        entry = entries[start]
        if isinstance(entry, Entry) and entry.whose in ("model", "output"):
            break
        start += 1
    leading = [entry for entry in entries[:start] if isinstance(entry, Entry)]
    usages = [entry for entry in entries[:start] if isinstance(entry, Usage)]
    parts.tools = [entry for entry in leading if entry.whose == "tools"]
    for entry in parts.tools:
        text = "tools that were sent among the input are the turn's tools here"
        parts.notes.append(Note(entry.line, text, entry.file))
    told = [entry for entry in leading if entry.whose != "tools"]
    prompts = [at for at, entry in enumerate(told) if entry.whose == "user" and at >= base]
    at = prompts[0] if prompts else len(told) - 1
    if at < 0:
        return [*usages, *entries[start:]]
    at = next((number for number in range(at) if _is_composed(told[number])), at)
    parts.context, parts.prompt = told[:at], told[at]
    later = told[at + 1 :]
    while later and later[0].whose == "user":
        parts.steered.append(later.pop(0))
    return [*usages, *later, *entries[start:]]


def _is_composed(entry: Entry) -> bool:
    """Say whether a user message is more than one text: it has an image, or parts."""
    parts = objects(entry.item.get("content"))
    has_image = any(part.get("image_url") for part in parts)
    return entry.whose == "user" and (has_image or len(parts) > 1)


def _take_groups(parts: TurnParts, rest: Sequence[Entry | Usage]) -> None:
    groups: list[Group] = []
    current = Group()
    by_call: dict[str, Group] = {}
    for entry in rest:
        if isinstance(entry, Usage):
            current.take_usage(entry)
        elif entry.whose == "output":
            _take_output(parts, by_call, entry)
        elif entry.whose == "user" and (current.items or groups):
            (current if current.items else groups[-1]).steered.append(entry)
        elif entry.whose == "tools":
            parts.skipped.append(Skipped(entry.line, "tools in the middle of a turn", entry.file))
        else:
            if current.outputs or current.steered:
                groups.append(current)
                current = Group()
            _take_item(parts, by_call, current, entry)
    if current.items:
        groups.append(current)
    else:
        parts.late_usage = current.usage
    parts.groups = _merged(groups)


def _take_item(parts: TurnParts, by_call: dict[str, Group], group: Group, entry: Entry) -> None:
    entry = _as_call(parts, entry)
    if entry.kind in _CALLS:
        if entry.call_id in by_call:
            text = f"the call {entry.call_id} is there already"
            parts.skipped.append(Skipped(entry.line, text, entry.file))
            return
        by_call[entry.call_id] = group
    elif entry.whose == "context":
        text = "told in the middle of a turn: it is among the response's items here"
        parts.notes.append(Note(entry.line, text, entry.file))
    group.take(entry)


def _take_output(parts: TurnParts, by_call: dict[str, Group], entry: Entry) -> None:
    group = by_call.get(entry.call_id)
    if group is None or entry.call_id in group.outputs:
        text = "an output without a call" if group is None else "a second output of its call"
        parts.skipped.append(Skipped(entry.line, text, entry.file))
        return
    group.outputs[entry.call_id] = entry


def _as_call(parts: TurnParts, entry: Entry) -> Entry:
    """Return a `local_shell_call`, whose output is a function's, as the call of a function."""
    item = entry.item
    if item.get("type") != "local_shell_call" or not is_object(item.get("action")):
        return entry
    call = {
        "type": "function_call",
        "call_id": entry.call_id,
        "name": "local_shell",
        "arguments": json.dumps(item["action"]),
    }
    text = "a local_shell_call is the call of a function `local_shell` here"
    parts.notes.append(Note(entry.line, text, entry.file))
    return attrs.evolve(entry, item=call, item_json=json.dumps(call, separators=(",", ":")))


def _merged(groups: Sequence[Group]) -> list[Group]:
    """Return the responses, with those joined after which the turn would end too early."""
    merged: list[Group] = []
    for group in groups:
        if merged and not merged[-1].calls and not merged[-1].steered:
            merged[-1].merge(group)
        else:
            merged.append(group)
    return merged
