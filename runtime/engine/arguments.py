"""The doors of the Python API: what each argument may be, checked before anything is stored."""

import inspect
import os
from typing import Any, Final, TypeVar, cast

import attrs
from msgspec import UNSET, structs

from turnlog.actors.ports import ModelClient
from turnlog.protocol.checking import Argument
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import UsageError
from turnlog.protocol.ops import (
    ApprovalAnswer,
    LocalImageInput,
    Op,
    OverrideTurnContext,
    UserInput,
    UserInputItem,
    UserTurn,
)
from turnlog.protocol.settings import OnRecovery, SessionSettings, SettingsUpdate
from turnlog.runtime.config.schema import Config, key_names

T = TypeVar("T")

TEXT: Final = Argument[str](str)
FLAG: Final = Argument[bool](bool)
OPTIONAL_TEXT: Final = Argument[str | None](str | None)
ON_RECOVERY: Final = Argument[OnRecovery](OnRecovery)
ANSWER: Final = Argument[ApprovalAnswer](ApprovalAnswer)
SETTINGS: Final = Argument[SessionSettings](SessionSettings)
_NUMBER: Final = Argument[int](int)
_UPDATE: Final = Argument[SettingsUpdate | None](SettingsUpdate | None)
_CONFIG: Final = Argument[Config](Config)
_OP: Final = Argument[Op](Op)
_FEWEST: Final = {"model_context_window": 1, "model_auto_compact_token_limit": 1}


def count(name: str, value: object) -> int:
    """Return a number from 0 on, such as a limit; a larger one than any list has is that.

    Raises:
        UsageError: it is none.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return _at_least(name, 0, min(int(value), 1 << 62))
    return _NUMBER.take(name, value)


def sequence(name: str, value: object) -> int:
    """Return the sequence of an event. Whether there is one is not asked here.

    Raises:
        UsageError: it is no whole number.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)  # of any size: there is no such event
    return _NUMBER.take(name, value)


def folder(name: str, value: object) -> str:
    """Return a folder to work in, as an absolute path: a relative one begins where we stand.

    Raises:
        UsageError: it is no text and no path.
        UsageError: there is no such folder, or no current one to begin at.
    """
    path = _absolute(name, TEXT.take(name, value))
    if not os.path.isdir(path):
        raise UsageError(
            ErrorCode.INPUT_UNREADABLE, f"{path} is not a folder that a session can work in."
        )
    return path


def path(name: str, value: object) -> str:
    """Return a path as the system takes it: it may hold bytes that are no text.

    Raises:
        UsageError: it is no text and no path, or has a NUL character.
    """
    if isinstance(value, os.PathLike):
        value = os.fspath(cast("os.PathLike[str]", value))
    if not isinstance(value, str):
        return TEXT.take(name, value)
    return _without_nul(name, str.__str__(value))


def header(name: str, value: object) -> str:
    """Return a text that can stand in a header of HTTP.

    Raises:
        UsageError: it cannot.
    """
    text = TEXT.take(name, value)
    if not (text.isascii() and text.isprintable()):
        raise UsageError(
            ErrorCode.ARGUMENT_INVALID, f"{name}: {text!r} is not allowed; use printable ASCII"
        )
    return text


def settings_update(name: str, value: object) -> SettingsUpdate | None:
    """Return a change of settings that can be stored, its folder as an absolute path.

    Raises:
        UsageError: a field has a value that is not allowed. The text names both.
        UsageError: its folder is none.
    """
    update = _UPDATE.take(name, value)
    return None if update is None else _grounded(name, update)


def op(name: str, value: object) -> Op:
    """Return an op that can be stored, with absolute paths.

    Raises:
        UsageError: it is none, or a field has a value that is not allowed.
        UsageError: the folder that it names is none.
    """
    match _OP.take(name, value):
        case OverrideTurnContext(update=update):
            return OverrideTurnContext(_grounded(f"{name}.update", update))
        case UserTurn(items=items, update=update) as turn:
            update = _grounded(f"{name}.update", update)
            return structs.replace(turn, items=_located(name, items), update=update)
        case UserInput(items=items) as given:
            return structs.replace(given, items=_located(name, items))
        case other:
            return other


