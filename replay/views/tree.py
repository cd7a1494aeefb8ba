"""The fork tree of a store: which session branched from which, and where. Reads rows, no folds."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final, Literal

import attrs

from turnlog.actors.ports import EventLog
from turnlog.protocol.errors import LogDamaged, NotFound, session_not_found
from turnlog.protocol.ids import SessionId
from turnlog.protocol.summary import SessionSummary

_FIRST_LOOK: Final = 8  # events before a cut that are looked at for the number of its turn
_READ_AT_ONCE: Final = 1000  # events

LinkKind = Literal["fork", "spawned"]


@attrs.frozen
class ParentLink:
    """How a session came from another one."""

    kind: LinkKind
    parent: SessionId
    event: int  # sequence of the parent's last event that counts; 0 where that is not known


@attrs.frozen
class Node:
    """A session in the tree."""

    summary: SessionSummary
    link: ParentLink | None  # None: it began by itself
    depth: int  # 0 for a root
    orphan: bool  # it has a link, to a session that is not there any more
    is_last: bool  # no sibling comes after it
    events: int  # with those of its ancestors up to the cut
    cut_turn: int  # the turn in which, or after which, it was cut; 0: before the first


def parent_link(summary: SessionSummary) -> ParentLink | None:
    """Return where a session came from. The one place that knows each kind of link."""
    if summary.parent is not None:
        return ParentLink("fork", summary.parent, summary.cut)
    if summary.spawned_by is not None:
        return ParentLink("spawned", summary.spawned_by, 0)
    return None


async def fork_tree(log: EventLog, family_of: SessionId | None = None) -> list[Node]:
    """Return the tree of the store's sessions, each one after its parent.

    Siblings stand in the order of their cuts, then of the time at which they were made; roots
    stand in the order of time. A session whose parent was deleted is a root and an orphan.

    Args:
        family_of: only the tree that this session is in.

    Raises:
        NotFound: there is no session `family_of`.
    """
    summaries = await log.sessions(limit=sys.maxsize)
    if family_of is not None:
        summaries = _family(summaries, family_of)
    ordered = list(_ordered(summaries))
    turns = await _cut_turns(log, [place for placed in ordered if (place := _place(*placed))])
    nodes: list[Node] = []
    for placed in ordered:
        place = _place(*placed)
        cut_turn = turns.get(place, 0) if place else 0
        summary, link, depth, orphan, is_last = placed
        events = await _events(log, summary.session)
        nodes.append(Node(summary, link, depth, orphan, is_last, events, cut_turn))
    return nodes


async def _events(log: EventLog, session: SessionId) -> int:
    try:
        return (await log.head(session)).sequence
    except NotFound:  # deleted since it was listed
        return 0


def _family(summaries: Sequence[SessionSummary], member: SessionId) -> list[SessionSummary]:
    """Return the sessions that have the same oldest ancestor as `member`."""
    by_id = {summary.session: summary for summary in summaries}
    if member not in by_id:
        raise session_not_found(member)
    root, seen = member, {member}
    while (link := parent_link(by_id[root])) and link.parent in by_id and link.parent not in seen:
        root = link.parent
        seen.add(root)
    children = _children(summaries)
    family, unseen = dict.fromkeys([root]), [root]
    while unseen:
        for child in children.get(unseen.pop(), ()):
            if child.session not in family:
                family[child.session] = None
                unseen.append(child.session)
    return [by_id[session] for session in family]


def _children(summaries: Iterable[SessionSummary]) -> dict[SessionId, list[SessionSummary]]:
    """Return the children of each session, in the order in which they are shown."""
    children: dict[SessionId, list[SessionSummary]] = {}
    for summary in summaries:
        if link := parent_link(summary):
            children.setdefault(link.parent, []).append(summary)
    for siblings in children.values():
        siblings.sort(key=_sibling_order)
    return children


def _sibling_order(summary: SessionSummary) -> tuple[int, int, str]:
    link = parent_link(summary)
    return (link.event if link else 0, *_age(summary))


def _age(summary: SessionSummary) -> tuple[int, str]:
    """Order sessions by time. A fork that was never opened has its parent's; ids sort by time."""
    return (summary.created_us, summary.session)


_Placed = tuple[SessionSummary, ParentLink | None, int, bool, bool]


def _ordered(summaries: Sequence[SessionSummary]) -> Iterable[_Placed]:
    """Yield each session with its link, depth, whether it is an orphan, and the last sibling."""
    known = {summary.session for summary in summaries}
    children = _children(summaries)
    links = {summary.session: parent_link(summary) for summary in summaries}
    by_age = sorted(summaries, key=_age)
    roots = [
        one for one in by_age if (link := links[one.session]) is None or link.parent not in known
    ]
    seen: set[SessionId] = set()
    # What no root leads to would be a circle of damaged rows; each is begun somewhere.
    for root in (*roots, *by_age):
        stack = [(root, 0, True)]
        while stack:
            summary, depth, is_last = stack.pop()
            if summary.session in seen:
                continue
            seen.add(summary.session)
            link = links[summary.session]
            orphan = link is not None and depth == 0
            yield summary, link, depth, orphan, is_last
            below = children.get(summary.session, [])
            stack += [(child, depth + 1, child is below[-1]) for child in reversed(below)]


_Place = tuple[SessionId, int]  # a session that has the event, and its sequence


def _place(
    summary: SessionSummary, link: ParentLink | None, _depth: int, orphan: bool, _is_last: bool
) -> _Place | None:
    """Return where the event can be read at which a session was cut."""
    if link is None or link.event < 1:
        return None
    return (summary.session if orphan else link.parent), link.event


async def _cut_turns(log: EventLog, places: Iterable[_Place]) -> Mapping[_Place, int]:
    """Return the turn of each place, with a read for each session."""
    cuts: dict[SessionId, set[int]] = {}
    for session, event in places:
        cuts.setdefault(session, set()).add(event)
    turns: dict[_Place, int] = {}
    for session, events in cuts.items():
        with suppress(LogDamaged, NotFound):  # then it is not known
            for event, turn in (await _turns_at(log, session, sorted(events))).items():
                turns[session, event] = turn
    return turns


async def _turns_at(log: EventLog, session: SessionId, places: Sequence[int]) -> dict[int, int]:
    """Return the last turn that had begun at each place.

    An event between two turns has no turn of its own; then those before it are looked at, ever
    more of them.
    """
    found: dict[int, int] = {}
    for begin in range(0, len(places), _READ_AT_ONCE):
        page = places[begin : begin + _READ_AT_ONCE]
        for recorded in await log.read_at(session, page):
            found[recorded.sequence] = recorded.turn
    for place in places:
        look, before = _FIRST_LOOK, place - 1
        while not found[place] and before > 0:
            after = max(0, before - look)
            events = await log.read(session, after=after, until=before, limit=look)
            found[place] = max((recorded.turn for recorded in events), default=0)
            look, before = min(8 * look, _READ_AT_ONCE), after
    return found
