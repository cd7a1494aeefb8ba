"""The structural difference of two values: where they differ, and what each side has there.

A value is compared in its plain form: named fields, lists and scalars, and JSON that is kept as
text decoded. Pure.
"""

import json
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice, takewhile
from typing import Any, Final, cast

import attrs
import msgspec
from msgspec import UNSET, Struct

from turnlog.protocol.envelope import KIND_NAMES, UnknownEvent
from turnlog.protocol.view import JSON_SUFFIX

Path = tuple[str | int, ...]  # names of fields and indices of lists, from the outside in
_KIND: Final = "kind"
OWN_KIND: Final = "which"  # stands for a field `kind` of an event, beside the event's kind
_DEPTH: Final = 100  # of what is looked into; what lies deeper is compared as a whole


class Absent:
    """There is nothing, which is not the same as None."""

    def __repr__(self) -> str:
        return "absent"


ABSENT: Final = Absent()


@attrs.frozen
class Difference:
    """One place where two values differ."""

    path: Path
    left: object  # plain; ABSENT: only the right one has it
    right: object  # plain; ABSENT: only the left one has it


def differences(left: object, right: object) -> list[Difference]:
    """Return where two values differ, in the order of the left one's fields.

    Values may be events, Structs, attrs objects, or plain already. Equal values of different
    types (1 and true) differ. Lists are compared without their common beginning and end: what
    is left is compared index by index, then come removals or additions, never both. Applied to
    the left value's plain form by `patched`, they give the right one's.
    """
    return plain_differences(plain(left), plain(right))


def plain_differences(left: object, right: object) -> list[Difference]:
    """Return where two values differ that are in plain form already."""
    found: list[Difference] = []
    _compare((), left, right, found)
    return found


def plain(value: object) -> Any:  # noqa: ANN401
    """Return a value as dicts, lists and scalars.

    An event begins with its `kind`; a field of that name is `which` then. A field `x_json`
    becomes `x`, decoded where it can be. Sets are sorted, bytes are in hex. What is plain already
    is not copied deeper than needed.
    """
    match value:
        case None | bool() | int() | float() | str():
            return value
        case UnknownEvent():
            body = b64encode(value.body).decode()
            return {"kind": f"unknown_{value.kind}", "body": body, "blobs": plain(value.blobs)}
        case Struct():
            return _struct(value)
        case bytes():
            return value.hex()
        case Mapping():
            pairs = cast(Mapping[object, object], value).items()
            return {str(key): plain(inner) for key, inner in pairs}
        case AbstractSet():
            return sorted((plain(inner) for inner in cast(Iterable[object], value)), key=repr)
        case Sequence():
            return [plain(inner) for inner in cast(Sequence[object], value)]
        case _ if attrs.has(kind := type(value)):
            return _named(value, [field.name for field in attrs.fields(kind)])
        case _:
            return msgspec.to_builtins(value, str_keys=True)


def _struct(value: Struct) -> dict[str, Any]:
    config = value.__struct_config__
    shown: dict[str, Any] = {}
    if (kind := KIND_NAMES.get(type(value))) is not None:
        named = _named(value, value.__struct_fields__)
        if _KIND in named:  # of a turn or a child
            named[OWN_KIND] = named.pop(_KIND)
        return {_KIND: kind, **named}
    if config.tag is not None and config.tag_field is not None and not config.array_like:
        shown[config.tag_field] = config.tag
    return shown | _named(value, value.__struct_fields__)


