"""What a command printed: bounded, decoded, and cut to what the model may be shown. Pure.

Source of the limits and of every text here: `codex exec`, observed (1 MiB of head and tail for
a command; a token is four bytes, rounded up; half of the budget for each end).
"""

from collections.abc import Sequence
from typing import Final

import attrs

from turnlog.protocol.calls import Leftover

OUTPUT_LIMIT: Final = 1024 * 1024  # bytes kept of one command's output
BYTES_PER_TOKEN: Final = 4

# The texts that models and clients know.
_BYTES_OMITTED: Final = "... {} bytes omitted ..."
_TRUNCATED: Final = "Warning: truncated output (original token count: {})\n"
_TOTAL_LINES: Final = "Total output lines: {}"
_TOKENS_TRUNCATED: Final = "…{} tokens truncated…"
_EXEC_REPLY: Final = (
    "Chunk ID: {}\nWall time: {:.4f} seconds\nProcess exited with code {}\n"
    "Original token count: {}\nOutput:\n{}"
)

# What turnlog says itself of processes that outlived their command.
_ENDED_WITH_THE_CALL: Final = "[ended with the call: {}]"
_MOST_SURVIVORS: Final = 10  # pids
_SURVIVORS: Final = "[could not be ended and still run: processes {}]"
_LOST: Final = (
    "[the process that watches over this command was killed: something of it may still run]"
)


@attrs.define
class HeadTailBuffer:
    """The first and the last `limit / 2` bytes of a stream, and how many lay between.

    What it holds depends on the bytes alone, never on how they were cut into chunks. It takes at
    most one and a half times `limit`, and one chunk.
    """

    limit: int = attrs.field(default=OUTPUT_LIMIT, validator=attrs.validators.ge(2))
    total_bytes: int = attrs.field(default=0, init=False)
    _head: bytearray = attrs.field(factory=bytearray, init=False)
    _tail: bytearray = attrs.field(factory=bytearray, init=False)

    def append(self, chunk: bytes) -> None:
        self.total_bytes += len(chunk)
        half = self.limit // 2
        room = half - len(self._head)
        if room > 0:
            self._head += chunk[:room]
            chunk = chunk[room:]
        self._tail += chunk
        if len(self._tail) >= 2 * half:
            del self._tail[:-half]

    @property
    def omitted_bytes(self) -> int:
        """How many bytes of the stream are left out of `value()`."""
        return self.total_bytes - len(self._head) - len(self._last_half())

    def value(self) -> bytes:
        """Return the whole stream, or its head, a line that counts what is left out, its tail."""
        if not self.omitted_bytes:
            return bytes(self._head + self._tail)
        marker = f"\n{_BYTES_OMITTED.format(self.omitted_bytes)}\n".encode()
        return bytes(self._head) + marker + self._last_half()

    def _last_half(self) -> bytes:
        return bytes(self._tail[-(self.limit // 2) :])


def decode_output(output: bytes) -> str:
    """Return `output` as text. What is not UTF-8 becomes U+FFFD: never a lone surrogate."""
    return output.decode("utf-8", errors="replace")


def count_tokens(text: str) -> int:
    """Return the estimate that every budget is measured in: UTF-8 bytes / 4, rounded up."""
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


def truncate_for_model(text: str, budget_tokens: int, *, omitted_bytes: int = 0) -> str:
    """Return `text` as it is if it fits, else a warning, its first half and its last half.

    Args:
        text: without lone surrogates (`decode_output` makes none).
        budget_tokens: what may be kept of the text; the warning and the marker are not counted.
        omitted_bytes: what a `HeadTailBuffer` left out of `text` before; counted as original.

    Returns:
        At most `4 * budget_tokens` bytes of `text`, cut between characters.
    """
    encoded = text.encode()
    if len(encoded) <= budget_tokens * BYTES_PER_TOKEN:
        return text
    original = _original_tokens(text, omitted_bytes)
    if omitted_bytes:
        measure = _BYTES_OMITTED.format(omitted_bytes)
    else:
        lines = text.count("\n") + (not text.endswith("\n"))
        measure = _TOTAL_LINES.format(lines)
    half = budget_tokens * BYTES_PER_TOKEN // 2
    head = encoded[:half].decode(errors="ignore")
    tail = encoded[len(encoded) - half :].decode(errors="ignore")
    marker = _TOKENS_TRUNCATED.format(original - budget_tokens)
    return f"{_TRUNCATED.format(original)}{measure}\n\n{head}{marker}{tail}"


def exec_reply(
    chunk_id: str,
    wall_seconds: float,
    exit_code: int,
    output_text: str,
    budget: int,
    *,
    omitted_bytes: int = 0,
) -> str:
    """Return what the model is told about a command that ended.

    Args:
        chunk_id: six hexadecimal digits.
        wall_seconds: from the start of the process to its end.
        exit_code: 0 to 255; 128 + n for signal n.
        output_text: stdout and stderr as they came.
        budget: tokens that may be shown of it.
        omitted_bytes: what is already missing in `output_text`.
    """
    shown = truncate_for_model(output_text, budget, omitted_bytes=omitted_bytes)
    original = _original_tokens(output_text, omitted_bytes)
    return _EXEC_REPLY.format(chunk_id, wall_seconds, exit_code, original, shown)


def left_note(left: Leftover | None) -> str:
    """Return what the model is told of processes that outlived their command: lines, or nothing."""
    if left is None:
        return ""
    notes: list[str] = []
    if left.ended:
        notes.append(_ENDED_WITH_THE_CALL.format(_listed(left.names, left.ended)))
    if left.survivors:
        pids = [str(pid) for pid in left.survivors[:_MOST_SURVIVORS]]
        notes.append(_SURVIVORS.format(_listed(pids, len(left.survivors))))
    if left.lost:
        notes.append(_LOST)
    return "".join(f"{note}\n" for note in notes)


def _listed(names: Sequence[str], total: int) -> str:
    more = total - len(names)
    return ", ".join((*names, f"{more} more") if more else names)


def _original_tokens(text: str, omitted_bytes: int) -> int:
    return -(-(len(text.encode()) + omitted_bytes) // BYTES_PER_TOKEN)
