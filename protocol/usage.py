"""What a model call costs, and how much of an allowance is left."""

from typing import Final

from msgspec import Struct

MOST_TOKENS: Final = 2**53 - 1  # no count is larger, nor negative: every reader of JSON holds it


class TokenUsage(Struct, frozen=True, gc=False):
    """Token counts of one response, or their sum over a session."""

    input_tokens: int = 0  # all input, cached or not
    cached_input_tokens: int = 0
    cache_write_input_tokens: int = 0
    output_tokens: int = 0  # all output, reasoning included
    reasoning_output_tokens: int = 0

    def __add__(self, other: "TokenUsage") -> "TokenUsage":
        return TokenUsage(
            tokens(self.input_tokens + other.input_tokens),
            tokens(self.cached_input_tokens + other.cached_input_tokens),
            tokens(self.cache_write_input_tokens + other.cache_write_input_tokens),
            tokens(self.output_tokens + other.output_tokens),
            tokens(self.reasoning_output_tokens + other.reasoning_output_tokens),
        )

    @property
    def total_tokens(self) -> int:
        """What the response took of the context window."""
        return tokens(self.input_tokens + self.output_tokens)


def tokens(count: int) -> int:
    """Return a count of tokens as one that can be added up for ever."""
    return max(0, min(count, MOST_TOKENS))


class RateLimitWindow(Struct, frozen=True):
    """One allowance, as the provider's response headers report it."""

    used_percent: float
    window_minutes: int | None = None
    resets_at: int | None = None  # Unix time, seconds


class RateLimits(Struct, frozen=True):
    """The newest snapshot of a provider's allowances."""

    primary: RateLimitWindow | None = None
    secondary: RateLimitWindow | None = None
