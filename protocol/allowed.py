"""What a type allows at a place within it, in words. For the errors about arguments."""

import re
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from msgspec import Struct

_STEP: Final = re.compile(r"\.(\w+)|\[[^\]]*\]")
_WORDS: Final[dict[object, str]] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    type(None): "None",
    dict: "a mapping",
    tuple: "a list",
    list: "a list",
}


def allowed_at(kind: object, path: str) -> str:
    """Return `use one of ...`, or `use ...`, for the value at `path`; empty if nothing is known.

    Args:
        path: as msgspec writes it, without its `$`: `.items[0].text`.
    """
    here = list(_flat(kind))
    for step in _STEP.finditer(path):
        here = [one for outer in here for inner in _inner(outer, step[1]) for one in _flat(inner)]
    words = list(dict.fromkeys(word for one in here for word in _words(one)))
    if not words:
        return ""
    return f"use {words[0]}" if len(words) == 1 else f"use one of {', '.join(words)}"


def _flat(kind: Any) -> Iterator[Any]:  # noqa: ANN401
    """Yield the kinds that a union is made of."""
    if get_origin(kind) in (Union, UnionType):
        for one in get_args(kind):
            yield from _flat(one)
    elif get_origin(kind) is Annotated:
        yield from _flat(get_args(kind)[0])
    else:
        yield kind


def _inner(outer: Any, field: str | None) -> Iterator[Any]:  # noqa: ANN401
    """Yield what a field, or without one an element, of a kind may be."""
    if field and isinstance(outer, type):
        hints = get_type_hints(outer, include_extras=True)
        if field in hints:
            yield hints[field]
    elif field is None and (arguments := get_args(outer)):
        yield arguments[-1] if get_origin(outer) is dict else arguments[0]


def _words(kind: Any) -> Iterator[str]:  # noqa: ANN401
    supertype = getattr(kind, "__supertype__", kind)  # of a NewType
    plain = get_origin(supertype) or supertype
    if plain is Literal:
        yield from (str(value) for value in get_args(kind))
    elif plain in _WORDS:
        yield _WORDS[plain]
    elif isinstance(plain, type) and issubclass(plain, Struct):
        yield plain.__name__
