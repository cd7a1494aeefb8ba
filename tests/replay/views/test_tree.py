"""The tree of a store agrees with the families that were made."""

import attrs
from hypothesis import given
from hypothesis import strategies as st

from tests.core.play import Play
from tests.errors import raises_code
from tests.replay.views.kit import branch, keep, session_id
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.ids import SessionId
from turnlog.protocol.summary import SessionSummary
from turnlog.replay.views.tree import Node, ParentLink, fork_tree, parent_link
from turnlog.runtime.store.memory.log import MemoryLog

EVENTS = 6


def two_turns() -> Play:
    play = Play.started()
    for text in ("one", "two"):
        play.ask(text)
        play.complete()
    return play


PLAY = two_turns()


@attrs.frozen
class Made:
    """A session that was made: a fork of an earlier one, or a root."""

    session: SessionId
    parent: int | None
    cut: int


@st.composite
def families(draw: st.DrawFn) -> list[Made]:
    made: list[Made] = []
    for number in range(draw(st.integers(1, 8))):
        parent = draw(st.none() | st.integers(0, number - 1)) if number else None
        cut = draw(st.integers(1, EVENTS)) if parent is not None else 0
        made.append(Made(session_id(number), parent, cut))
    return made


async def make(log: MemoryLog, family: list[Made]) -> None:
    for made in family:
        if made.parent is None:
            await keep(log, made.session, PLAY.cut(EVENTS))
        else:
            await branch(log, family[made.parent].session, made.cut, made.session, PLAY.cut(EVENTS))


def expected(family: list[Made], number: int, depth: int = 0) -> list[tuple[SessionId, int]]:
    """Return the sessions from this one down, with their depths, by walking as one would."""
    below = [child for child, made in enumerate(family) if made.parent == number]
    below.sort(key=lambda child: (family[child].cut, child))
    rows = [(family[number].session, depth)]
    for child in below:
        rows += expected(family, child, depth + 1)
    return rows


def rows(nodes: list[Node]) -> list[tuple[SessionId, int]]:
    return [(node.summary.session, node.depth) for node in nodes]


def root_of(family: list[Made], number: int) -> int:
    while (parent := family[number].parent) is not None:
        number = parent
    return number


@given(families(), st.data())
async def test_a_tree_is_the_families_that_were_made(
    family: list[Made], data: st.DataObject
) -> None:
    log = MemoryLog()
    await make(log, family)
    nodes = await fork_tree(log)
    roots = [number for number, made in enumerate(family) if made.parent is None]
    assert rows(nodes) == [row for root in roots for row in expected(family, root)]
    by_id = {made.session: made for made in family}
    for node in nodes:
        made = by_id[node.summary.session]
        assert node.events == EVENTS
        assert (node.link.event if node.link else 0) == made.cut
        assert not node.orphan
    member = data.draw(st.integers(0, len(family) - 1))
    part = await fork_tree(log, family[member].session)
    assert rows(part) == expected(family, root_of(family, member))


async def test_a_cut_between_two_turns_is_said_to_be_after_the_first() -> None:
    log = MemoryLog()
    ends = [record.sequence for record in PLAY.records if record.kind == "turn_ended"]
    assert PLAY.records[ends[0]].turn == 0  # the prompt of the next turn is outside of it
    root = await keep(log, session_id(0), PLAY)
    cuts = [1, ends[0], ends[0] + 1, ends[1]]
    for number, cut in enumerate(cuts, 1):
        await log.fork(root, cut, session_id(number))
    nodes = await fork_tree(log)
    assert [(node.link.event, node.cut_turn) for node in nodes if node.link] == list(
        zip(cuts, [0, 1, 1, 2], strict=True)
    )
    assert [node.is_last for node in nodes] == [True, False, False, False, True]


async def test_a_fork_of_a_session_that_is_gone_is_a_root_and_says_so() -> None:
    log = MemoryLog()
    root = await keep(log, session_id(0), PLAY)
    child = await branch(log, root, 9, session_id(1), PLAY)
    grandchild = await branch(log, child, 10, session_id(2), PLAY)
    await log.delete(root)
    nodes = await fork_tree(log)
    assert [(n.summary.session, n.depth, n.orphan, n.cut_turn) for n in nodes] == [
        (child, 0, True, 1),
        (grandchild, 1, False, 1),
    ]
    assert nodes[0].link == ParentLink("fork", root, 9)
    with raises_code(ErrorCode.SESSION_NOT_FOUND):
        await fork_tree(log, root)


async def test_rows_that_name_each_other_as_parents_are_shown_once_each() -> None:
    log = MemoryLog()
    one, other = session_id(1), session_id(2)
    for session, parent in ((one, other), (other, one)):
        await keep(log, session, Play.started())
        log.store.sessions[session].summary = SessionSummary(session, parent=parent, cut=0)
    assert rows(await fork_tree(log)) == [(one, 0), (other, 1)]
    assert {row for row, _ in rows(await fork_tree(log, other))} == {one, other}


def test_a_session_that_began_by_itself_has_no_parent() -> None:
    assert parent_link(SessionSummary(session_id(1))) is None
