"""What a branch is to be: its inputs, and which of its ports are recorded."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import attrs

from turnlog.replay.rerun.recorded_order import Key
from turnlog.replay.rerun.tolerances import Tolerances

Source = Literal["recorded", "live"]


@attrs.frozen(kw_only=True)
class Plan:
    """What a branch is made of.

    Args:
        at: the last event that counts; None: the one before the first input.
        keep: whether the branch stays in the store.
        text: a prompt that replaces the first input.
        changes: fields of `SessionSettings` that hold in every turn of the branch.
        one_by_one: whether each input is a turn of its own, and the recorded order is left out.
        warn: is given each text for the user.
    """

    at: int | None
    model: Source
    tools: Source
    keep: bool
    tolerances: Tolerances
    text: str | None = None
    changes: Mapping[str, Any] = attrs.field(factory=dict[str, Any])
    one_by_one: bool = False
    warn: Callable[[str], None] | None = None

    @property
    def is_recorded(self) -> bool:
        """Whether all ports are recorded, so that nothing is reached."""
        return self.model == "recorded" and self.tools == "recorded"

    @property
    def is_live(self) -> bool:
        """Whether no port is recorded."""
        return self.model == "live" and self.tools == "live"

    @property
    def ordered_ports(self) -> tuple[str, ...]:
        """The ports that say when they begin (see `RecordedOrder`). None does for a live model."""
        if self.model == "live":
            return ()
        ports = ("model", "context", "child", "steer")
        return (*ports, "tool") if self.tools == "recorded" else ports

    def keeps(self, key: Key) -> bool:
        """Whether a branch is going to have what `key` names; with a live model it may not."""
        if self.model == "recorded" or key.what == "over":
            return True
        return key.what == "asked" and key.effect is not None and key.effect.port == "model"
