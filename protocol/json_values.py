"""Looking into decoded JSON or TOML, whose shape nobody has checked. Pure."""

from typing import Any, TypeGuard, cast


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Say whether a value is an object of JSON, or a table of TOML."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Say whether a value is a list."""
    return isinstance(value, list)


def objects(value: object) -> list[dict[str, Any]]:
    """Return the objects of a list; none if it is no list."""
    if not is_list(value):
        return []
    return [item for item in cast(list[object], value) if is_object(item)]


def text_of(value: object) -> str:
    """Return a text; the empty one if it is no text."""
    return value if isinstance(value, str) else ""
