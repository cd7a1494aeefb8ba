"""What a list of sessions shows of each. A fold of the session's events, stored with them."""

from typing import Literal

from msgspec import Struct

from turnlog.protocol.ids import SessionId


class SessionSummary(Struct, frozen=True):
    """One row of `turnlog sessions`."""

    session: SessionId
    created_us: int = 0
    updated_us: int = 0  # time of the last turn's start
    title: str = ""  # begin of the first prompt, at most 120 characters
    cwd: str = ""
    model: str = ""
    turns: int = 0
    status: Literal["idle", "running"] = "idle"  # running: a turn is open, or was cut off
    originator: str = ""
    parent: SessionId | None = None
    cut: int = 0  # sequence of the parent's last event that counts
    spawned_by: SessionId | None = None  # the session whose sub-agent or review this is
    name: str = ""  # the user's own
    archived: bool = False
    # Set by the store: its place in the list, if it began after the clock was set back.
    recency: int = 0
    ended: Literal["", "completed", "interrupted", "failed"] = ""  # how the last turn ended

    @property
    def place(self) -> int:
        """Orders sessions by their last turn: a later one has a larger number."""
        return self.recency or self.updated_us
