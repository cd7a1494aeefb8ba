"""Which processes belong to a command, on process tables that are written down."""

from hypothesis import given
from hypothesis import strategies as st

from turnlog.runtime.processes.family import Process, descendants, family

ENGINE, ROOT = 10, 100


def process(
    pid: int, parent: int, *, group: int = 0, session: int = 0, state: str = "S"
) -> Process:
    return Process(pid, state, parent, group or pid, session or pid, started=pid)


def members(*processes: Process, marked: frozenset[int] = frozenset()) -> set[int]:
    table = {each.pid: each for each in processes}
    found = family({ROOT}, table, engine=ENGINE, is_ours=marked.__contains__)
    return {each.pid for each in found}


def test_descendants_belong_whatever_session_they_lead() -> None:
    assert members(
        process(ENGINE, 1), process(ROOT, ENGINE), process(101, ROOT), process(102, 101)
    ) == {ROOT, 101, 102}


def test_orphans_in_the_leaders_session_or_group_belong() -> None:
    assert members(
        process(101, ENGINE, session=ROOT), process(102, ENGINE, group=ROOT), process(103, ENGINE)
    ) == {101, 102}


def test_a_marked_orphan_belongs_with_its_descendants() -> None:
    tree = (process(101, ENGINE), process(102, 101), process(201, ENGINE), process(202, 201))
    assert members(*tree, marked=frozenset({101})) == {101, 102}


def test_a_mark_counts_only_on_our_own_children() -> None:
    assert members(process(101, 55), marked=frozenset({101})) == set()


@given(st.lists(st.integers(min_value=0, max_value=30), max_size=30))
def test_the_family_is_what_leads_up_to_the_leader(parents: list[int]) -> None:
    """Process ROOT + i + 1 descends from ROOT + parents[i]; some of it in circles, which end."""
    table = [process(ROOT + i + 1, ROOT + parent) for i, parent in enumerate(parents)]

    def descends(pid: int, seen: frozenset[int]) -> bool:
        if pid == ROOT:
            return True
        if pid in seen or pid - ROOT > len(parents):
            return False
        return descends(ROOT + parents[pid - ROOT - 1], seen | {pid})

    expected = {each.pid for each in table if descends(each.pid, frozenset())}
    assert members(process(ROOT, ENGINE), *table) == {ROOT} | expected


def test_below_a_process_that_does_not_count_nothing_is_looked_for() -> None:
    table = [process(2, 1), process(3, 2), process(4, 1), process(5, 4), process(6, 9)]
    assert {one.pid for one in descendants({1}, table)} == {2, 3, 4, 5}
    spared = descendants({1}, table, lambda child: child.pid != 2)
    assert {one.pid for one in spared} == {4, 5}
