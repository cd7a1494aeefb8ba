"""A session's snapshots: used when it is opened, taken while it is idle between turns.

None of it is needed for correctness, and no turn waits for it.
"""

from contextlib import suppress
from typing import Final

import attrs

from turnlog.actors.core.snapshot import Restoration, snapshot
from turnlog.actors.core.state import State
from turnlog.actors.ports import EventLog, StoredSnapshot
from turnlog.actors.stored_state.pages import READ_AT_ONCE
from turnlog.protocol.errors import StoreError, TurnlogError
from turnlog.protocol.ids import SessionId

SNAPSHOT_EVERY: Final = 1000  # events, while a session runs
SNAPSHOT_AT_CLOSE: Final = 200  # events that are worth a snapshot when it is closed
_TRIES: Final = 3  # snapshots that are looked at: one may be damaged, or of another release


@attrs.define(eq=False)
class SnapshotKeeper:
    """Uses and takes the snapshots of one session."""

    log: EventLog
    session: SessionId
    _last: int = attrs.field(default=0, init=False)  # sequence of the newest; 0: none

    async def restore(self, *, until: int) -> State:
        """Return the state of the newest snapshot up to `until`, from which the fold continues.

        Without one that fits, it is the state of no events.
        """
        self._last = 0
        for _ in range(_TRIES):
            stored = await self._stored(until)
            if stored is None:
                break
            with suppress(TurnlogError):  # the fold of the whole log says what is wrong with it
                if (state := await self._restored(stored)) is not None:
                    self._last = state.head
                    return state
            until = stored.sequence - 1
        return State()

    async def _stored(self, until: int) -> StoredSnapshot | None:
        with suppress(TurnlogError):
            return await self.log.snapshot(self.session, until=until)
        return None

    async def _restored(self, stored: StoredSnapshot) -> State | None:
        restoration = Restoration.begin(stored.data)
        if restoration is None:
            return None
        sequences = restoration.sequences()
        for begin in range(0, len(sequences), READ_AT_ONCE):
            page = sequences[begin : begin + READ_AT_ONCE]
            restoration.take(await self.log.read_at(self.session, page))
        state = restoration.finish()
        # One that was stored under another event than its own would continue from a wrong place.
        return state if state is not None and state.head == stored.sequence else None

    def is_due(self, state: State, *, closing: bool = False) -> bool:
        """Say whether `state` is idle, and far enough after the last snapshot."""
        least = SNAPSHOT_AT_CLOSE if closing else SNAPSHOT_EVERY
        return state.turn is None and state.head - self._last >= least

    def take(self, state: State, *, fence: int, closing: bool = False) -> None:
        """Store a snapshot of `state`, if it is due. Never waits."""
        if self.is_due(state, closing=closing) and (data := snapshot(state)) is not None:
            new = StoredSnapshot(state.head, state.digest, data)
            with suppress(StoreError):
                self.log.save_snapshot(self.session, new, fence=fence)
            self._last = state.head
