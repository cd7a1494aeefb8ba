"""The conversation, part by part, as the model is sent it."""

import re
from typing import Final

import attrs
from msgspec import Struct

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


class Part(Struct, frozen=True, gc=False):
    """One item of the conversation.

    A long conversation has thousands of them. They hold no cycles, so the collector skips them.
    """

    text: JsonText
    source: Source
    kind: str  # `model`, `output`, or as it was recorded
    note: str = ""  # of an output: what its call did


@attrs.define
class History:
    """Within an epoch, parts are only ever appended."""

    parts: list[Part] = attrs.field(factory=list[Part])
    size: int = 0  # bytes, as `size_of_part` counts them
    digest: bytes = GENESIS  # chained over the parts, so that asking costs the same at any length
    context: dict[str, JsonText] = attrs.field(factory=dict[str, JsonText])  # last told, by kind

    def texts(self, begin: int = 0, end: int | None = None) -> list[JsonText]:
        """Return the texts of the parts from index `begin` to before index `end`."""
        return [part.text for part in self.parts[begin:end]]

    def add(self, part: Part) -> None:
        self.parts.append(part)
        self.size += size_of_part(part.text)
        self.digest = chain(self.digest, part.text.encode())
        if part.kind not in TOLD_ONCE:
            self.context[part.kind] = part.text

    def add_from(self, other: "History", index: int) -> None:
        """Add a part of another history as it is; nothing, if that has no such part."""
        if 0 <= index < len(other.parts):
            self.add(other.parts[index])

    def first(self, parts: int) -> "History":
        """Return a history of the first `parts` parts."""
        begin = History()
        for part in self.parts[: max(0, parts)]:
            begin.add(part)
        return begin
