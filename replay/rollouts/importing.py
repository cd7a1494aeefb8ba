"""Importing a rollout: the sessions that it becomes, and what is to be said about that."""

from collections.abc import Sequence
from typing import Any, Final

import attrs
from msgspec import Struct

from turnlog.protocol.envelope import Record, Recorded
from turnlog.protocol.ids import SessionId, mint
from turnlog.protocol.items import JsonText
from turnlog.protocol.json_values import text_of
from turnlog.protocol.settings import SessionSettings
from turnlog.protocol.summary import SessionSummary
from turnlog.protocol.usage import TokenUsage
from turnlog.replay.rollouts.parents import base_of
from turnlog.replay.rollouts.playing import Player
from turnlog.replay.rollouts.reading import Note, RolloutFile, Skipped
from turnlog.replay.rollouts.terms import session_settings, update_of
from turnlog.replay.rollouts.turns import Conversation, Turn, Window, conversation, started_us

_NAMELESS: Final = SessionId("00000000-0000-7000-8000-000000000000")


class ImportReport(Struct, frozen=True):
    """What became of a rollout's lines."""

    file: str
    session: SessionId
    earlier: tuple[SessionId, ...]  # what was compacted away, one session for each window
    format: str  # paginated or legacy
    forked_from: str | None
    lines: int  # that are not blank, the parents' included
    items: int  # lines that hold an item of the conversation
    turns: int
    events_mapped: int  # lines of other types that became facts
    events_passed: dict[str, int]  # by type: they say nothing that a fact would hold
    facts: int  # of turnlog, as made
    events: int  # of turnlog: facts and decisions
    usage: TokenUsage
    skipped: tuple[Skipped, ...]
    notes: tuple[Note, ...]


@attrs.frozen
class ImportedSession:
    """A session that a rollout became, ready to be stored."""

    session: SessionId
    sealed: Sequence[Record]
    records: Sequence[Recorded]  # the same events, as a reader gets them
    summary: SessionSummary | None
    history: Sequence[JsonText]  # what the model would be sent next


@attrs.frozen
class Import:
    """All that one rollout became. The last session continues where the rollout ends."""

    sessions: Sequence[ImportedSession]
    report: ImportReport

    @property
    def newest(self) -> ImportedSession:
        return self.sessions[-1]


def import_rollout(file: RolloutFile, *, session: SessionId | None = None) -> Import:
    """Return the sessions that a rollout becomes. Pure: equal files become equal sessions.

    A compaction puts a summary in the place of what came before, and the model sees no more than
    that. So each window between two compactions is a session of its own, with just what the
    model saw in it; the last one has the rollout's id.

    Args:
        file: with its parents' lines in front, if it is a fork; see `parents.whole`.
        session: the id of the last session. Default: the rollout's own.
    """
    told = conversation(file)
    own = session or SessionId(file.session or _NAMELESS)
    begun = started_us(told.meta) or (file.lines[0].time_us if file.lines else 0)
    windows = _nonempty(told.windows)
    last = len(windows) - 1
    ids = [
        own if number == last else SessionId(mint(own, begun, 0, "window", number))
        for number in range(len(windows))
    ]
    settings = session_settings(told.meta, _first_context(windows))
    players: list[Player] = []
    for number, window in enumerate(windows):
        player = Player(ids[number], text_of(told.meta.get("originator")) or "codex")
        started = window.turns[0].start_us if number and window.turns else begun
        started = max(started, players[-1].stream.state.time_us if players else 0)
        player.play(window, _with(settings, window), started)
        settings = player.stream.state.settings or settings
        players.append(player)
    sessions = [
        ImportedSession(
            player.session,
            tuple(player.stream.sealed),
            tuple(player.stream.records),
            player.stream.state.summary,
            tuple(player.stream.state.history.texts()),
        )
        for player in players
    ]
    return Import(sessions, _report(file, told, players, ids))


def _nonempty(windows: Sequence[Window]) -> list[Window]:
    """Return the windows in which something happened, and the last one in any case.

    What a compaction left, and no turn continued, is told in a turn of its own.
    """
    found: list[Window] = []
    for window in windows:
        if not window.turns and window.base:
            when = window.base[0].time_us
            window.turns.append(Turn("", when, is_told=False, end="completed", end_us=when))
        if window.turns or window is windows[-1]:
            found.append(window)
    return found


def _first_context(windows: Sequence[Window]) -> dict[str, Any]:
    for window in windows:
        for turn in window.turns:
            if turn.context:
                return turn.context
    return {}


def _with(settings: SessionSettings, window: Window) -> SessionSettings:
    """Return the settings that a window starts with."""
    return update_of(_first_context([window]), settings).apply(settings)


def _report(
    file: RolloutFile, told: Conversation, players: Sequence[Player], ids: Sequence[SessionId]
) -> ImportReport:
    base = base_of(file)
    forked_from = base.parent if base else text_of(told.meta.get("forked_from_id")) or None
    skipped = [*file.skipped, *told.skipped, *(s for player in players for s in player.skipped)]
    notes = [*file.notes, *told.notes, *(n for player in players for n in player.notes)]
    turn_ids = {turn.turn_id for window in told.windows for turn in window.turns if turn.turn_id}
    usage = TokenUsage()
    for player in players:
        usage += player.stream.state.usage
    return ImportReport(
        file=file.name,
        session=ids[-1],
        earlier=tuple(ids[:-1]),
        format="paginated" if file.is_paginated else "legacy",
        forked_from=forked_from,
        lines=file.count,
        items=told.items,
        turns=len(turn_ids),
        events_mapped=told.events,
        events_passed=told.passed,
        facts=sum(player.stream.state.facts for player in players),
        events=sum(player.stream.state.head for player in players),
        usage=usage,
        skipped=tuple(sorted(skipped, key=lambda one: (one.file, one.line))),
        notes=tuple(sorted(notes, key=lambda one: (one.file, one.line))),
    )
