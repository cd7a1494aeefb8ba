"""The new content of one file, from its old content and the chunks of an update. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import UsageError
from turnlog.runtime.patch.match import LineFinder
from turnlog.runtime.patch.parse import ChangeLine, Chunk

MAX_SCANNED = 1 << 30  # characters searched for one file: some seconds
_SHOWN = 2000  # characters of wanted lines in an error
_BOM = "\ufeff"
_EMPTY_CONTEXT = ChangeLine(" ", "")


class _Edit(NamedTuple):
    """Put `lines` in the place of source lines [start, stop). Kept lines are the source's own."""

    start: int
    stop: int
    lines: tuple[ChangeLine, ...]


def edited(content: bytes, chunks: Sequence[Chunk], name: str) -> bytes:
    """Return `content` (UTF-8) with `chunks` applied, in file order.

    Lines that are kept stay as they are, byte for byte, even where the patch matched them loosely;
    so does a byte order mark, unless the patch names it. An added line ends as the file's first
    line does, LF or CRLF. A last line without an ending gets one.

    Raises:
        UsageError: not UTF-8, or a chunk does not fit; the text names the file as `name`.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise UsageError(
            ErrorCode.PATCH_INVALID,
            f"{name} is not UTF-8 (byte {error.start} is 0x{content[error.start]:02x}); a patch "
            "edits UTF-8 text only. Use a command that edits bytes.",
        ) from None
    bom = _BOM if text.startswith(_BOM) and not _names_bom(chunks) else ""
    source, carriage_return = _split(text.removeprefix(bom))
    finder = LineFinder([line.removesuffix("\r") for line in source])
    edits = _place(finder, chunks, name)
    result = "".join(f"{line}\n" for line in _rewritten(source, edits, carriage_return))
    return (bom + result).encode()


def _names_bom(chunks: Sequence[Chunk]) -> bool:
    """Whether the patch itself changes a byte order mark. Most models cannot see it."""
    return any(_BOM in line.text for chunk in chunks for line in chunk.lines)


def _split(text: str) -> tuple[list[str], str]:
    """Return the lines, each with its carriage return if it has one, and the style of new ones."""
    lines = text.split("\n")
    carriage_return = "\r" if len(lines) > 1 and lines[0].endswith("\r") else ""
    if not lines[-1]:
        lines.pop()
    else:
        lines[-1] += carriage_return
    return lines, carriage_return


def _place(finder: LineFinder, chunks: Sequence[Chunk], name: str) -> list[_Edit]:
    edits: list[_Edit] = []
    cursor = 0
    for chunk in chunks:
        cursor = _after_contexts(finder, chunk, cursor, name)
        edit = _place_chunk(finder, chunk, cursor)
        if finder.scanned > MAX_SCANNED:
            raise UsageError(
                ErrorCode.PATCH_INVALID,
                f"{name}: placing the chunk at patch line {chunk.number} takes too long, since its "
                "lines occur too often. Split the patch, with context lines that are unique.",
            )
        if edit is None:
            raise UsageError(ErrorCode.PATCH_INVALID, _not_found(finder, chunk, cursor, name))
        if edit.stop > edit.start:  # an insertion takes up no source line
            cursor = edit.stop
        edits.append(edit)
    return sorted(edits, key=lambda edit: edit.start)


def _after_contexts(finder: LineFinder, chunk: Chunk, cursor: int, name: str) -> int:
    for context in chunk.contexts:
        found = finder.find([context], cursor)
        if found is None:
            raise UsageError(
                ErrorCode.PATCH_INVALID,
                f"{name}: the context {context!r} of the chunk at patch line {chunk.number} is not "
                f"in the file after line {cursor}. Name a line that is there.",
            )
        cursor = found + 1
    return cursor


def _place_chunk(finder: LineFinder, chunk: Chunk, cursor: int) -> _Edit | None:
    lines = chunk.lines
    if added := _only_added(lines):
        at = _insertion_point(finder.lines, chunk, cursor)
        return _Edit(at, at, added)
    old = _old(lines)
    found = finder.find(old, cursor, at_end=chunk.end_of_file)
    if found is None and not old[-1] and len(old) > 1:
        # The last empty line is often only a gap before the next hunk, or the end of the file.
        lines, old = _without_last_empty(lines), old[:-1]
        found = finder.find(old, cursor, at_end=chunk.end_of_file)
    return None if found is None else _Edit(found, found + len(old), lines)


def _old(lines: Sequence[ChangeLine]) -> list[str]:
    return [line.text for line in lines if line.mark != "+"]


def _only_added(lines: tuple[ChangeLine, ...]) -> tuple[ChangeLine, ...]:
    """Return the added lines of a chunk that names no other but empty ones after them, or none."""
    end = len(lines)
    while end and lines[end - 1] == _EMPTY_CONTEXT:
        end -= 1
    return () if any(line.mark != "+" for line in lines[:end]) else lines[:end]


def _insertion_point(lines: Sequence[str], chunk: Chunk, cursor: int) -> int:
    """After the named context; without one at the end, before a blank last line."""
    if chunk.contexts and not chunk.end_of_file:
        return cursor
    has_blank_end = bool(lines) and not lines[-1]
    return max(cursor, len(lines) - has_blank_end)


def _without_last_empty(lines: tuple[ChangeLine, ...]) -> tuple[ChangeLine, ...]:
    """Drop the last line that must be in the file. Before added lines it is added instead."""
    index = max(i for i, line in enumerate(lines) if line.mark != "+")
    is_inner_gap = index + 1 < len(lines) and lines[index].mark == " "
    instead = (ChangeLine("+", ""),) if is_inner_gap else ()
    return lines[:index] + instead + lines[index + 1 :]


def _rewritten(source: Sequence[str], edits: Sequence[_Edit], carriage_return: str) -> list[str]:
    result: list[str] = []
    at = 0
    for edit in edits:
        result += source[at : edit.start]
        at = max(at, edit.start)
        for line in edit.lines:
            if line.mark == "+":
                result.append(line.text + carriage_return)
                continue
            if line.mark == " ":
                result.append(source[at])
            at += 1
    return result + list(source[at:])


def _not_found(finder: LineFinder, chunk: Chunk, cursor: int, name: str) -> str:
    old = _old(chunk.lines)
    shown = "\n".join(old)[:_SHOWN]
    where = f" after line {cursor}" if cursor else ""
    hint = "Read the file again and repeat its lines exactly."
    searched_all = not (cursor or chunk.end_of_file)
    elsewhere = None if searched_all else finder.find(old, 0)
    if elsewhere is not None:
        hint = f"They are at line {elsewhere + 1}: give chunks in file order, each line once."
    if chunk.end_of_file:
        where = " at its end"
        if elsewhere is not None:
            hint = f"They are at line {elsewhere + 1}: leave out '*** End of File'."
    return (
        f"{name}: the lines expected by the chunk at patch line {chunk.number} are not in the file"
        f"{where}:\n{shown}\n{hint}"
    )
