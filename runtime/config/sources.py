"""Read the sources of configuration, each into a layer of its own.

Only this is checked here: a source can be read. The merged whole is checked in `structure`.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import UsageError
from turnlog.protocol.json_values import is_object
from turnlog.runtime.config.files import read_regular
from turnlog.runtime.config.layers import (
    Layer,
    LayerName,
    Origin,
    Table,
    TomlValue,
    dotted,
)

VARIABLES: Final[Mapping[str, str]] = {
    "TURNLOG_MODEL": "model",
    "TURNLOG_MODEL_PROVIDER": "model_provider",
    "TURNLOG_MODEL_REASONING_EFFORT": "model_reasoning_effort",
    "TURNLOG_OPENAI_BASE_URL": "openai_base_url",
    "TURNLOG_APPROVAL_POLICY": "approval_policy",
    "TURNLOG_SANDBOX_MODE": "sandbox_mode",
    "TURNLOG_DURABILITY": "durability",
    "TURNLOG_ON_RECOVERY": "on_recovery",
    "TURNLOG_PROFILE": "profile",
}
"""Environment variables that set a key. An empty one counts as not set."""

_MAX_FILE: Final = 1 << 20  # bytes
_MAX_DEPTH: Final = 16  # tables within tables; the schema has 4
_PLACE: Final = re.compile(r"^(.*) \(at (?:line (\d+), column (\d+)|end of document)\)$", re.DOTALL)


def file_layer(name: LayerName, path: Path) -> Layer | None:
    """Return what a TOML file says; None if there is none.

    Raises:
        UsageError: it cannot be read (it is a folder, is larger than 1 MiB, ...), or it is
            not TOML; then the text names the line.
    """
    try:
        data = read_regular(path, _MAX_FILE)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(
            ErrorCode.CONFIG_INVALID,
            f"{path}: the configuration cannot be read: {error.strerror}. "
            "Fix it, move it away, or choose another folder with TURNLOG_HOME.",
        ) from None
    return Layer(Origin(name, str(path)), _parse(data, path))


def _parse(data: bytes, path: Path) -> Table:
    try:
        values = tomllib.loads(data.decode())
        _check_depth(values, _MAX_DEPTH)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(
            ErrorCode.CONFIG_INVALID,
            f"{path}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8, which TOML is "
            "written in. Save the file as UTF-8.",
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(ErrorCode.CONFIG_INVALID, _syntax_error(str(error), data, path)) from None
    except RecursionError:
        raise UsageError(
            ErrorCode.CONFIG_INVALID, f"{path}: tables or lists are nested too deeply."
        ) from None
    return values


def _syntax_error(text: str, data: bytes, path: Path) -> str:
    match = _PLACE.match(text)
    if match is None:
        return f"{path}: this is not TOML: {text}."
    what, line, column = match.groups()
    if line is None:
        line = data.count(b"\n") + 1
        return f"{path}, line {line}: this is not TOML: {what}, and the file ends here."
    return f"{path}, line {line}, column {column}: this is not TOML: {what}."


def _check_depth(value: TomlValue, left: int) -> None:
    if is_object(value):
        if not left:
            raise RecursionError
        for inner in value.values():
            _check_depth(inner, left - 1)


def environment_layers(environ: Mapping[str, str]) -> list[Layer]:
    """Return a layer for each variable of `VARIABLES` that is set."""
    return [
        Layer(Origin("environment", f"${variable}"), {key: _text(value, f"${variable}")})
        for variable, key in VARIABLES.items()
        if (value := environ.get(variable))
    ]


def assignment_layer(assignment: str) -> Layer:
    """Return what `-c KEY=VALUE` says: a dotted TOML key, and a TOML value or else a text.

    Raises:
        UsageError: it has no `=`, or what comes before it is not a key.
    """
    _text(assignment, "-c")
    for equals in re.finditer("=", assignment):  # a quoted key may hold one
        key = _key(assignment[: equals.start()].strip())
        if key is not None:
            break
    else:
        raise UsageError(
            ErrorCode.CONFIG_INVALID,
            f"-c {assignment}: expected KEY=VALUE, with a key such as model or "
            "sandbox_workspace_write.network_access.",
        )
    value = _value(assignment[equals.end() :].strip())
    for part in reversed(key):
        value = {part: value}
    return Layer(Origin("command line", f"-c {dotted(key)}"), value)


def _key(text: str) -> tuple[str, ...] | None:
    parsed: TomlValue = _only(f"{text} = 0")
    path: list[str] = []
    while is_object(parsed) and len(parsed) == 1:
        [(part, parsed)] = parsed.items()
        path.append(part)
    fits = parsed == 0 and "\n" not in text and len(path) <= _MAX_DEPTH
    return tuple(path) if fits else None


def _value(text: str) -> TomlValue:
    parsed = _only(f"value = {text}")
    if parsed is not None and parsed.keys() == {"value"}:
        return parsed["value"]
    return text


def _only(text: str) -> Table | None:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return None


def _text(value: str, where: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UsageError(ErrorCode.CONFIG_INVALID, f"{where}: the value is not UTF-8.") from None
    return value
