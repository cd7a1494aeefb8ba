"""Say everything that is wrong with a configuration.

The only module that imports cattrs: it walks the tables by their types and collects all errors,
each with its key. The import and the code that it generates cost 35 ms, which only an error pays.
"""

import json
import types
import typing
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Final, Literal, TypeAlias, get_args, get_origin

import attrs
import msgspec
from cattrs import Converter
from cattrs.errors import (
    ClassValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
)
from cattrs.gen import (
    make_dict_structure_fn_from_attrs,  # pyright: ignore[reportUnknownVariableType]
)
from msgspec import NODEFAULT, Meta, Struct, structs

from turnlog.protocol.json_values import is_object
from turnlog.runtime.config.layers import KeyPath, Table, TomlValue, suggestion
from turnlog.runtime.config.schema import Config, is_secret, key_names

Kind: TypeAlias = Any  # a type, also one that is no class, such as `str | None`

_SHOWN: Final = 60  # characters of a wrong value
_NAMES: Final[dict[Kind, str]] = {str: "a text", int: "a whole number", bool: "true or false"}


class _NotATable(Exception): ...


def find_problems(values: Table) -> list[tuple[KeyPath, str]]:
    """Return each wrong key, with what was expected and what was found. Empty: all is right."""
    try:
        _converter().structure(values, Config)
    except ClassValidationError as error:
        return list(_problems(error, (), values))
    return []


def _converter() -> Converter:
    converter = Converter(forbid_extra_keys=True)

    def hook_for(kind: Kind) -> Callable[[TomlValue, Kind], object]:
        build = _table_hook(kind, converter)

        def hook(value: TomlValue, _: Kind) -> object:
            if not is_object(value):
                raise _NotATable
            return build(value, kind)

        return hook

    for scalar in (str, int, bool):  # else cattrs would convert: 3 to "3", "no" to True
        converter.register_structure_hook(scalar, msgspec.convert)
    converter.register_structure_hook_func(lambda kind: not _is_object_kind(kind), msgspec.convert)
    converter.register_structure_hook_factory(_is_object_kind, hook_for)
    return converter


def _origin(kind: Kind) -> object:
    return get_origin(kind)


def _is_object_kind(kind: Kind) -> bool:
    return _origin(kind) is dict or attrs.has(kind) or _is_struct(kind)


def _is_struct(kind: Kind) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


def _table_hook(kind: Kind, converter: Converter) -> Callable[[Table, Kind], object]:
    if _origin(kind) is dict:
        return converter.gen_structure_mapping(kind)
    if _is_struct(kind):  # cattrs does not know Structs
        fields = {info.name: _attribute(info) for info in structs.fields(kind)}
        shape = attrs.make_class(kind.__name__, fields)
    else:
        shape = kind
    keys = [field for field in attrs.fields(shape) if field.name in key_names(kind)]
    return make_dict_structure_fn_from_attrs(keys, kind, converter)


def _attribute(info: structs.FieldInfo) -> TomlValue:
    if info.default_factory is not NODEFAULT:
        return attrs.field(type=info.type, factory=info.default_factory)
    default = attrs.NOTHING if info.default is NODEFAULT else info.default
    return attrs.field(type=info.type, default=default)


def _problems(error: Exception, path: KeyPath, value: TomlValue) -> Iterator[tuple[KeyPath, str]]:
    match error:
        case ClassValidationError() | IterableValidationError():
            noted, others = error.group_exceptions()
            for inner, note in noted:
                key = str(getattr(note, "name", None) or getattr(note, "index", ""))
                yield from _at_key(inner, (*path, key), note.type, value)
            for inner in others:
                yield from _problems(inner, path, value)
        case ForbiddenExtraKeysError():
            for key in sorted(error.extra_fields):
                hint = suggestion(key, key_names(error.cl))
                yield (*path, key), f"there is no such key.{hint}"
        case _:
            raise error


def _at_key(
    error: Exception, path: KeyPath, kind: Kind, table: Table
) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(error, ClassValidationError | IterableValidationError):
        yield from _problems(error, path, table[path[-1]])
    elif path[-1] not in table:
        yield path, f"it is missing; expected {_expected(kind)}."
    else:
        found = table[path[-1]]
        hint = ""
        if isinstance(found, str):
            hint = suggestion(found, _choices(kind))
        yield path, f"expected {_expected(kind)}, found {_found(found, path)}.{hint}"


def _plain(kind: Kind) -> Kind:
    """Return `X` for `X | None`: TOML has no null."""
    if _origin(kind) is typing.Union or _origin(kind) is types.UnionType:
        return next(part for part in get_args(kind) if part is not type(None))
    return kind


def _choices(kind: Kind) -> tuple[str, ...]:
    kind = _plain(kind)
    return get_args(kind) if _origin(kind) is Literal else ()


def _expected(kind: Kind) -> str:
    kind = _plain(kind)
    if choices := _choices(kind):
        quoted = [json.dumps(choice) for choice in choices]
        return quoted[0] if len(quoted) == 1 else "one of " + ", ".join(quoted)
    if _origin(kind) is Annotated:
        base, *notes = get_args(kind)
        bounds = [
            f"{word} {bound}"
            for note in notes
            if isinstance(note, Meta)
            for word, bound in (("at least", note.ge), ("at most", note.le))
            if bound is not None
        ]
        return " and ".join([f"{_NAMES[base]} of {bounds[0]}", *bounds[1:]])
    if _origin(kind) is tuple:
        return "a list of texts"
    return _NAMES.get(kind, "a table")


def _found(value: TomlValue, path: KeyPath) -> str:
    match value:
        case dict():
            return "a table"
        case list() if is_secret(path):
            return "a list"
        case _ if is_secret(path):
            return f"a value of type {type(value).__name__}"
        case bool() | int() | float() | str() | list():
            text = json.dumps(value, ensure_ascii=False, default=str)
            return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
        case _:
            return str(value)  # dates and times
