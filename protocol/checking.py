"""Values from outside, checked before anything is made of them.

In Python, a Struct does not check the values that it is built from. So whatever a caller passes is
taken apart here into plain values, checked against its type, and built again. The result can be
stored and read back unchanged.
"""

import re
from collections.abc import Iterator, Mapping
from math import isfinite
from os import PathLike, fspath
from typing import Final, Generic, TypeVar, cast

import msgspec
from msgspec import UNSET, Struct, ValidationError

from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import UsageError

T = TypeVar("T")

MOST_DEPTH: Final = 100  # of values within values
_SHOWN: Final = 60  # characters of a wrong value
_LEAST_INT, _MOST_INT = -(2**63), 2**64 - 1  # what the log can hold
_PLACED: Final = re.compile(r"(.*?)(?: - at `\$(.*)`)?", re.DOTALL)


class Argument(Generic[T]):
    """What a public argument may be: `Argument[OnRecovery](OnRecovery)`.

    Structs, literals, unions, lists, tuples, mappings and what JSON has; `Any` is a JSON value.
    """

    def __init__(self, kind: object) -> None:
        self._kind = kind

    def take(self, name: str, value: object) -> T:
        """Return `value` as the plain value that the log would give back.

        A list stands for a tuple, a subclass of `str` or `int` for its text or number, a
        `pathlib.Path` for its text, and a mapping for a Struct without a tag.

        Args:
            name: the argument's, for the error; empty where `value` is the arguments as a whole.

        Raises:
            UsageError: it is something else. The text names the place and what is allowed.
        """
        plain = _plain(name, value, 0)
        try:
            taken: T = msgspec.convert(plain, cast(type[T], self._kind))
        except ValidationError as error:
            raise UsageError(
                ErrorCode.ARGUMENT_INVALID, self._explained(name, str(error))
            ) from None
        for why in _left_out(name, value, taken):
            raise UsageError(ErrorCode.ARGUMENT_INVALID, why)
        return taken

    def _explained(self, name: str, message: str) -> str:
        from turnlog.protocol.allowed import allowed_at  # what only errors need

        found = _PLACED.fullmatch(message)
        assert found is not None  # it takes any text
        what, path = found[1], found[2] or ""
        if what.startswith("Invalid value "):  # of the tag: it is another Struct
            what, path = "Invalid enum value a Struct of another type", path.rpartition(".")[0]
        place = f"{name}{path}" if name else path.removeprefix(".")
        allowed = allowed_at(self._kind, path)
        if what.startswith("Invalid enum value "):
            return f"{place}: {what.removeprefix('Invalid enum value ')} is not allowed; {allowed}"
        if allowed and (got := what.partition(", got ")[2].strip("`")):
            return f"{place}: {'None' if got == 'null' else got} is not allowed; {allowed}"
        return f"{place}: {what[:1].lower()}{what[1:].replace('`', '')}"


def _plain(place: str, value: object, depth: int) -> object:
    """Return `value` as what JSON has, or raise at the place that cannot be stored."""
    if depth > MOST_DEPTH:
        raise UsageError(
            ErrorCode.ARGUMENT_INVALID,
            f"{_short(place)}: it is nested deeper than {MOST_DEPTH} levels",
        )
    match value:
        case None | bool():
            return value
        case str():
            return _text(place, str.__str__(value))
        case int():
            return _number(place, int(value))
        case float():
            return _finite(place, float(value))
        case Struct():
            return _fields(place, value, depth)
        case Mapping():
            items = cast("Mapping[object, object]", value).items()
            return {
                _key(place, key): _plain(f"{place}[{key!r}]", item, depth + 1)
                for key, item in items
            }
        case list() | tuple():
            elements = enumerate(cast("list[object] | tuple[object, ...]", value))
            return [_plain(f"{place}[{index}]", item, depth + 1) for index, item in elements]
        case PathLike():
            return _plain(place, fspath(cast("PathLike[str]", value)), depth + 1)
        case _:
            raise UsageError(
                ErrorCode.ARGUMENT_INVALID,
                f"{place}: {_described(value)} cannot be stored; give text, a number, true or "
                "false, None, or a list, mapping or Struct of these",
            )


