"""Draws JSON values that fit a tool's schema: the part of JSON Schema that tools are written in."""

from typing import Any, Final

from hypothesis import strategies as st

MOST_ITEMS: Final = 3  # of a list or a map without a bound of its own
TEXTS: Final = st.text(max_size=12)
_ANY: Final[st.SearchStrategy[Any]] = st.recursive(
    st.none() | st.booleans() | st.integers(-100, 100) | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)


def values_of(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return a strategy of values that `schema` allows.

    Reads `type` (a name or several), `enum`, `const`, `anyOf`, `oneOf`, `properties`, `required`,
    `items`, and the bounds of numbers, texts and lists. What else a schema asks (`pattern`,
    references) is not seen: give the tool a strategy of your own where that matters.
    """
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    for name in ("anyOf", "oneOf"):
        if name in schema:
            return st.one_of([values_of(choice) for choice in schema[name]])
    kind = schema.get("type", "object" if "properties" in schema else None)
    if isinstance(kind, list):
        return st.one_of([values_of({**schema, "type": name}) for name in schema["type"]])
    match kind:
        case "object":
            return _objects(schema)
        case "array":
            return st.lists(
                values_of(schema.get("items", {})),
                min_size=schema.get("minItems", 0),
                max_size=schema.get("maxItems", schema.get("minItems", 0) + MOST_ITEMS),
            )
        case "string":
            shortest = schema.get("minLength", 0)
            return st.text(min_size=shortest, max_size=schema.get("maxLength", shortest + 12))
        case "integer":
            return _integers(schema)
        case "number":
            low, high = schema.get("minimum"), schema.get("maximum")
            return st.floats(low, high, allow_nan=False, allow_infinity=False)
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case _:
            return _ANY


def _objects(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    properties: dict[str, Any] = schema.get("properties", {})
    required = set(schema.get("required", ()))
    return st.fixed_dictionaries(
        {name: values_of(inner) for name, inner in properties.items() if name in required},
        optional={
            name: values_of(inner) for name, inner in properties.items() if name not in required
        },
    )


def _integers(schema: dict[str, Any]) -> st.SearchStrategy[int]:
    low, high = schema.get("minimum"), schema.get("maximum")
    if "exclusiveMinimum" in schema:
        low = schema["exclusiveMinimum"] + 1
    if "exclusiveMaximum" in schema:
        high = schema["exclusiveMaximum"] - 1
    if low is None and high is None:
        return st.integers(-1000, 1000)
    return st.integers(low, high)
