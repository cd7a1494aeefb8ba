"""The page of the configuration: every key with its type, default, meaning and variable."""

import types
import typing
from functools import cache
from typing import Annotated, Any, Literal, Union

import msgspec
from msgspec import NODEFAULT, Meta

from docs.generator.fields import Field, documentation, fields_of, is_struct
from docs.generator.markdown import block, code, page, prose, section, table
from turnlog.runtime.config.schema import Config, key_names
from turnlog.runtime.config.sources import VARIABLES

_INTRODUCTION = """
turnlog reads TOML files. From the weakest to the strongest source of a value:

1. the default
2. `/etc/turnlog/config.toml`
3. `$TURNLOG_HOME/config.toml` (`~/.turnlog/config.toml` where the variable is not set)
4. the chosen profile, a table `[profiles.NAME]` in one of these two files
5. `.turnlog/config.toml` in the project, if your own file trusts the project
6. environment variables
7. `-c KEY=VALUE` on the command line, then options such as `--model`

Tables are merged key by key. Every other value, a list too, is replaced as a whole. An unknown key
is an error that names the key you may have meant. Keys that only Codex knows are passed over with a
warning. `turnlog config` shows each value together with its source.

Two variables are not keys: `TURNLOG_HOME` is the folder of the store and of your configuration, and
`TURNLOG_DEBUG=1` shows the traceback of an error.

A server of your own, in `$TURNLOG_HOME/config.toml`:
"""

_EXAMPLE = """
model = "my-model"
model_provider = "mine"

[model_providers.mine]
base_url = "http://127.0.0.1:8000/v1"
"""

_HEAD = ("key", "type", "default", "meaning")


def configuration() -> str:
    """Return the page."""
    hints = typing.get_type_hints(Config, include_extras=True)
    fields = [field for field in fields_of(Config) if field.name in key_names(Config)]
    plain = [field for field in fields if not _tables_of(hints[field.name])]
    nested = [field for field in fields if _tables_of(hints[field.name])]
    return page(
        "Configuration",
        _INTRODUCTION,
        block(_EXAMPLE.strip(), "toml"),
        section(
            2,
            "Keys at the top",
            table(_HEAD, [_row(field, Config, hints) for field in plain]),
        ),
        section(2, "Tables", "A table holds keys of its own."),
        *(_table(field, hints[field.name]) for field in nested),
    )


def keys() -> list[str]:
    """Return all keys, dotted, as the page has them."""
    hints = typing.get_type_hints(Config, include_extras=True)
    found: list[str] = []
    for name in key_names(Config):
        tables = _tables_of(hints[name])
        found += [f"{name}.{key}" for kind in tables for key in key_names(kind)] or [name]
    return found


def _table(field: Field, hint: object) -> str:
    (kind,) = _tables_of(hint)
    many = typing.get_origin(hint) is dict
    name = f"{field.name}.NAME" if many else field.name
    hints = typing.get_type_hints(kind, include_extras=True)
    rows = [_row(inner, kind, hints, f"{field.name}.") for inner in fields_of(kind)]
    return section(
        3, f"[{name}]", field.meaning, prose(documentation(kind)), table(_HEAD, rows), label=name
    )


def _row(
    field: Field, kind: type, hints: dict[str, Any], prefix: str = ""
) -> tuple[str, str, str, str]:
    meaning = [field.meaning] + [
        f"Variable: {code(variable)}."
        for variable, key in VARIABLES.items()
        if key == prefix + field.name
    ]
    return (
        code(field.name),
        type_words(hints[field.name]),
        _default(kind, field.name),
        "<br>".join(meaning),
    )


def _default(kind: type, name: str) -> str:
    """Return a default as TOML writes it."""
    value = _defaults(kind)[name]
    if value is NODEFAULT:
        return "must be given"
    if value is None:
        return "not set"
    return code(msgspec.json.encode(value).decode())


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
    made = kind()
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
        return "one of " + ", ".join(code(str(one)) for one in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(type_words(one) for one in arguments if one is not types.NoneType)
    if origin is Annotated:
        return type_words(arguments[0]) + _bounds(arguments[1:])
    if origin is tuple:
        return f"list of {_plural(type_words(arguments[0]))}"
    if origin is dict:
        return "table"
    words = {str: "text", int: "integer", bool: "`true` or `false`", float: "number"}
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