def _named(value: object, names: Iterable[str]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name in names:
        field = getattr(value, name)
        if name.endswith(JSON_SUFFIX):
            shown[name.removesuffix(JSON_SUFFIX)] = decoded(field)
        elif field is not UNSET:
            shown[name.removeprefix("_")] = plain(field)
    return shown


def decoded(text: object) -> Any:  # noqa: ANN401
    """Return what a JSON text says; one that cannot be decoded is the string that it is."""
    if not isinstance(text, str):
        return text
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return text


def equal(left: object, right: object) -> bool:
    """Say whether two plain values are the same, in their types too. At any depth."""
    if left is right:
        return True
    pairs: list[tuple[object, object]] = [(left, right)]
    while pairs:
        one, other = pairs.pop()
        if one is other:
            continue
        if type(one) is not type(other):
            return False
        if isinstance(one, dict):
            left_map, right_map = cast(dict[str, object], one), cast(dict[str, object], other)
            if left_map.keys() != right_map.keys():
                return False
            pairs += ((value, right_map[key]) for key, value in left_map.items())
        elif isinstance(one, list):
            left_list, right_list = cast(list[object], one), cast(list[object], other)
            if len(left_list) != len(right_list):
                return False
            pairs += zip(left_list, right_list, strict=True)
        elif one != other:
            return False
    return True


def _compare(path: Path, left: object, right: object, found: list[Difference]) -> None:
    deep = len(path) >= _DEPTH
    match left, right:
        case (dict(), dict()) if not deep:
            maps = cast(tuple[dict[str, object], dict[str, object]], (left, right))
            _compare_maps(path, *maps, found)
        case (list(), list()) if not deep:
            lists = cast(tuple[list[object], list[object]], (left, right))
            _compare_lists(path, *lists, found)
        case _:
            if not equal(left, right):
                found.append(Difference(path, left, right))


def _compare_maps(
    path: Path, left: dict[str, object], right: dict[str, object], found: list[Difference]
) -> None:
    for key, value in left.items():
        if key in right:
            _compare((*path, key), value, right[key], found)
        else:
            found.append(Difference((*path, key), value, ABSENT))
    found += (
        Difference((*path, key), ABSENT, value) for key, value in right.items() if key not in left
    )


def _compare_lists(
    path: Path, left: list[object], right: list[object], found: list[Difference]
) -> None:
    shorter = min(len(left), len(right))
    begin = _common(zip(left, right, strict=False))
    ends = zip(reversed(left), reversed(right), strict=False)
    end = _common(islice(ends, shorter - begin))
    paired = shorter - end
    for index in range(begin, paired):
        _compare((*path, index), left[index], right[index], found)
    for index in range(paired, len(left) - end):
        found.append(Difference((*path, index), left[index], ABSENT))
    for index in range(paired, len(right) - end):
        found.append(Difference((*path, index), ABSENT, right[index]))


def _common(pairs: Iterable[tuple[object, object]]) -> int:
    return sum(1 for _ in takewhile(lambda pair: equal(*pair), pairs))


def patched(value: object, changes: Iterable[Difference]) -> Any:  # noqa: ANN401
    """Return a plain value with differences applied to it, left to right. It is not changed.

    Raises:
        LookupError, TypeError: they are not differences of this value.
    """
    changes = list(changes)
    if any(not change.path for change in changes):
        return changes[-1].right
    inner: dict[str | int, list[Difference]] = {}
    for change in changes:
        inner.setdefault(change.path[0], []).append(attrs.evolve(change, path=change.path[1:]))
    if isinstance(value, dict):
        return _patched_map(cast(dict[str, object], value), inner)
    if isinstance(value, list):
        return _patched_list(cast(list[object], value), inner)
    if inner:
        raise TypeError(f"nothing lies inside of {value!r}")
    return value


def _patched_map(
    value: dict[str, object], inner: Mapping[str | int, list[Difference]]
) -> dict[str, object]:
    result = dict(value)
    for key, changes in inner.items():
        name = str(key)
        if changes[0].path:
            result[name] = patched(result[name], changes)
        elif changes[0].right is ABSENT:
            del result[name]
        else:
            result[name] = changes[0].right
    return result


def _patched_list(value: list[object], inner: Mapping[str | int, list[Difference]]) -> list[object]:
    result, removed = list(value), list[int]()
    for key, changes in sorted(inner.items(), key=lambda pair: int(pair[0])):
        index = int(key)
        if changes[0].path:
            result[index] = patched(result[index], changes)
        elif changes[0].left is ABSENT:
            result.insert(index, changes[0].right)
        elif changes[0].right is ABSENT:
            removed.append(index)
        else:
            result[index] = changes[0].right
    for index in reversed(removed):
        del result[index]
    return result


# --- for people -------------------------------------------------------------------------------


def path_text(path: Path) -> str:
    """Return a path as it is written: `items[0].content[1].text`; of the value itself, `.`."""
    return "".join(map(_step_text, path)).removeprefix(".") or "."


def _step_text(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if step.isidentifier() else f"[{json.dumps(step, ensure_ascii=False)}]"


def value_text(value: object) -> str:
    """Return a plain value as compact JSON, a text as itself, nothing as `(absent)`."""
    if value is ABSENT:
        return "(absent)"
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))


def excerpts(left: object, right: object, width: int) -> tuple[str, str]:
    """Return both values as texts of at most `width` characters, cut around where they part."""
    one, other = value_text(left), value_text(right)
    if max(len(one), len(other)) <= width:
        return one, other
    parting = common_length(one, other)
    begin = max(0, parting - width // 3)
    return _window(one, begin, width), _window(other, begin, width)


def common_length(left: str, right: str) -> int:
    """Return how many characters two texts have in common at their beginning."""
    return prefix_length(min(len(left), len(right)), lambda n: left[:n] == right[:n])


def prefix_length(most: int, agrees: Callable[[int], bool]) -> int:
    """Return the greatest number up to `most` that agrees, where all lower ones do and 0 does."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if agrees(middle) else (low, middle - 1)
    return low


def _window(text: str, begin: int, width: int) -> str:
    head = "…" if begin else ""
    if len(text) - begin + len(head) <= width:
        return head + text[begin:]
    return f"{head}{text[begin : begin + width - len(head) - 1]}…"
