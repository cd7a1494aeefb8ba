"""What a tool did wrong: a text for the model, and a traceback for the author of the tool."""

import traceback
from collections.abc import Iterator
from typing import Final, cast

import trio

from turnlog.runtime.processes.output import HeadTailBuffer, decode_output

TRACEBACK_BYTES: Final = 16 << 10  # the first and the last half of a longer one is kept
_SHOWN: Final = 3  # of the errors that were raised together
_NOT_THE_TOOL_S: Final = (trio.Cancelled, KeyboardInterrupt, GeneratorExit)


def fault(error: BaseException) -> BaseException | None:
    """Return the part of `error` that is the tool's fault; None if `error` must be raised further.

    A cancellation and Ctrl-C are not the tool's fault, nor is an error that comes together with
    Ctrl-C. An error that is raised instead of a cancellation, or beside it, is the tool's.
    """
    if isinstance(error, _NOT_THE_TOOL_S):
        return None
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        stops, rest = group.split(_NOT_THE_TOOL_S)
        if stops is not None and stops.split(trio.Cancelled)[1] is not None:
            return None
        return rest
    return error


def described(error: BaseException) -> str:
    """Return an error as `ValueError: boom`; of several that were raised together, the first."""
    leaves = list(_leaves(error))
    shown = "; ".join(_one(leaf) for leaf in leaves[:_SHOWN])
    left = len(leaves) - _SHOWN
    return f"{shown}; and {left} more" if left > 0 else shown


def traceback_of(error: BaseException) -> str:
    """Return where an error came from, as Python prints it, as text that can be stored."""
    buffer = HeadTailBuffer(TRACEBACK_BYTES)
    buffer.append("".join(traceback.format_exception(error)).encode(errors="backslashreplace"))
    return decode_output(buffer.value())


def storable(text: str) -> str:
    """Return `text` with `?` for each half of a pair, which no log can hold."""
    return text.encode(errors="replace").decode()


def _one(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:  # an error whose own text raises
        text = "(it has no readable text)"
    return storable(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _leaves(inner)
    else:
        yield error
