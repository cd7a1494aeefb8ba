"""Text on a terminal: shown, never obeyed, whoever said it. Our own colours are the exception.

What we want obeyed is marked with a number that this process has drawn, so that nothing that was
said can look like it. The doors (`streams`) let through what is marked and nothing else.
"""

import os
import re
from typing import Any, Final, TextIO

import click

_CSI: Final = "\x1b["
_MARK: Final = f"{_CSI}{int.from_bytes(os.urandom(8))};"
_OWN: Final = re.compile(re.escape(_MARK) + "([0-9;]*[A-Za-z])")
# Control characters; those that hide text, or change the order in which it is read. The joiners
# of many scripts, and the marks of direction that move only their neighbours, stay.
_UNSHOWN: Final = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f"
)
_REPLACED: Final = re.compile(f"{_OWN.pattern}|\r+\n|[{_UNSHOWN}]")
_OWN_BYTES: Final = re.compile(_OWN.pattern.encode())
_MARK_BYTES: Final = _MARK.encode()

CLEAR_LINE: Final = f"{_MARK}1G{_MARK}2K"  # and go to its beginning


_NARROWEST: Final = 40


def columns(stream: TextIO, otherwise: int) -> int:
    """Return how many columns a line of `stream` may have.

    Args:
        otherwise: where the stream is not a terminal, or its width is not known.
    """
    if not stream.isatty():
        return otherwise
    wanted = os.environ.get("COLUMNS", "")
    try:
        width = int(wanted) if wanted.isdecimal() else os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return otherwise
    return max(width, _NARROWEST) if width else otherwise


def style(text: str, **styles: Any) -> str:  # noqa: ANN401 - as `click.style` takes them
    """Return `text` as `click.style` would, for our doors to let it through."""
    if not text:
        return ""
    begin, _, end = click.style("\0", **styles).partition("\0")
    return f"{begin.replace(_CSI, _MARK)}{text}{end.replace(_CSI, _MARK)}"


def secho(text: str, *, nl: bool = True, err: bool = False, **styles: Any) -> None:  # noqa: ANN401
    """Print `text` in a style."""
    click.echo(style(text, **styles), nl=nl, err=err)


def shown(text: str, *, styles: bool) -> str:
    """Return `text` without what a terminal would obey; with our own styles, or without them."""

    def replacement(found: re.Match[str]) -> str:
        if found[1] is not None:
            return _CSI + found[1] if styles else ""
        return "\n" if found[0].endswith("\n") else "\N{REPLACEMENT CHARACTER}"

    return _REPLACED.sub(replacement, text)


def verbatim(data: bytes, *, styles: bool) -> bytes:
    """Return `data` as it is, but for our own styles, which are put in or left out."""
    if _MARK_BYTES not in data:
        return data
    return _OWN_BYTES.sub(b"\x1b[\\1" if styles else b"", data)
