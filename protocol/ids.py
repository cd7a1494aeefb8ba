"""Identities. A drawn id is a fact; a minted id is computed from the facts before it.

Ids that outsiders see are UUIDv7 texts (RFC 9562), so they sort by time. An effect is named
within its session only, by the number of the fact that caused it: `17.tool.0`.
"""

from hashlib import blake2b
from typing import Final, NewType
from uuid import UUID

SessionId = NewType("SessionId", str)
TurnId = NewType("TurnId", str)
EffectId = NewType("EffectId", str)

_VERSION_7: Final = 0x7 << 76
_VARIANT: Final = 0x2 << 62


def mint(session: SessionId, time_us: int, fact: int, kind: str, ordinal: int) -> str:
    """Return the UUIDv7 that `fact`'s step gives to its `ordinal`-th new thing of `kind`.

    Args:
        time_us: Unix time of the fact; its milliseconds become the id's.
        fact: number of the fact in its session (facts counted alone, from 1), so that a
            decision added by a later release does not change the ids after it.
    """
    name = f"{session}/{fact}/{kind}/{ordinal}".encode()
    noise = int.from_bytes(blake2b(name, digest_size=10).digest())
    high = (noise >> 62 & 0xFFF) << 64
    low = noise & (1 << 62) - 1
    return str(
        UUID(int=(time_us // 1000 & (1 << 48) - 1) << 80 | _VERSION_7 | high | _VARIANT | low)
    )


def effect_id(fact: int, kind: str, ordinal: int = 0) -> EffectId:
    """Return the name of the `ordinal`-th effect of `kind` that the `fact`-th fact caused."""
    return EffectId(f"{fact}.{kind}.{ordinal}")


def effect_kind(effect: EffectId) -> str:
    """Return the kind that an effect's name carries, such as `tool`."""
    return effect.split(".")[1] if effect.count(".") == 2 else ""
