"""What may differ between a recorded request and a request of now. Nothing, unless named.

dates         days and times as ISO 8601 writes them
paths         absolute paths
ids           UUIDs, long hexadecimal numbers; and the fields of an item that only its server
              or its client needs: id, status, phase, annotations, logprobs
measurements  how long a command took, and the id of its output
outputs       what calls gave back
reasoning     reasoning items, which some clients leave out, and others cannot read
context       what a client tells the model of itself and of its surroundings: messages of the
              developer and the system, the environment, AGENTS.md
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import attrs
import msgspec

from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import UsageError
from turnlog.protocol.items import JsonText
from turnlog.protocol.json_values import is_list, is_object

NAMES: Final = ("dates", "paths", "ids", "measurements", "outputs", "reasoning", "context")

# What no two runs of a live tool have in common.
LIVE: Final = ("measurements",)
# What another client may say otherwise than the one that was recorded.
ANY_CLIENT: Final = ("ids", "measurements", "reasoning", "context")

_REPLACED: Final[dict[str, tuple[tuple[re.Pattern[str], str], ...]]] = {
    "dates": (
        (
            re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?"),
            "<date>",
        ),
    ),
    "paths": ((re.compile(r"(?<![\w/.:<])(/[\w.@%+~-]+)+/?"), "<path>"),),
    "ids": (
        (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.I), "<id>"),
        (re.compile(r"\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*\d)[0-9a-f]{12,}\b"), "<id>"),
    ),
    "measurements": (
        (re.compile(r"^Chunk ID: [0-9a-f]+$", re.M), "Chunk ID: <id>"),
        (re.compile(r"^Wall time: [\d.]+ seconds$", re.M), "Wall time: <time> seconds"),
        (re.compile(r"^command timed out after \d+ ", re.M), "command timed out after <time> "),
    ),
}
_UNNEEDED: Final = frozenset({"id", "status", "phase", "annotations", "logprobs"})
# How messages begin that a client puts there itself. Source: requests of Codex 0.169 and turnlog.
_TOLD_BY_CLIENTS: Final = (
    "<environment_context>",
    "<user_instructions>",
    "# AGENTS.md instructions",
    "<permissions instructions>",
    "<skills",
    "<turn_aborted>",
)


@attrs.define
class Tolerances:
    """Brings parts into the form in which they are compared. Without any, that is the text.

    Args:
        names: of `NAMES`.
        replacements: further patterns, and what stands for all that they match.

    Raises:
        UsageError: see there.
    """

    names: Sequence[str] = ()
    replacements: Sequence[tuple[str, str]] = ()
    _patterns: list[tuple[re.Pattern[str], str]] = attrs.field(init=False)
    _known: dict[JsonText, JsonText | None] = attrs.field(
        factory=dict[JsonText, JsonText | None], init=False
    )

    def __attrs_post_init__(self) -> None:
        for name in self.names:
            if name not in NAMES:
                raise UsageError(
                    ErrorCode.TOLERANCE_UNKNOWN,
                    f"there is no tolerance {name!r}; there are {', '.join(NAMES)}.",
                )
        self._patterns = [pair for name in self.names for pair in _REPLACED.get(name, ())]
        for pattern, text in self.replacements:
            try:
                self._patterns.append((re.compile(pattern), text.replace("\\", "\\\\")))
            except re.error as error:
                raise UsageError(
                    ErrorCode.TOLERANCE_UNKNOWN, f"{pattern!r} is no regular expression: {error}."
                ) from None

    @property
    def is_strict(self) -> bool:
        return not self.names and not self._patterns

    def form(self, parts: Iterable[JsonText]) -> list[JsonText]:
        """Return what is compared of `parts`, in order. Some may be left out."""
        if self.is_strict:
            return list(parts)
        return [form for part in parts if (form := self._form(part)) is not None]

    def text(self, text: str) -> str:
        """Return what is compared of a text that is not a part, such as a tool's output."""
        for pattern, replacement in self._patterns:
            text = pattern.sub(replacement, text)
        return text

    def _form(self, part: JsonText) -> JsonText | None:
        if part not in self._known:
            self._known[part] = self._formed(part)
        return self._known[part]

    def _formed(self, part: JsonText) -> JsonText | None:
        try:
            item = msgspec.json.decode(part)
        except (msgspec.MsgspecError, RecursionError):
            return self.text(part)
        if is_object(item):
            fields = item
            kind = fields.get("type")
            if "reasoning" in self.names and kind == "reasoning":
                return None
            if "context" in self.names and _is_context(fields):
                return None
            if "outputs" in self.names and isinstance(kind, str) and kind.endswith("_output"):
                fields["output"] = "<output>"
        return msgspec.json.encode(self._mapped(item), order="sorted").decode()

    def _mapped(self, value: object) -> object:
        """Return decoded JSON with its texts replaced, without the fields that do not matter."""
        if isinstance(value, str):
            return self.text(value)
        if is_list(value):
            return [self._mapped(inner) for inner in value]
        if is_object(value):
            drops = "ids" in self.names
            return {
                name: self._mapped(inner)
                for name, inner in value.items()
                if not (drops and (name in _UNNEEDED or inner is None))
            }
        return value


def _is_context(item: dict[str, Any]) -> bool:
    if item.get("type", "message") != "message":
        return False
    role, content = item.get("role"), item.get("content")
    if role in ("developer", "system"):
        return True
    if role != "user" or not is_list(content):
        return False
    texts = [part.get("text") for part in content if is_object(part)]
    return bool(texts) and all(
        isinstance(text, str) and text.startswith(_TOLD_BY_CLIENTS) for text in texts
    )
