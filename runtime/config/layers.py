"""Layers of configuration, folded into one, with the origin of each key kept. Pure.

Tables are merged key by key; every other value, lists too, is replaced as a whole.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from turnlog.protocol.json_values import is_object

LayerName = Literal[
    "default", "system", "user", "profile", "project", "environment", "command line"
]
KeyPath = tuple[str, ...]
TomlValue: TypeAlias = Any  # as tomllib returns it
Table = dict[str, TomlValue]


class Origin(Struct, frozen=True):
    """Who set a key: the layer, and where in it (a file, a variable, an option)."""

    layer: LayerName
    where: str

    def __str__(self) -> str:
        return self.where if self.where == self.layer else f"{self.where} ({self.layer})"


DEFAULT = Origin("default", "default")


class Layer(Struct, frozen=True):
    """The values of one source."""

    origin: Origin
    values: Table


class Merged(Struct, frozen=True):
    """The outcome of a fold. `origins` has the last origin of each key and each table."""

    values: Table
    origins: Mapping[KeyPath, Origin]

    def origin(self, path: KeyPath) -> Origin:
        """Return who set `path`, or the nearest table around it."""
        while path and path not in self.origins:
            path = path[:-1]
        return self.origins.get(path, DEFAULT)


def merge(layers: Iterable[Layer]) -> Merged:
    """Fold `layers`, the strongest last. The layers are not changed."""
    values: Table = {}
    origins: dict[KeyPath, Origin] = {}
    for layer in layers:
        _lay(layer.values, layer.origin, values, origins, ())
    return Merged(values, origins)


def _lay(
    above: Table, origin: Origin, values: Table, origins: dict[KeyPath, Origin], at: KeyPath
) -> None:
    for key, value in above.items():
        path = (*at, key)
        below = values.get(key)
        if is_object(below) and not is_object(value):
            for inner in [known for known in origins if known[: len(path)] == path]:
                del origins[inner]
        origins[path] = origin
        if is_object(value):
            if not is_object(below):
                values[key] = below = {}
            _lay(value, origin, below, origins, path)
        else:
            values[key] = value


def dotted(path: KeyPath) -> str:
    """Return a key as TOML writes it: bare parts as they are, the others quoted."""
    return ".".join(
        part if part.replace("-", "").replace("_", "").isalnum() and part.isascii() else quote(part)
        for part in path
    )


def quote(part: str) -> str:
    """Return a text as TOML writes it."""
    escaped = part.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08X}" for c in escaped) + '"'


def suggestion(wrong: str, known: Iterable[str]) -> str:
    """Return ` Did you mean ...?`, or nothing if nothing known is near."""
    import difflib  # 3 ms that only an error costs

    near = difflib.get_close_matches(wrong, list(known), n=1)
    return f" Did you mean {quote(near[0])}?" if near else ""
