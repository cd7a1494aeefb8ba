"""Show each key of a configuration, with its value and where that comes from."""

from collections.abc import Iterator
from typing import NamedTuple

from turnlog.protocol.json_values import is_object
from turnlog.runtime.config.layers import DEFAULT, KeyPath, Origin, Table, dotted
from turnlog.runtime.config.schema import MASK, Config, is_secret, key_names


class Setting(NamedTuple):
    """A key, its value, and where the value comes from."""

    path: KeyPath
    value: object  # a secret is masked
    origin: Origin

    @property
    def key(self) -> str:
        """The key as TOML writes it, dotted."""
        return dotted(self.path)


def explain(config: Config) -> list[Setting]:
    """Return the keys that have a value, in the order of the schema; tables key by key."""
    return [
        Setting(
            path,
            MASK if is_secret(path) else value,
            config.origins.get(path, DEFAULT),
        )
        for path, value in _leaves(config, ())
    ]


def _leaves(value: object, path: KeyPath) -> Iterator[tuple[KeyPath, object]]:
    """Yield the values that are not tables. What is not set is left out."""
    table = _table(value)
    if table is None:
        if value is not None:
            yield path, value
        return
    for key, inner in table.items():
        yield from _leaves(inner, (*path, key))


def _table(value: object) -> Table | None:
    if is_object(value):
        return value
    if names := key_names(type(value)):
        return {name: getattr(value, name) for name in names}
    return None
