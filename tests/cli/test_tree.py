"""`turnlog tree`, as people and programs read it."""

from collections.abc import Sequence

import attrs
import click
import pytest
import trio
from rich.cells import cell_len

from tests.cli.harness import User
from turnlog.frontends.cli.commands.tree import lines
from turnlog.protocol.ids import SessionId
from turnlog.protocol.summary import SessionSummary
from turnlog.replay.views.tree import Node, ParentLink


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> tuple[User, list[str]]:
    """Return a user with a session, a fork of it, a fork of that, and another session."""
    user = User(tmp_path_factory.mktemp("tree"))
    user.home.mkdir()
    user.cwd.mkdir()

    async def run() -> list[str]:
        async with user.model("first", "second"):
            root = (await user.run("exec", "--json", "看一看 around")).thread
            other = (await user.run("exec", "--json", "another one")).thread
        child = (await user.run("fork", root)).out.strip()
        grandchild = (await user.run("fork", child, "--at", "3")).out.strip()
        return [root, child, grandchild, other]

    return user, trio.run(run)


async def test_programs_get_a_line_for_each_session_parents_first(
    family: tuple[User, list[str]],
) -> None:
    user, (root, child, grandchild, other) = family
    rows = (await user.run("tree", "--json")).lines
    assert [(row["id"], row["parent"], row["depth"]) for row in rows] == [
        (root, None, 0),
        (child, root, 1),
        (grandchild, child, 2),
        (other, None, 0),
    ]
    end = rows[0]["events"]
    assert [(row["cut"], row["cut_turn"]) for row in rows] == [(0, 0), (end, 1), (5, 1), (0, 0)]
    first = rows[0]
    assert first["created"] <= first.pop("updated")
    assert first.pop("created").endswith("Z")
    assert first == {
        "id": root,
        "title": "看一看 around",
        "turns": 1,
        "events": end,
        "status": "idle",
        "depth": 0,
        "link": None,
        "parent": None,
        "parent_is_gone": False,
        "cut": 0,
        "cut_turn": 0,
    }


async def test_people_see_branches_in_columns(family: tuple[User, list[str]]) -> None:
    user, (root, child, grandchild, other) = family
    outcome = await user.run("tree")
    assert "\033" not in outcome.out
    drawn = outcome.out.splitlines()
    length = drawn[0].index(" ")
    expected = [root, f"└─ {child}", f"   └─ {grandchild}", other]
    for line, head in zip(drawn, expected, strict=True):
        session = head.lstrip(" └─")
        assert line.startswith(f"{head.removesuffix(session)}{session[-length:]}  ")
    assert " fork at turn 1, event 5 · " in drawn[2]
    assert "1 turn" in drawn[0]


async def test_with_an_id_only_its_family_is_shown(family: tuple[User, list[str]]) -> None:
    user, (root, child, grandchild, other) = family
    rows = (await user.run("tree", grandchild, "--json")).lines
    assert [row["id"] for row in rows] == [root, child, grandchild]
    assert [row["id"] for row in (await user.run("tree", other, "--json")).lines] == [other]
    gone = await user.run("tree", "nothing")
    assert (gone.code, gone.out) == (1, "")
    assert gone.err.endswith("[session_not_found]\n")


async def test_without_a_store_there_is_no_tree(user: User) -> None:
    outcome = await user.run("tree")
    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err.startswith("There are no sessions in ")
    assert (await user.run("tree", "x")).err.endswith("[session_not_found]\n")
    assert not list(user.home.iterdir())


# --- what is drawn ----------------------------------------------------------------------------


def session(number: int) -> SessionId:
    return SessionId(f"01900000-0000-7000-8000-{number:012x}")


def node(number: int, depth: int, *, title: str = "t", is_last: bool = True) -> Node:
    link = ParentLink("fork", session(number - 1), 3) if depth else None
    summary = SessionSummary(session(number), title=title, created_us=1)
    return Node(summary, link, depth, False, is_last, 5, 1 if depth else 0)


def columns(drawn: Sequence[str]) -> set[int]:
    """Return in which cells of a terminal the last column begins."""
    return {cell_len(line[: line.index("· 5 events")].rsplit("  ", 1)[0]) for line in drawn}


def test_wide_and_long_titles_keep_the_columns() -> None:
    titles = ("plain", "宽字符的标题" * 9, "x" * 100, "", "\033[2J\u202e evil")
    drawn = lines([node(number, 0, title=title) for number, title in enumerate(titles)])
    assert len(columns(drawn)) == 1
    assert not any("\033[2J" in line or "\u202e" in line for line in drawn)


def test_of_a_parent_that_is_gone_the_cut_is_told() -> None:
    orphan = attrs.evolve(node(2, 1), depth=0, orphan=True)
    [line] = lines([orphan])
    assert f"fork of {session(1)} (gone) at turn 1, event 3 · " in click.unstyle(line)


def test_a_stem_continues_while_a_sibling_is_to_come() -> None:
    drawn = lines(
        [
            node(1, 0),
            node(2, 1, is_last=False),
            node(3, 2),
            node(4, 1),
            node(5, 2, is_last=False),
            node(6, 2),
        ]
    )
    assert [click.unstyle(line)[:8] for line in drawn] == [
        "00000001",
        "├─ 00000",
        "│  └─ 00",
        "└─ 00000",
        "   ├─ 00",
        "   └─ 00",
    ]


def test_a_thousand_generations_are_drawn_in_lines_of_bounded_length() -> None:
    drawn = lines([node(number, number) for number in range(1000)])
    assert max(len(click.unstyle(line)) for line in drawn) < 250
    assert "⋯987 " in drawn[-1]


def test_ids_are_as_long_as_it_takes_to_tell_them_apart() -> None:
    near = [
        Node(SessionSummary(SessionId(f"01900000-0000-7000-8000-00{n}000000000")), None, 0, *rest)
        for n, rest in ((1, (False, True, 1, 0)), (2, (False, True, 1, 0)))
    ]
    assert [click.unstyle(line).split()[0] for line in lines(near)] == [
        "1000000000",
        "2000000000",
    ]
