"""Guess whether a command failed because its sandbox stopped it."""

from typing import Final

# Source: Codex's heuristic: words in what a failed command printed.
_WORDS: Final = (
    "operation not permitted",
    "permission denied",
    "read-only file system",
    "seccomp",
    "sandbox",
    "landlock",
    "failed to write file",
)
_NOT_DENIED: Final = frozenset({2, 126, 127})  # a usage error, not executable, not found
_KILLED_BY_SECCOMP: Final = 128 + 31  # SIGSYS


def denial(exit_code: int, output: str) -> str | None:
    """Return the word that tells of a denial, as a guess; None if nothing does.

    Call it for a confined command only. Only the last 64 KiB of `output` are looked at.
    """
    if exit_code == _KILLED_BY_SECCOMP:
        return "SIGSYS"
    if exit_code == 0 or exit_code in _NOT_DENIED:
        return None
    text = output[-65_536:].lower()
    return next((word for word in _WORDS if word in text), None)
