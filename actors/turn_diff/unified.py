"""One unified diff of what a turn did to files, in git's format. Pure."""

import posixpath
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha1
from typing import Final

import msgspec
from msgspec import Struct

from turnlog.actors.turn_diff.lines import Change, changes
from turnlog.protocol.files import SKIPPED, FileImage

MAX_FILE_CHARS: Final = 8 << 20  # of each side of a file
MAX_DIFF_CHARS: Final = 16 << 20  # of the whole diff, about
CONTEXT: Final = 3  # lines around a change

_LINK: Final = 0o120000
_FILE: Final = 0o100000
_NO_OBJECT: Final = "0" * 40
_NO_NEWLINE: Final = "\n\\ No newline at end of file\n"
_ESCAPES: Final = {ord('"'): '\\"', ord("\\"): "\\\\"} | {
    code: f"\\{letter}" for code, letter in zip(range(7, 14), "abtnvfr", strict=True)
}
_CONTROLS: Final = {code: f"\\{code:03o}" for code in (*range(32), 127)} | _ESCAPES


class _Side(Struct, frozen=True):
    """A file as git sees it: a link is a file that holds its target."""

    mode: int  # git's: 0o100644, 0o100755, 0o120000
    content: str | bytes  # bytes where it is binary
    object_id: str


def unified_diff(
    before: Mapping[str, FileImage],
    after: Mapping[str, FileImage],
    root: str,
    *,
    file_limit: int = MAX_FILE_CHARS,
    total_limit: int = MAX_DIFF_CHARS,
) -> str:
    """Return the difference of two sets of images by path, "" if there is none.

    Paths are relative to `root` and sorted; a move is a deletion and an addition; folders, and
    permissions other than x for the owner, do not show, as in git. A file that cannot be shown
    has one line instead, which begins with `#` and which `git apply` and `patch` skip: one
    that is longer than `file_limit` characters, comes after `total_limit` characters of diff, was
    not kept, or has an image on one side only.
    """
    parts: list[str] = []
    length = 0
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        name = posixpath.relpath(path, root)
        if length > total_limit:
            part = _note(name, "the diff is too long")
        elif old is None or new is None:
            part = _note(name, f"it is not known how it was {'before' if old is None else 'after'}")
        else:
            part = _file_diff(name, old, new, file_limit)
        length += len(part)
        parts.append(part)
    return "".join(parts)


def _file_diff(name: str, old: FileImage, new: FileImage, limit: int) -> str:
    if _is_equal(old, new):
        return ""
    if (skipped := old.skipped or new.skipped) is not None:
        return _note(name, SKIPPED[skipped])
    if any(len(image.text or image.base64 or "") > limit for image in (old, new)):
        return _note(name, "it is too long")
    one, other = _side(old), _side(new)
    if one is not None and other is not None and (one.mode ^ other.mode) & 0o170000:
        return _entry(name, one, None) + _entry(name, None, other)  # a link is not a file
    return _entry(name, one, other)


def _is_equal(old: FileImage, new: FileImage) -> bool:
    """Say whether two images are known to be the same, as far as git would tell."""
    if old.skipped is not None and not (old.digest and old.digest == new.digest):
        return False
    return _bare(old) == _bare(new)


def _bare(image: FileImage) -> FileImage:
    executable = None if image.mode is None else image.mode & 0o100
    return msgspec.structs.replace(image, mode=executable, digest="")


def _note(name: str, why: str) -> str:
    return f"# {_quoted(name, '')}: not shown: {why}\n"


def _side(image: FileImage) -> _Side | None:
    if image.link is not None:
        return _Side(_LINK, image.link, _object_id(image.link.encode()))
    if image.base64 is not None:
        data = b64decode(image.base64)
        return _Side(_file_mode(image), data, _object_id(data))
    if image.text is None:
        return None
    data = image.text.encode()
    # git takes a file with a NUL for binary, and so do the programs that apply a diff.
    return _Side(_file_mode(image), data if b"\0" in data else image.text, _object_id(data))


