"""What the user should know, where a program has not said who is to be told."""

import logging
from collections.abc import Callable
from typing import Final

Warn = Callable[[str], None]
LOGGER: Final = logging.getLogger("turnlog")
_KEPT: Final = "\n\t"
_UNSHOWN: Final = "\N{REPLACEMENT CHARACTER}"


def log_warning(text: str) -> None:
    """Tell the logger `turnlog`, which writes to stderr unless the program configures it.

    The text may hold what a model or a tool has said, so nothing in it can control a terminal.
    """
    shown = [one if one.isprintable() or one in _KEPT else _UNSHOWN for one in text]
    LOGGER.warning("%s", "".join(shown))


def safely(warn: Warn) -> Warn:
    """Return `warn` as a function that never raises: what it raises is logged, with the text."""

    def tell(text: str) -> None:
        try:
            warn(text)
        except Exception:
            LOGGER.exception("the `warn` of an engine failed")
            log_warning(text)

    return tell


def unheard(_: str) -> None:
    """Tell nobody."""
