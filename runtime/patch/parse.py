"""The patch envelope, as text and as hunks.

    *** Begin Patch
    *** Add File: PATH          then lines that begin with +
    *** Delete File: PATH
    *** Update File: PATH       then, if it moves, *** Move to: PATH
    @@ CONTEXT                  then lines that begin with a space, - or +
    *** End of File             after the last line of a chunk: it ends where the file ends
    *** End Patch

Lenient where models are known to stray: blanks around markers, a here-document's `<<EOF` around
the envelope, CRLF, a bare empty line for an empty context line, blank lines between hunks, several
`@@` lines in a row, an `*** Environment ID:` header.

Source: the lark grammar that the model is shown with the apply_patch tool, and Codex's parser.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, NoReturn, TypeAlias

from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import UsageError

MAX_PATCH_BYTES = 8 << 20
MAX_PATH_BYTES = 4096  # Linux's PATH_MAX

_BEGIN = "*** Begin Patch"
_END = "*** End Patch"
_ENVIRONMENT = "*** Environment ID:"
_ADD = "*** Add File:"
_DELETE = "*** Delete File:"
_UPDATE = "*** Update File:"
_MOVE = "*** Move to:"
_END_OF_FILE = "*** End of File"
_HEREDOC_STARTS = ("<<EOF", "<<'EOF'", '<<"EOF"')
_SHOWN = 80  # characters of an offending line in an error

Mark = Literal[" ", "-", "+"]
_MARKS: dict[str, Mark] = {" ": " ", "-": "-", "+": "+"}


class ChangeLine(NamedTuple):
    """One line of a chunk: kept, removed or added. `text` has no line ending."""

    mark: Mark
    text: str


class Chunk(NamedTuple):
    """One place of a file that changes.

    `contexts` are the lines named by `@@`, outermost first; the chunk is after the last one.
    `number` is the chunk's first line in the patch, 1-based.
    """

    contexts: tuple[str, ...]
    lines: tuple[ChangeLine, ...]
    end_of_file: bool
    number: int


class AddFile(NamedTuple):
    """A new file. `number` is the hunk's line in the patch, 1-based."""

    path: str
    lines: tuple[str, ...]
    number: int


class DeleteFile(NamedTuple):
    """A file that is removed. `number` is the hunk's line in the patch."""

    path: str
    number: int


class UpdateFile(NamedTuple):
    """`chunks` may be empty if the file only moves."""

    path: str
    move_to: str | None
    chunks: tuple[Chunk, ...]
    number: int


Hunk: TypeAlias = AddFile | DeleteFile | UpdateFile


class Patch(NamedTuple):
    """The hunks in the order in which they apply; none if the envelope is empty."""

    hunks: tuple[Hunk, ...]
    environment_id: str | None = None


def parse_patch(text: str) -> Patch:
    """Read one envelope. Paths are kept as written.

    Raises:
        UsageError: not a patch; the text names the line (1-based, of `text` as given) and
            what was expected there. Also for more than MAX_PATCH_BYTES.
    """
    _check_size(text)
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return _Parser(lines, *_envelope(lines)).patch()


def _check_size(text: str) -> None:
    try:
        size = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError as error:
        number = text.count("\n", 0, error.start) + 1
        raise UsageError(
            ErrorCode.PATCH_INVALID,
            f"patch line {number}: half of a surrogate pair, which no UTF-8 file can hold.",
        ) from None
    if size > MAX_PATCH_BYTES:
        raise UsageError(
            ErrorCode.PATCH_INVALID,
            f"the patch has {size} bytes; at most {MAX_PATCH_BYTES} are accepted. "
            "Split it into several patches.",
        )


def _envelope(lines: Sequence[str]) -> tuple[int, int]:
    """Return the range of the lines between the two envelope markers."""
    first, last = 0, len(lines) - 1
    while first < last and not lines[first].strip():
        first += 1
    while last > first and not lines[last].strip():
        last -= 1
    wrapped = lines[first].strip() in _HEREDOC_STARTS and lines[last].strip() == "EOF"
    if wrapped and last - first >= 3:
        first, last = first + 1, last - 1
    if lines[first].strip() != _BEGIN:
        _refuse(first, lines[first], f"expected {_BEGIN!r}")
    if last == first or lines[last].strip() != _END:
        _refuse(last, lines[last], f"expected {_END!r} as the last line")
    return first + 1, last


