"""The prompt of `turnlog exec`: from its argument, from stdin, or from both.

stdin is read to its end whatever happens, since a parent that writes into a pipe that nobody
reads may crash. Source of the rules and the notes: measured on Codex 0.169.
"""

import codecs
import os
from typing import Final

import click

from turnlog.frontends.cli.output.streams import STDIN, read_stdin
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import UsageError

MAX_BYTES: Final = 16 << 20
_CHUNK: Final = 1 << 16


def read_prompt(argument: str | None, *, required: bool) -> str | None:
    """Return the prompt; None if there is none and none is required.

    Args:
        argument: from the command line. None or `-`: the prompt is what stdin gives. Else what
            stdin gives, if anything, is appended in a block of its own.

    Raises:
        UsageError: there is none.
        UsageError: stdin cannot be read, or has more than `MAX_BYTES`, or this is not UTF-8.
    """
    if os.isatty(STDIN) and argument != "-":
        piped = ""
    else:
        alone = argument is None or argument == "-"
        what = "prompt" if alone else "additional input"
        click.echo(f"Reading {what} from stdin...", err=True)
        piped = _decode(_drain())
    if argument is not None and argument != "-":
        return _with_piped(_checked(argument), piped)
    if piped.strip():
        return piped
    if required or argument == "-":
        raise UsageError(
            ErrorCode.PROMPT_MISSING,
            "No prompt provided via stdin. Pipe one into it, or give it as an argument.",
        )
    return None


def _with_piped(prompt: str, piped: str) -> str:
    if not piped.strip():
        return prompt
    end = "" if piped.endswith("\n") else "\n"
    return f"{prompt}\n\n<stdin>\n{piped}{end}</stdin>"


def _drain() -> bytes:
    """Read stdin to its end; keep a byte more than is allowed, at most."""
    data = bytearray()
    try:
        while chunk := read_stdin(_CHUNK):
            data += chunk[: MAX_BYTES + 1 - len(data)]
    except OSError as error:
        raise UsageError(
            ErrorCode.INPUT_UNREADABLE, f"stdin cannot be read: {error.strerror}."
        ) from error
    return bytes(data)


def _decode(data: bytes) -> str:
    if len(data) > MAX_BYTES:
        raise UsageError(
            ErrorCode.INPUT_UNREADABLE,
            f"stdin has more than {MAX_BYTES} bytes. Put it into a file, and name that in the "
            "prompt.",
        )
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise UsageError(
            ErrorCode.INPUT_UNREADABLE,
            f"stdin is not UTF-8: byte {error.start} is 0x{data[error.start]:02x}. Convert it, "
            "for example with `iconv -t UTF-8`.",
        ) from None


def _checked(argument: str) -> str:
    try:
        argument.encode()
    except UnicodeEncodeError:
        raise UsageError(ErrorCode.INPUT_UNREADABLE, "the prompt is not UTF-8.") from None
    if not argument.strip():
        raise UsageError(ErrorCode.PROMPT_MISSING, "the prompt is empty. Say what is to be done.")
    return argument
