"""What the calls of a conversation did, as it stays when the conversation gives way to a summary.

It is taken from the log, so a model that forgets to say what it has read and changed is told so
all the same, and how often. Each part of the conversation carries its own note: an undo, a fork
and a compaction take and leave notes with their parts.
"""

import re
from collections.abc import Iterator
from typing import Final

from turnlog.actors.core import texts
from turnlog.actors.core.history import LEDGER, History, size_of_part
from turnlog.protocol.calls import (
    CommandPreview,
    CommandReport,
    PatchReport,
    PlanPreview,
    ToolPlan,
    ToolReport,
)
from turnlog.protocol.events import RecordedItem
from turnlog.protocol.items import (
    CallItem,
    FunctionCall,
    JsonText,
    Message,
    OtherCall,
    message_text,
    read_item,
    text_message,
)

NOTE_CHARACTERS: Final = 240  # of a command, or of a call's arguments
LIST_CHARACTERS: Final = 600  # of the files of a patch, or the steps of a plan
MOST_BYTES: Final = 6_000  # of a ledger
_SHARE: Final = 10  # it is a tenth of what it stands for, at most
_PLAN: Final = "plan: "  # only the last one counts
_TIMES: Final = re.compile(r" \((\d+) times\)$")


def note(
    item: CallItem, plan: ToolPlan | None, outcome: str, report: ToolReport | None = None
) -> str:
    """Return, in one line, what a call did that ran.

    Args:
        outcome: a tool's, or that of a call that a crash cut off.
    """
    match plan and plan.preview, report:
        case PlanPreview(steps=steps), _:
            return _PLAN + _listed("; ", [f"[{one.status}] {_line(one.step)}" for one in steps])
        case _, PatchReport(applied=True, changes=changes):
            return "changed " + _listed(", ", [_line(one.path) for one in changes])
        case CommandPreview(command=command), CommandReport(exit_code=exit_code):
            shown = command[2] if len(command) == 3 and command[1] in ("-c", "-lc") else None
            return f"ran {_line(shown or ' '.join(command))} (exit {exit_code})"
        case _ if isinstance(item, OtherCall):
            return f"called {item.name} ({outcome})"
        case _:
            given = item.arguments if isinstance(item, FunctionCall) else item.input
            return f"called {item.name} {_line(given)} ({outcome})"


def spawned(agent: str, name: str, message: str) -> str:
    """Return, in one line, that an agent was set to work: it can be named after a compaction."""
    return f"started agent {agent} ({_line(name)}): {_line(message)}"


def _line(text: str) -> str:
    """Return a text in one line. What is cut out is counted, so that two are rarely alike."""
    line = " ".join(text.split())
    left_out = len(line) - NOTE_CHARACTERS
    return line if left_out <= 0 else f"{line[:NOTE_CHARACTERS]}… and {left_out} characters more"


def _listed(between: str, items: list[str]) -> str:
    """Return as many of `items` as there is room for in a note, and how many more there are."""
    shown, room = list[str](), LIST_CHARACTERS
    for item in items:
        if shown and len(item) > room:
            break
        shown.append(item)
        room -= len(item) + len(between)
    more = len(items) - len(shown)
    return between.join([*shown, f"… and {more} more"] if more else shown)


def ledger_of(history: History, parts: int) -> RecordedItem | None:
    """Return what stays of what the first `parts` parts did: the newest notes that fit, each once.

    An earlier ledger may be among them. None if nothing was done.
    """
    times: dict[str, int] = {}
    plan = ""
    for line, count in _notes(history, parts):
        if line.startswith(_PLAN):
            plan = line
        else:
            times[line] = times.pop(line, 0) + count
    size = sum(map(size_of_part, history.texts(end=parts)))
    room = min(MOST_BYTES, size // _SHARE) - len(texts.LEDGER)
    newest = (line if n == 1 else f"{line} ({n} times)" for line, n in reversed(times.items()))
    lines = list[str]()
    for line in (plan, *newest) if plan else newest:
        if (size := len(line.encode()) + 1) <= room:
            room -= size
            lines.append(line)
    if not lines:
        return None
    text = texts.LEDGER.format(lines="\n".join(reversed(lines)))
    return RecordedItem(LEDGER, text_message("user", text))


def _notes(history: History, parts: int) -> Iterator[tuple[str, int]]:
    for part in history.parts[:parts]:
        if part.kind == LEDGER:
            yield from _read(part.text)
        elif part.note:
            yield part.note, 1


def _read(item_json: JsonText) -> Iterator[tuple[str, int]]:
    """Yield the lines of an earlier ledger."""
    item = read_item(item_json)
    before, _, after = texts.LEDGER.partition("{lines}")
    text = message_text(item) if isinstance(item, Message) else ""
    for line in text.removeprefix(before).removesuffix(after).split("\n"):
        found = _TIMES.search(line)
        yield (line[: found.start()], int(found[1])) if found else (line, 1)
