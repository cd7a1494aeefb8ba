"""The fold of configuration layers: its laws."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnlog.protocol.json_values import is_object
from turnlog.runtime.config.layers import (
    DEFAULT,
    KeyPath,
    Layer,
    Origin,
    Table,
    dotted,
    merge,
)

KEYS = st.sampled_from("abc")
VALUES = st.recursive(
    st.one_of(st.integers(0, 9), st.lists(st.integers(0, 9), max_size=2)),
    lambda inner: st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
TABLES = st.dictionaries(KEYS, VALUES, max_size=3)


def layers_of(tables: list[Table]) -> list[Layer]:
    return [Layer(Origin("user", f"file {n}"), table) for n, table in enumerate(tables)]


def at(table: Table, path: KeyPath) -> Any:  # noqa: ANN401 - a TOML value
    value: Any = table
    for part in path:
        value = value[part]
    return value


def paths(table: Table, above: KeyPath = ()) -> list[KeyPath]:
    found: list[KeyPath] = []
    for key, value in table.items():
        found.append((*above, key))
        if is_object(value):
            found += paths(value, (*above, key))
    return found


@given(TABLES)
def test_one_layer_is_itself(table: Table) -> None:
    merged = merge(layers_of([table]))
    assert merged.values == table
    assert set(merged.origins) == set(paths(table))


@given(st.lists(TABLES, max_size=4))
def test_layers_are_not_changed(tables: list[Table]) -> None:
    before = copy.deepcopy(tables)
    merged = merge(layers_of(tables))
    for path in paths(merged.values):
        if is_object(found := at(merged.values, path)):
            found["changed"] = True
    assert tables == before


@given(TABLES, TABLES, TABLES)
def test_folding_is_associative(a: Table, b: Table, c: Table) -> None:
    first = merge(layers_of([a, b])).values
    assert merge(layers_of([first, c])).values == merge(layers_of([a, b, c])).values


@given(st.lists(TABLES, min_size=1, max_size=4))
def test_the_strongest_layer_always_counts(tables: list[Table]) -> None:
    layers = layers_of(tables)
    merged = merge(layers)
    for path in paths(tables[-1]):
        value = at(tables[-1], path)
        assert is_object(value) or at(merged.values, path) == value
        assert merged.origins[path] == layers[-1].origin


@given(st.lists(TABLES, max_size=4))
def test_every_key_is_where_its_origin_says(tables: list[Table]) -> None:
    layers = layers_of(tables)
    by_origin = {layer.origin: layer for layer in layers}
    merged = merge(layers)
    assert set(merged.origins) == set(paths(merged.values))
    for path, origin in merged.origins.items():
        value, said = at(merged.values, path), at(by_origin[origin].values, path)
        assert is_object(said) if is_object(value) else said == value


def test_the_origin_of_a_key_that_nobody_set_is_its_tables() -> None:
    [layer] = layers_of([{"a": {"b": 1}}])
    merged = merge([layer])
    assert merged.origin(("a", "missing")) == layer.origin
    assert merged.origin(("other",)) == DEFAULT


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("model",), "model"),
        (("projects", "/a.b"), 'projects."/a.b"'),
        (("a", 'say "hi"\\'), r'a."say \"hi\"\\"'),
        (("a", "line\nbreak", ""), 'a."line\\U0000000Abreak".""'),
    ],
)
def test_a_key_is_written_as_toml_writes_it(path: KeyPath, text: str) -> None:
    assert dotted(path) == text