def _file_mode(image: FileImage) -> int:
    return _FILE | (0o755 if image.mode is not None and image.mode & 0o100 else 0o644)


def _object_id(data: bytes) -> str:
    return sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _entry(name: str, old: _Side | None, new: _Side | None) -> str:
    """Return the part of a git diff about one file, "" where nothing differs."""
    if old == new:
        return ""
    a, b = _quoted(name, "a/"), _quoted(name, "b/")
    lines = [f"diff --git {a} {b}\n"]
    if old is None and new is not None:
        lines.append(f"new file mode {new.mode:o}\n")
    elif new is None and old is not None:
        lines.append(f"deleted file mode {old.mode:o}\n")
    elif old is not None and new is not None and old.mode != new.mode:
        lines.append(f"old mode {old.mode:o}\nnew mode {new.mode:o}\n")
    ids = [_NO_OBJECT if side is None else side.object_id for side in (old, new)]
    if ids[0] != ids[1]:
        same_mode = f" {new.mode:o}" if old and new and old.mode == new.mode else ""
        lines.append(f"index {ids[0]}..{ids[1]}{same_mode}\n")
        contents = ["" if side is None else side.content for side in (old, new)]
        a, b = ("/dev/null" if old is None else a), ("/dev/null" if new is None else b)
        lines.append(_content_diff(a, b, *contents))
    return "".join(lines)


def _content_diff(a: str, b: str, old: str | bytes, new: str | bytes) -> str:
    if isinstance(old, bytes) or isinstance(new, bytes):
        return f"Binary files {a} and {b} differ\n"
    if old == new:  # an empty file came or went
        return ""
    # A tab ends a name with a blank in it, or programs would take the rest for a date.
    heads = [f"{name}\t" if " " in name else name for name in (a, b)]
    lines = [f"--- {heads[0]}\n+++ {heads[1]}\n"]
    lines.extend(_hunks(_lines(old), _lines(new)))
    return "".join(lines)


def _lines(text: str) -> list[str]:
    """Split after line feeds only: to a diff, a carriage return is part of the line."""
    lines = [f"{line}\n" for line in text.split("\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


def _hunks(old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    group: list[Change] = []
    for change in changes(old, new):
        if group and change.old_start - group[-1].old_end > 2 * CONTEXT:
            yield from _hunk(old, new, group)
            group = []
        group.append(change)
    if group:
        yield from _hunk(old, new, group)


def _hunk(old: Sequence[str], new: Sequence[str], group: Sequence[Change]) -> Iterator[str]:
    first, last = group[0], group[-1]
    above = min(CONTEXT, first.old_start)
    below = min(CONTEXT, len(old) - last.old_end)
    old_span = _span(first.old_start - above, last.old_end + below)
    new_span = _span(first.new_start - above, last.new_end + below)
    yield f"@@ -{old_span} +{new_span} @@\n"
    at = first.old_start - above
    for change in group:
        yield from _marked(" ", old[at : change.old_start])
        yield from _marked("-", old[change.old_start : change.old_end])
        yield from _marked("+", new[change.new_start : change.new_end])
        at = change.old_end
    yield from _marked(" ", old[at : at + below])


def _span(start: int, end: int) -> str:
    """Write a range of lines; an empty one is after the line that it names."""
    count = end - start
    line = start + 1 if count else start
    return f"{line}" if count == 1 else f"{line},{count}"


def _marked(mark: str, lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        yield f"{mark}{line}" if line.endswith("\n") else f"{mark}{line}{_NO_NEWLINE}"


def _quoted(name: str, prefix: str) -> str:
    """Return a name as git writes it: in quotes if it has a control character, " or backslash."""
    escaped = name.translate(_CONTROLS)
    return f"{prefix}{name}" if escaped == name else f'"{prefix}{escaped}"'
