"""How long to wait before something is tried again."""

from hashlib import blake2b

from turnlog.actors.core.state import State
from turnlog.protocol.calls import ModelFailure
from turnlog.protocol.settings import RetryLimits


def delay_ms(state: State, failure: ModelFailure, retry: int, limits: RetryLimits) -> int:
    """Return the provider's wish, or 200 ms doubled at each retry, jittered by a tenth.

    The jitter is a hash, so that a replay waits as the live session did. What is doubled stops at
    `max_delay_ms`; a wish is honoured at any length.
    """
    if failure.retry_after_ms is not None:
        return max(0, failure.retry_after_ms)
    name = f"{state.session}/{state.facts}/{retry}".encode()
    jitter = int.from_bytes(blake2b(name, digest_size=2).digest()) / 0xFFFF * 0.2 + 0.9
    return int(min(limits.base_delay_ms * 2 ** (retry - 1), limits.max_delay_ms) * jitter)