def _refuse(index: int, line: str, why: str) -> NoReturn:
    shown = line if len(line) <= _SHOWN else line[:_SHOWN] + "..."
    raise UsageError(ErrorCode.PATCH_INVALID, f"patch line {index + 1}: {why}, found {shown!r}.")


class _Parser:
    """A cursor over the lines of one envelope."""

    def __init__(self, lines: Sequence[str], at: int, end: int) -> None:
        self.lines, self.at, self.end = lines, at, end

    @property
    def _line(self) -> str:
        """The line at the cursor; at the end, the closing marker of the envelope."""
        return self.lines[self.at]

    def _refuse(self, why: str) -> NoReturn:
        _refuse(self.at, self._line, why)

    def patch(self) -> Patch:
        environment = None
        if self._line.strip().startswith(_ENVIRONMENT):
            environment = self._named(_ENVIRONMENT, "an id")
        hunks: list[Hunk] = []
        while self._skip_blank():
            hunks.append(self._hunk())
        return Patch(tuple(hunks), environment)

    def _skip_blank(self, *, only_bare: bool = False) -> bool:
        """Skip blank lines, or only empty ones; return whether any line is left."""
        while self.at < self.end:
            line = self.lines[self.at]
            if line if only_bare else line.strip():
                return True
            self.at += 1
        return False

    def _named(self, marker: str, what: str) -> str:
        if not (name := self._line.strip().removeprefix(marker).strip()):
            self._refuse(f"expected {what} after {marker!r}")
        self.at += 1
        return name

    def _path(self, marker: str) -> str:
        path = self._named(marker, "a path")
        if "\0" in path or path.endswith("/") or len(path.encode()) > MAX_PATH_BYTES:
            self.at -= 1
            self._refuse(f"expected the path of a file, of at most {MAX_PATH_BYTES} bytes")
        return path

    def _hunk(self) -> Hunk:
        number, header = self.at + 1, self._line.strip()
        if header.startswith(_ADD):
            return AddFile(self._path(_ADD), self._added_lines(), number)
        if header.startswith(_DELETE):
            return DeleteFile(self._path(_DELETE), number)
        if header.startswith(_UPDATE):
            return self._update(number)
        self._refuse(
            f"expected {_ADD!r}, {_DELETE!r} or {_UPDATE!r} and a path (each line of an added "
            "file begins with '+', each line of a chunk with ' ', '-' or '+')",
        )

    def _added_lines(self) -> tuple[str, ...]:
        start = self.at
        while self.at < self.end and self.lines[self.at].startswith("+"):
            self.at += 1
        return tuple(line[1:] for line in self.lines[start : self.at])

    def _update(self, number: int) -> UpdateFile:
        path, move_to = self._path(_UPDATE), None
        if self._line.strip().startswith(_MOVE):
            move_to = self._path(_MOVE)
        chunks: list[Chunk] = []
        # Before the first chunk, which needs no @@, a line of one space is its first context line.
        while self._skip_blank(only_bare=not chunks) and not self._line.startswith("***"):
            chunks.append(self._chunk(is_first=not chunks))
        if not chunks and move_to is None:
            self._refuse(f"expected changes for {path!r} before this")
        return UpdateFile(path, move_to, tuple(chunks), number)

    def _chunk(self, *, is_first: bool) -> Chunk:
        start, contexts = self.at, self._contexts()
        if self.at == start and not is_first:
            self._refuse("expected '@@' or the header of the next file")
        lines = self._change_lines()
        if not lines:
            self._refuse("expected a line that begins with ' ', '-' or '+'")
        end_of_file = self._line.rstrip() == _END_OF_FILE
        self.at += end_of_file
        return Chunk(contexts, lines, end_of_file, start + 1)

    def _contexts(self) -> tuple[str, ...]:
        contexts: list[str] = []
        while self.at < self.end:
            line = self.lines[self.at]
            if line.startswith("@@ ") and line[3:].strip():
                contexts.append(line[3:])
            elif line.rstrip() != "@@":
                break
            self.at += 1
        return tuple(contexts)

    def _change_lines(self) -> tuple[ChangeLine, ...]:
        found: list[ChangeLine] = []
        while self.at < self.end:
            line = self.lines[self.at]
            if not line:
                found.append(ChangeLine(" ", ""))
            elif (mark := _MARKS.get(line[0])) is not None:
                found.append(ChangeLine(mark, line[1:]))
            else:
                break
            self.at += 1
        return tuple(found)
