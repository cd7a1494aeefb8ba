"""Minted ids: computed from the facts, and UUIDv7 texts all the same."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from turnlog.protocol.ids import SessionId, effect_id, mint

TIMES = st.integers(0, (1 << 48) * 1000 - 1)
SESSION = SessionId("a session")


@given(TIMES, st.integers(1, 10**6), st.integers(0, 99))
def test_a_minted_id_is_a_uuid_of_version_7(time_us: int, fact: int, ordinal: int) -> None:
    minted = UUID(mint(SESSION, time_us, fact, "turn", ordinal))
    assert (minted.version, minted.variant) == (7, "specified in RFC 4122")
    assert minted.int >> 80 == time_us // 1000


@given(TIMES, TIMES)
def test_ids_sort_by_their_milliseconds(one: int, other: int) -> None:
    if one // 1000 < other // 1000:
        assert mint(SESSION, one, 9, "turn", 0) < mint(SESSION, other, 1, "turn", 0)


def test_equal_causes_mint_equal_ids_and_every_difference_another() -> None:
    ids = [
        mint(SessionId(session), 5_000, fact, kind, ordinal)
        for session in ("a", "b")
        for fact in (1, 2)
        for kind in ("turn", "question")
        for ordinal in (0, 1)
    ]
    assert len(set(ids)) == len(ids)
    assert mint(SessionId("a"), 5_000, 1, "turn", 0) == ids[0]


def test_effects_are_named_by_their_fact() -> None:
    assert effect_id(17, "tool") == "17.tool.0"
    assert effect_id(17, "tool", 2) == "17.tool.2"
