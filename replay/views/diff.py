"""Comparing two sessions: where they part, and how the later events differ.

Equal beginnings have equal chained digests, so the first difference is found by bisection. What
comes after it is aligned by what the events say, ids and times apart. Only keys are kept of the
events, so sessions of any length can be compared.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Final, Literal, Protocol

import attrs
import trio

from turnlog.actors.ports import EventLog
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.ids import SessionId
from turnlog.replay.views.alignment import Run, align
from turnlog.replay.views.contents import content_differences, content_key
from turnlog.replay.views.structure import Difference

_PAGE: Final = 5000  # events
_SHOWN_AT_ONCE: Final = 100  # events that are read again to be shown

Relation = Literal["equal", "alike", "beginning", "parted", "unrelated"]


class Source(Protocol):
    """The events of one session."""

    @property
    def name(self) -> str:
        """What people call it: an id or a file."""
        ...

    @property
    def events(self) -> int:
        """How many there are. What is written meanwhile is not looked at."""
        ...

    async def at(self, sequences: Sequence[int]) -> list[Recorded]:
        """Return the events with these sequences."""
        ...

    async def page(self, after: int) -> list[Recorded]:
        """Return some events after `after`, in order; none at the end."""
        ...


@attrs.frozen
class StoredSession:
    """A session of a store, as long as it was when this was made."""

    log: EventLog
    session: SessionId
    events: int

    @classmethod
    async def open(cls, log: EventLog, session: SessionId) -> "StoredSession":
        return cls(log, session, (await log.head(session)).sequence)

    @property
    def name(self) -> str:
        return self.session

    async def at(self, sequences: Sequence[int]) -> list[Recorded]:
        return await self.log.read_at(self.session, sequences)

    async def page(self, after: int) -> list[Recorded]:
        return await self.log.read(self.session, after=after, until=self.events, limit=_PAGE)


@attrs.frozen
class LoadedSession:
    """A session that is in memory: from a file, say."""

    name: str
    records: Sequence[Recorded] = attrs.field(repr=False)

    @property
    def events(self) -> int:
        return len(self.records)

    async def at(self, sequences: Sequence[int]) -> list[Recorded]:
        return [self.records[sequence - 1] for sequence in sequences]

    async def page(self, after: int) -> list[Recorded]:
        await trio.lowlevel.checkpoint()
        return list(self.records[after : after + _PAGE])


@attrs.frozen
class Pair:
    """One place of the aligned timelines: an event that was changed, removed or added."""

    change: Literal["changed", "removed", "added"]
    left: Recorded | None  # None: it was added
    right: Recorded | None  # None: it was removed
    differences: Sequence[Difference] = ()  # of what was changed


@attrs.frozen
class Alike:
    """A run of events that say the same on both sides, by sequences, both ends included."""

    left: tuple[int, int]
    right: tuple[int, int]

    @property
    def events(self) -> int:
        return self.left[1] - self.left[0] + 1


@attrs.frozen
class SessionDiff:
    """How two sessions differ."""

    left: Source
    right: Source
    common: int  # events of the beginning that are the same, byte by byte
    runs: Sequence[Run]  # of the events after it; index 0 is event `common` + 1

    @property
    def first_difference(self) -> int | None:
        """Return the sequence at which they part; None if they are equal."""
        return None if self.relation == "equal" else self.common + 1

    @property
    def relation(self) -> Relation:
        """Say how they relate.

        `equal`: the same events; `alike`: they say the same, under other ids or at other times;
        `beginning`: one is the beginning of the other; `unrelated`: they have nothing in common;
        `parted`: they have something in common, and differ.
        """
        if self.common == self.left.events == self.right.events:
            return "equal"
        if all(run.change == "same" for run in self.runs):
            return "alike"
        if self.common and self.common in (self.left.events, self.right.events):
            return "beginning"
        if not self.common and not any(run.change == "same" for run in self.runs):
            return "unrelated"
        return "parted"

    @property
    def is_different(self) -> bool:
        return self.relation not in ("equal", "alike")

    def count(self, change: str) -> int:
        """Return how many events after the common beginning were changed, added, and so on."""
        return sum(
            max(run.left_end - run.left, run.right_end - run.right)
            for run in self.runs
            if run.change == change
        )

    async def timeline(self) -> AsyncIterator[Alike | Pair]:
        """Yield what follows the common beginning, side by side. Reads what it shows."""
        for run in self.runs:
            if run.change == "same":
                yield Alike(
                    (self.common + run.left + 1, self.common + run.left_end),
                    (self.common + run.right + 1, self.common + run.right_end),
                )
                continue
            for at in range(
                0, max(run.left_end - run.left, run.right_end - run.right), _SHOWN_AT_ONCE
            ):
                for pair in await self._pairs(run, at):
                    yield pair

    async def _pairs(self, run: Run, at: int) -> list[Pair]:
        """Return some pairs of a run, the first of them at an offset into it."""

        def sequences(begin: int, end: int) -> Sequence[int]:
            first, last = self.common + begin + at + 1, self.common + end
            return range(first, min(last, first + _SHOWN_AT_ONCE - 1) + 1)

        lefts, rights = sequences(run.left, run.left_end), sequences(run.right, run.right_end)
        left = await self.left.at(lefts) if lefts else []
        right = await self.right.at(rights) if rights else []
        if run.change == "removed":
            return [Pair("removed", one, None) for one in left]
        if run.change == "added":
            return [Pair("added", None, other) for other in right]
        return [
            Pair("changed", one, other, content_differences(one.event, other.event))
            for one, other in zip(left, right, strict=True)
        ]


async def compare(left: Source, right: Source) -> SessionDiff:
    """Compare two sessions.

    Raises:
        LogDamaged: an event that had to be read cannot be.
    """
    common = await common_beginning(left, right)
    if common == left.events == right.events:
        return SessionDiff(left, right, common, ())
    left_keys, left_kinds = await _keys(left, common)
    right_keys, right_kinds = await _keys(right, common)
    runs = await trio.to_thread.run_sync(align, left_keys, right_keys, left_kinds, right_kinds)
    return SessionDiff(left, right, common, runs)


async def common_beginning(left: Source, right: Source) -> int:
    """Return how many events two sessions begin with in common. Reads O(log n) events."""
    low, high = 0, min(left.events, right.events)
    probe = high  # one is often the beginning of the other
    while low < high:
        [one], [other] = await left.at([probe]), await right.at([probe])
        low, high = (probe, high) if one.digest == other.digest else (low, probe - 1)
        probe = (low + high + 1) // 2
    return low


async def _keys(source: Source, after: int) -> tuple[list[bytes], list[str]]:
    keys, kinds = list[bytes](), list[str]()
    while page := await source.page(after):
        keys += (content_key(recorded.event) for recorded in page)
        kinds += (recorded.kind for recorded in page)
        after = page[-1].sequence
    return keys, kinds