def configuration(name: str, value: object) -> Config:
    """Return a configuration each of whose keys has a value that is allowed.

    Raises:
        UsageError: it is none, or a key has another value.
    """
    if not isinstance(value, Config):
        raise UsageError(
            ErrorCode.ARGUMENT_INVALID, f"{name}: {type(value).__name__} is not allowed; use Config"
        )
    config = _CONFIG.take(name, {key: getattr(value, key) for key in key_names(Config)})
    return attrs.evolve(config, origins=value.origins, warnings=value.warnings)


def model(name: str, value: object) -> tuple[str | None, ModelClient | None]:
    """Return a model's name, or what answers instead of a provider; None and None for neither.

    Raises:
        UsageError: it is something else, or an empty name.
    """
    if value is None:
        return None, None
    if inspect.iscoroutinefunction(getattr(value, "call", None)) and not isinstance(value, type):
        return None, cast("ModelClient", value)
    if not isinstance(value, str):
        kind = value.__name__ if isinstance(value, type) else type(value).__name__
        raise UsageError(
            ErrorCode.ARGUMENT_INVALID,
            f"{name}: {kind} is not allowed; use a model's name, or a model such as "
            "turnlog.testing.scripted(...)",
        )
    if not value.strip():
        raise UsageError(
            ErrorCode.ARGUMENT_INVALID, f"{name}: {value!r} is not allowed; use a model's name"
        )
    return TEXT.take(name, value), None


def callback(name: str, value: T) -> T:
    """Return a function that will be called and not awaited, or None.

    Raises:
        UsageError: it is something else.
    """
    if value is not None and (not callable(value) or inspect.iscoroutinefunction(value)):
        kind = "`async def`" if callable(value) else type(value).__name__
        raise UsageError(
            ErrorCode.ARGUMENT_INVALID, f"{name}: {kind} is not allowed; use a plain function"
        )
    return value


def _grounded(name: str, update: SettingsUpdate) -> SettingsUpdate:
    changed: dict[str, Any] = {}
    if update.cwd is not UNSET:
        changed["cwd"] = folder(f"{name}.cwd", update.cwd)
    if update.sandbox is not UNSET:
        for index, root in enumerate(update.sandbox.writable_roots):
            if not os.path.isabs(_without_nul(f"{name}.sandbox.writable_roots[{index}]", root)):
                raise UsageError(
                    ErrorCode.ARGUMENT_INVALID,
                    f"{name}.sandbox.writable_roots[{index}]: {root!r} is not allowed; use an "
                    "absolute path",
                )
    for field, fewest in _FEWEST.items():
        if isinstance(number := getattr(update, field), int):
            _at_least(f"{name}.{field}", fewest, number)
    if update.agents is not UNSET:
        for field, number in structs.asdict(update.agents).items():
            _at_least(f"{name}.agents.{field}", 0, number)
    return structs.replace(update, **changed)


def _located(name: str, items: tuple[UserInputItem, ...]) -> tuple[UserInputItem, ...]:
    """Return a prompt's items, with absolute paths of its images."""
    return tuple(
        LocalImageInput(_absolute(f"{name}.items[{index}].path", item.path))
        if isinstance(item, LocalImageInput)
        else item
        for index, item in enumerate(items)
    )


def _absolute(name: str, path: str) -> str:
    try:
        found = os.path.abspath(_without_nul(name, path))
    except FileNotFoundError:
        raise UsageError(
            ErrorCode.INPUT_UNREADABLE,
            f"{name}: {path!r} is a relative path, and the current folder is gone. Give an "
            "absolute one.",
        ) from None
    return TEXT.take(name, found)  # the current folder's name may be no text


def _without_nul(name: str, path: str) -> str:
    if "\0" in path:
        raise UsageError(
            ErrorCode.ARGUMENT_INVALID,
            f"{name}: {path!r} is not allowed; a path has no NUL character",
        )
    return path


def _at_least(name: str, fewest: int, number: int) -> int:
    if number < fewest:
        raise UsageError(
            ErrorCode.ARGUMENT_INVALID, f"{name}: {number} is not allowed; use {fewest} or more"
        )
    return number
