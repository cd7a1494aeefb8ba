"""Reading a file that the user named, or a pipe."""

from pathlib import Path

from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import UsageError


def read_input(path: Path, *, limit: int) -> bytes:
    """Return the content of a file.

    Args:
        limit: bytes that it may have.

    Raises:
        UsageError: it cannot be read, or it is larger.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except (OSError, ValueError) as problem:  # ValueError: a NUL in the path
        why = problem.strerror if isinstance(problem, OSError) else problem
        raise UsageError(ErrorCode.INPUT_UNREADABLE, f"{path} cannot be read: {why}.") from problem
    if len(data) > limit:
        raise UsageError(
            ErrorCode.INPUT_UNREADABLE, f"{path} is larger than {limit:,} bytes. Split it."
        )
    return data
