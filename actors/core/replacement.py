"""What takes the place of a conversation that became too long."""

from collections.abc import Iterable

from turnlog.actors.core import texts
from turnlog.actors.core.history import (
    BYTES_A_TOKEN,
    MODEL,
    OUTPUT,
    SUMMARY,
    TOLD_ONCE,
    USER,
    History,
    size_of_part,
)
from turnlog.actors.core.ledger import ledger_of
from turnlog.protocol.events import RecordedItem
from turnlog.protocol.items import JsonText, Message, message_text, read_item, text_message

# Each stands for a part of the conversation: the index of one that stays, or a new one.
Parts = tuple[int | RecordedItem, ...]


def with_summary(
    history: History, parts: int, user_tokens: int, summary: str, *, ledger: bool
) -> Parts:
    """Return the surroundings, the newest user messages, the ledger and the summary.

    Args:
        parts: how many parts of the conversation it is to replace.
        user_tokens: how much of the user's words stays.
        ledger: whether what the calls did is noted.
    """
    item = RecordedItem(SUMMARY, text_message("user", texts.SUMMARY_BEGINS + summary))
    said = _said_by_user(history, parts, user_tokens)
    done = _done(history, parts) if ledger else ()
    return (*_context(history, parts), *said, *done, item)


def without_summary(history: History, parts: int, user_tokens: int, *, ledger: bool) -> Parts:
    """Return the surroundings, the user's words, the ledger, and the newest quarter as it is."""
    sizes = _sizes(history, parts)
    begin = safe_begin(history, parts, sum(sizes) // 4)
    done = _done(history, begin) if ledger else ()
    note = RecordedItem(SUMMARY, text_message("user", texts.CUT))
    context = [index for index in _context(history, parts) if index < begin]
    said = _said_by_user(history, begin, user_tokens)
    return (*context, *said, *done, note, *range(begin, parts))


def _done(history: History, parts: int) -> tuple[RecordedItem, ...]:
    """Return what the calls among the first `parts` parts did, if they did anything."""
    kept = ledger_of(history, parts)
    return () if kept is None else (kept,)


def size_of(history: History, parts: Iterable[int | RecordedItem]) -> int:
    """Return how many bytes these parts have."""
    return sum(
        size_of_part(history.parts[part].text if isinstance(part, int) else part.item_json)
        for part in parts
    )


def safe_begin(history: History, parts: int, most_bytes: int) -> int:
    """Return the start of the longest valid suffix of the first `parts` parts of `most_bytes`.

    A suffix is valid if it does not begin in the middle of a response or its outputs. `parts`: none
    that has at most `most_bytes` bytes is valid.
    """
    sizes, total, begin = _sizes(history, parts), 0, parts
    for index in reversed(range(parts)):
        total += sizes[index]
        if total > most_bytes:
            break
        if _begins(history, index):
            begin = index
    return begin


def _begins(history: History, index: int) -> bool:
    kind = history.parts[index].kind
    if kind == MODEL:
        return index > 0 and history.parts[index - 1].kind != MODEL
    return kind != OUTPUT


def _sizes(history: History, parts: int) -> list[int]:
    return [size_of_part(text) for text in history.texts(end=parts)]


def _context(history: History, parts: int) -> list[int]:
    """Return where the model was last told of each of its surroundings."""
    told = enumerate(history.parts[:parts])
    last = {part.kind: index for index, part in told if part.kind not in TOLD_ONCE}
    return sorted(last.values())


def _said_by_user(history: History, parts: int, tokens: int) -> Parts:
    """Return the newest user messages that fit. The first that does not is shortened."""
    room, kept = tokens * BYTES_A_TOKEN, list[int | RecordedItem]()
    for index in reversed(range(parts)):
        part = history.parts[index]
        if part.kind != USER:
            continue
        size = size_of_part(part.text)
        if size > room:
            if (short := _shortened(part.text, room)) is not None:
                kept.append(RecordedItem(USER, short))
            break
        kept.append(index)
        room -= size
    return tuple(reversed(kept))


def _shortened(part: JsonText, room: int) -> JsonText | None:
    """Return a message without its middle and its images, in about `room` bytes."""
    item = read_item(part)
    text = message_text(item) if isinstance(item, Message) else ""
    half = room // 8  # characters; none takes more than 4 bytes
    if half < 16 or len(text) <= 2 * half:
        return None
    cut = len(text) - 2 * half
    return text_message("user", f"{text[:half]}…{cut} characters cut out…{text[-half:]}")
