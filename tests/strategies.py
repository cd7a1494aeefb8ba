"""Hypothesis strategies: any op, any event, and whole sessions in a random world.

Values are drawn from the declared types, so a field or a kind that is added later is drawn too.
A session is drawn as bytes that a world reads as its dice: fast to draw, and a failing session
shrinks to a shorter and tamer one, since a 0 is the tamest throw everywhere.
"""

from collections.abc import Callable
from functools import cache
from types import GenericAlias, UnionType
from typing import Any, Literal, NewType, Union, cast, get_args, get_origin, get_type_hints

from hypothesis import strategies as st
from msgspec import UNSET, Struct, UnsetType

from tests.core.play import Play
from tests.core.world import World
from turnlog.protocol.events import SessionEvent, SessionFact
from turnlog.protocol.items import ResponseItem, encode_item
from turnlog.protocol.ops import Op
from turnlog.protocol.settings import SessionSettings, TurnSettings

TEXTS = st.text(max_size=20)
_JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)


@cache
def values(hint: Any) -> st.SearchStrategy[Any]:  # noqa: ANN401
    """Draw a value of a type that messages are made of."""
    simple: dict[Any, st.SearchStrategy[Any]] = {
        type(None): st.none(),
        bool: st.booleans(),
        int: st.integers(-(2**63), 2**63 - 1),
        float: st.floats(allow_nan=False, allow_infinity=False),
        str: TEXTS,
        bytes: st.binary(max_size=20),
        UnsetType: st.just(UNSET),
        Any: _JSON_VALUES,
    }
    if hint in simple:
        return simple[hint]
    if isinstance(hint, NewType):
        return values(hint.__supertype__)
    if isinstance(hint, type) and not isinstance(hint, GenericAlias) and issubclass(hint, Struct):
        return structs(hint)
    return _compound(hint)


def _compound(hint: Any) -> st.SearchStrategy[Any]:  # noqa: ANN401
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in (Union, UnionType):
        return st.one_of([values(argument) for argument in arguments])
    if origin is tuple:
        return st.lists(values(arguments[0]), max_size=3).map(tuple)
    if origin is list:
        return st.lists(values(arguments[0]), max_size=3)
    assert origin is dict, f"how is {hint} drawn?"
    return st.dictionaries(values(arguments[0]), values(arguments[1]), max_size=3)


@cache
def structs(kind: type[Struct]) -> st.SearchStrategy[Any]:
    """Draw a Struct with each of its fields drawn."""
    fields = {
        name: item_texts() if name.endswith("_json") else values(hint)
        for name, hint in get_type_hints(kind).items()
        if name in kind.__struct_fields__
    }
    return st.builds(kind, **fields)


def ops() -> st.SearchStrategy[Op]:
    return cast(st.SearchStrategy[Op], values(Op))


def session_settings() -> st.SearchStrategy[SessionSettings]:
    return cast(st.SearchStrategy[SessionSettings], structs(SessionSettings))


def turn_settings() -> st.SearchStrategy[TurnSettings]:
    return cast(st.SearchStrategy[TurnSettings], structs(TurnSettings))


def items() -> st.SearchStrategy[ResponseItem]:
    return cast(st.SearchStrategy[ResponseItem], values(ResponseItem))


@cache
def item_texts() -> st.SearchStrategy[str]:
    """Draw what may stand in a field that ends in _json: mostly items, and what is none."""
    broken = st.sampled_from(["", "{", "[]", '{"type":"message"}', '{"type":"x","y":"\\ud800"}'])
    return st.one_of(st.deferred(items).map(encode_item), broken)


def facts() -> st.SearchStrategy[SessionFact]:
    return cast(st.SearchStrategy[SessionFact], values(SessionFact))


def events() -> st.SearchStrategy[SessionEvent]:
    """Draw any event, with effects named as a session might have named them."""
    return cast(st.SearchStrategy[SessionEvent], values(SessionEvent))


def sessions(
    *, most_facts: int = 40, when: Callable[[Play], bool] = lambda play: True
) -> st.SearchStrategy[Play]:
    """Draw a session that lived through up to `most_facts` facts of a random world."""

    def live(dice: bytes) -> Play:
        world = World(dice)
        world.live(dice[0] % (most_facts + 1))
        return world.play

    return st.binary(min_size=120, max_size=360).map(live).filter(when)
