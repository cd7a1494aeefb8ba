"""Every key of the configuration: its type, default, meaning, variable, and an example.

The meaning of a key is the comment at its field in the schema. So the reference page, `turnlog
config --all` and `turnlog config --template` have one text.
"""

import types
import typing
from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, Final, Literal, Union

import msgspec
from msgspec import NODEFAULT, Meta, Struct

from turnlog.runtime.config.field_comments import documentation, fields_of, is_struct
from turnlog.runtime.config.layers import KeyPath, dotted
from turnlog.runtime.config.schema import Config, key_names
from turnlog.runtime.config.sources import VARIABLES

NAME: Final = "NAME"  # in a path: whatever the user calls a provider, a profile or a project
# What stands for NAME in an example. The first one exists without any configuration.
_NAMES: Final = {"model_providers": "openai", "projects": "/home/me/project", "profiles": "fast"}
# Values of keys that have no default.
_EXAMPLES: Final[dict[str, object]] = {
    "openai_base_url": "https://api.openai.com/v1",
    "model_reasoning_effort": "medium",
    "model_reasoning_summary": "auto",
    "model_verbosity": "low",
    "model_context_window": 128_000,
    "model_auto_compact_token_limit": 100_000,
    "approval_timeout_ms": 600_000,
    "base_instructions": "You are a careful engineer.",
    "developer_instructions": "Answer in Spanish.",
    "user_instructions": "My name is Ada.",
    "compact_prompt": "Summarise the work so far.",
    "review_model": "gpt-5.5",
    "profile": "fast",
    "profiles.NAME": {"model_verbosity": "low"},
    "model_providers.NAME.base_url": "https://api.openai.com/v1",
    "model_providers.NAME.env_key": "OPENAI_API_KEY",
    "model_providers.NAME.keyring": "openai/me",
    "projects.NAME.trust_level": "trusted",
}


class Key(Struct, frozen=True):
    """One key, as its reference says it."""

    path: KeyPath  # with NAME where the user chooses a name
    type: str  # in words
    default: str | None  # as TOML writes it; None: it has none
    required: bool  # whether its table needs it
    meaning: str
    variable: str | None  # of the environment; sets the key
    example: str  # a value as TOML writes it: the default, if there is one

    @property
    def text(self) -> str:
        """The key as TOML writes it, with NAME."""
        return dotted(self.path)

    @property
    def line(self) -> str:
        """A line that sets the key in a file, whatever else is in it."""
        named = tuple(_NAMES[self.path[0]] if part == NAME else part for part in self.path)
        return f"{dotted(named)} = {self.example}"

    @property
    def notes(self) -> list[str]:
        """What is said of the key besides its meaning, in sentences."""
        default = "must be given" if self.required else "not set"
        found = [f"Type: {self.type}.", f"Default: {self.default or default}."]
        return [*found, *([f"Variable: {self.variable}."] if self.variable else [])]


class KeyTable(Struct, frozen=True):
    """A table of keys."""

    path: KeyPath
    meaning: str
    keys: tuple[Key, ...]


def keys() -> Iterator[Key]:
    """Yield every key: first those at the top, then table by table."""
    yield from top_keys()
    for table in tables():
        yield from table.keys


def top_keys() -> tuple[Key, ...]:
    """Return the keys that are in no table. A profile is a table of any keys."""
    hints, top = typing.get_type_hints(Config, include_extras=True), key_names(Config)
    plain = [name for name in top if not _tables_of(hints[name])]
    return tuple(
        _key(Config, name, (name, NAME) if name == "profiles" else (name,)) for name in plain
    )


def tables() -> Iterator[KeyTable]:
    """Yield the tables that have keys of their own."""
    hints = typing.get_type_hints(Config, include_extras=True)
    meanings = {field.name: field.meaning for field in fields_of(Config)}
    for name in key_names(Config):
        for kind in _tables_of(hints[name]):
            path = (name, NAME) if typing.get_origin(hints[name]) is dict else (name,)
            meaning = " ".join(filter(None, (meanings[name], documentation(kind))))
            members = tuple(_key(kind, key, (*path, key)) for key in key_names(kind))
            yield KeyTable(path, meaning, members)


def _key(kind: type, name: str, path: KeyPath) -> Key:
    [meaning] = [field.meaning for field in fields_of(kind) if field.name == name]
    variables = {key: variable for variable, key in VARIABLES.items()}
    value = _defaults(kind)[name]
    text = dotted(path)
    has_default = value is not None and value is not NODEFAULT
    return Key(
        path,
        type_words(typing.get_type_hints(kind, include_extras=True)[name]),
        _toml(value) if has_default else None,
        value is NODEFAULT,
        meaning[:1].upper() + meaning[1:].rstrip("."),
        variables.get(text),
        _toml(_EXAMPLES.get(text, value)),
    )


def _toml(value: object) -> str:
    """Return a value as TOML writes it: as JSON does, but for a table."""
    if isinstance(value, dict):
        pairs = typing.cast(dict[str, object], value).items()
        return "{" + ", ".join(f"{dotted((key,))} = {_toml(one)}" for key, one in pairs) + "}"
    return msgspec.json.encode(value).decode()


@cache
def _defaults(kind: type) -> dict[str, object]:
    """Return the default of each key; a factory is called."""
    if is_struct(kind):
        return {
            field.name: field.default
            if field.default_factory is NODEFAULT
            else field.default_factory()
            for field in msgspec.structs.fields(kind)
        }
    made: Any = kind()
    return {name: getattr(made, name) for name in key_names(kind)}


def _tables_of(hint: object) -> list[type]:
    """Return the classes of tables in a type."""
    if is_struct(hint):
        assert isinstance(hint, type)
        return [hint]
    return [kind for part in typing.get_args(hint) for kind in _tables_of(part)]


def type_words(hint: object) -> str:
    """Return a type as a person who writes TOML says it."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return "one of " + ", ".join(str(one) for one in arguments)
    if origin in (Union, types.UnionType):
        kept = [one for one in arguments if one is not types.NoneType]
        return " or ".join(type_words(one) for one in kept)
    if origin is Annotated:
        return type_words(arguments[0]) + _bounds(arguments[1:])
    if origin is tuple:
        return f"list of {_plural(type_words(arguments[0]))}"
    if origin is dict:
        return "table"
    words = {str: "text", int: "integer", bool: "true or false", float: "number"}
    return words.get(hint, str(hint)) if isinstance(hint, type) else str(hint)


def _bounds(metas: tuple[object, ...]) -> str:
    for meta in metas:
        if isinstance(meta, Meta):
            if meta.ge is not None and meta.le is not None:
                return f", {meta.ge:,} to {meta.le:,}"
            if meta.ge is not None:
                return f", at least {meta.ge:,}"
    return ""


def _plural(word: str) -> str:
    return f"{word}s" if word.isalpha() else word
