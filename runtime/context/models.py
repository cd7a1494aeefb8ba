"""What is known of models. For others, `model_context_window` says how much they take."""

from typing import Final

from msgspec import Struct


class ModelInfo(Struct, frozen=True):
    """`context_window` is what a conversation may fill, in tokens; None: not known."""

    context_window: int | None = None
    parallel_tool_calls: bool = True


_USABLE_PERCENT: Final = 95  # the rest is kept for what the provider adds


_COMPACT_PERCENT: Final = 90  # as Codex does


def _usable(window: int) -> int:
    return window * _USABLE_PERCENT // 100


UNKNOWN: Final = ModelInfo()
FAMILIES: Final[dict[str, ModelInfo]] = {
    "gpt-4.1": ModelInfo(_usable(1_047_576)),
    "gpt-5": ModelInfo(_usable(272_000)),
    "gpt-5.6": ModelInfo(_usable(272_000), parallel_tool_calls=False),
    "gpt-6": ModelInfo(parallel_tool_calls=False),
    "gpt-oss": ModelInfo(_usable(131_072)),
    "o3": ModelInfo(_usable(200_000)),
    "o4-mini": ModelInfo(_usable(200_000)),
}
"""By the beginning of the name. Source: recorded sessions of gpt-5.5 and gpt-5.1-codex report
258,400 tokens, and requests to gpt-5.6 and gpt-6 turn parallel calls off; the others are as
published."""


def model_info(model: str) -> ModelInfo:
    """Return what is known of `model`: the longest family that its name begins with.

    A name such as `vendor/gpt-5.5` counts without its vendor; a family ends at a `.` or `-`, so
    `gpt-50` is none of `gpt-5`.
    """
    name = model.rpartition("/")[2]
    fitting = [family for family in FAMILIES if _belongs(name, family)]
    return FAMILIES[max(fitting, key=len)] if fitting else UNKNOWN


def _belongs(name: str, family: str) -> bool:
    return name == family or name.startswith((f"{family}.", f"{family}-"))


def compaction_limit(window: int | None, wanted: int | None) -> int | None:
    """Return at how many tokens a conversation is compacted: as wanted, or 90 % of the window.

    It is never more than that, so that there is room for the summary.
    """
    most = None if window is None else window * _COMPACT_PERCENT // 100
    return min((limit for limit in (most, wanted) if limit is not None), default=None)