def _fields(place: str, value: Struct, depth: int) -> dict[str, object]:
    config = value.__struct_config__
    plain: dict[str, object] = {}
    if config.tag_field is not None:
        plain[config.tag_field] = config.tag
    for name, encoded in zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True):
        if (field := getattr(value, name, UNSET)) is not UNSET:
            plain[encoded] = _plain(f"{place}.{name}" if place else name, field, depth + 1)
    return plain


def _key(place: str, key: object) -> str:
    if not isinstance(key, str):
        raise UsageError(
            ErrorCode.ARGUMENT_INVALID, f"{place}: the key {_described(key)} is not a text"
        )
    return _text(place, str.__str__(key))


def _text(place: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            ErrorCode.ARGUMENT_INVALID,
            f"{_short(place)}: {_described(text)} is not Unicode text: character {error.start} is "
            "half of a pair (U+D800 to U+DFFF). Decode bytes with errors='replace'",
        ) from None
    return text


def _number(place: str, number: int) -> int:
    if not _LEAST_INT <= number <= _MOST_INT:
        raise UsageError(
            ErrorCode.ARGUMENT_INVALID, f"{place}: a number of more than 64 bits cannot be stored"
        )
    return number


def _finite(place: str, number: float) -> float:
    if not isfinite(number):
        raise UsageError(
            ErrorCode.ARGUMENT_INVALID, f"{place}: {number} is not a number that JSON has"
        )
    return number


def _left_out(place: str, given: object, taken: object) -> Iterator[str]:
    """Yield what was given and is not in what was taken: nothing is dropped silently."""
    if isinstance(given, Struct) and type(given) is not type(taken):
        wanted = f"; use {type(taken).__name__}" if isinstance(taken, Struct) else ""
        yield f"{place or 'this'}: {type(given).__name__} is not allowed{wanted}"
    elif isinstance(taken, Struct):
        for name, value in _given_fields(given):
            here = f"{place}.{name}" if place else name
            if name in taken.__struct_fields__:
                yield from _left_out(here, value, getattr(taken, name))
            elif name != taken.__struct_config__.tag_field:
                yield f"{here}: {type(taken).__name__} has no such field"
    elif isinstance(taken, dict):
        kept_items = cast("dict[str, object]", taken)
        for key, value in cast("Mapping[str, object]", given).items():
            yield from _left_out(f"{place}[{key!r}]", value, kept_items[str.__str__(key)])
    elif isinstance(taken, list | tuple):
        items = zip(cast("list[object]", given), cast("list[object]", taken), strict=True)
        for index, (value, kept) in enumerate(items):
            yield from _left_out(f"{place}[{index}]", value, kept)


def _given_fields(given: object) -> Iterator[tuple[str, object]]:
    if isinstance(given, Struct):
        for name in given.__struct_fields__:
            if (value := getattr(given, name, UNSET)) is not UNSET:
                yield name, value
    else:
        yield from cast("Mapping[str, object]", given).items()


def _described(value: object) -> str:
    """Return a wrong value for a person: a short text is shown, of the rest its type."""
    if isinstance(value, str):
        text = ascii(str.__str__(value))
        return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
    return f"a value of type {type(value).__name__}"


def _short(place: str) -> str:
    return place if len(place) <= _SHOWN else f"{place[:_SHOWN]}…"


def require(holds: bool, why: str) -> None:
    """Check a further condition of an argument.

    Raises:
        UsageError: the condition does not hold; `why` is the text.
    """
    if not holds:
        raise UsageError(ErrorCode.ARGUMENT_INVALID, why)
