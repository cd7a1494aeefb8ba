"""The conversation, part by part, as the model is sent it."""

import re
from typing import Final

import attrs

from turnlog.protocol.envelope import GENESIS, chain
from turnlog.protocol.items import JsonText

# Where a part's text is stored: the sequence of the event, and the index of the item in it. For a
# tool output the second number is the distance, in events, back to its call's item.
Source = tuple[int, int]

MODEL: Final = "model"  # the kind of a part that the model said
OUTPUT: Final = "output"  # the kind of a call's output
USER: Final = "user"
SUMMARY: Final = "summary"
LEDGER: Final = "ledger"  # what the calls did that a summary stands for
BYTES_A_TOKEN: Final = 4  # of what no provider has counted
IMAGE_BYTES: Final = 7_373  # as which an image counts: providers scale it, so its size says little
_IMAGE: Final = re.compile(r'(?<="image_url":")data:[^"]*')  # in a text, quotes are escaped
# Kinds that are told once each. All others are context: a later part takes an earlier one's place.
TOLD_ONCE: Final = frozenset(
    {MODEL, OUTPUT, USER, SUMMARY, LEDGER, "turn_aborted", "agent", "review"}
)


def size_of_part(part: JsonText) -> int:
    """Return how many bytes a part counts as. Source of an image's: Codex's estimate."""
    if '"image_url":"data:' not in part:
        return len(part.encode())
    rest, images = _IMAGE.subn("", part)
    return len(rest.encode()) + images * IMAGE_BYTES


@attrs.define
class History:
    """Within an epoch, parts are only ever appended."""

    parts: list[JsonText] = attrs.field(factory=list[JsonText])
    sources: list[Source] = attrs.field(factory=list[Source])  # of the parts, one each
    kinds: list[str] = attrs.field(factory=list[str])  # `model`, `output`, or as it was recorded
    notes: list[str] = attrs.field(factory=list[str])  # of an output: what its call did
    size: int = 0  # bytes, as `size_of_part` counts them
    digest: bytes = GENESIS  # chained over the parts, so that asking costs the same at any length
    context: dict[str, JsonText] = attrs.field(factory=dict[str, JsonText])  # last told, by kind

    def add(self, part: JsonText, source: Source, kind: str, note: str = "") -> None:
        data = part.encode()
        self.parts.append(part)
        self.sources.append(source)
        self.kinds.append(kind)
        self.notes.append(note)
        self.size += size_of_part(part)
        self.digest = chain(self.digest, data)
        if kind not in TOLD_ONCE:
            self.context[kind] = part

    def add_from(self, other: "History", index: int) -> None:
        """Add a part of another history as it is; nothing, if that has no such part."""
        if 0 <= index < len(other.parts):
            source, kind, note = other.sources[index], other.kinds[index], other.notes[index]
            self.add(other.parts[index], source, kind, note)

    def first(self, parts: int) -> "History":
        """Return a history of the first `parts` parts."""
        begin = History()
        for index in range(min(parts, len(self.parts))):
            begin.add_from(self, index)
        return begin
