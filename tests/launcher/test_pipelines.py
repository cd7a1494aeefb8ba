"""Which processes do a command's own work, on processes that are written down."""

from hypothesis import given
from hypothesis import strategies as st

from turnlog.runtime.launcher.pipelines import Member, working

ATTENDANT = 1


def member(
    pid: int, *, parent: int = ATTENDANT, reads: str | None = None, writes: str | None = None
) -> Member:
    return Member(pid, parent, reads, frozenset() if writes is None else frozenset({writes}))


def test_what_reads_nothing_works_for_nobody() -> None:
    assert working([member(5), member(6, writes="output")]) == set()


def test_the_reader_of_a_pipe_that_nobody_fills_works() -> None:
    """`tee >(sort > f)`, once tee has ended; sort may still have to read, and to write."""
    assert working([member(5, reads="a")]) == {5}


def test_what_a_worker_starts_works_with_it() -> None:
    """As in `>(while read x; do gzip $x </dev/null; done)`."""
    assert working([member(5, reads="a"), member(6, parent=5), member(7, parent=6)]) == {5, 6, 7}


def test_a_pipeline_within_a_substitution_works() -> None:
    """As in `tee >(sort | uniq > f)`."""
    shell = member(5, reads="a")
    sort = member(6, parent=5, reads="a", writes="b")
    uniq = member(7, parent=5, reads="b")
    assert working([shell, sort, uniq]) == {5, 6, 7}


def test_a_reader_that_the_background_feeds_does_not_work() -> None:
    """As in `tail -f log | grep x | tee f &`."""
    tail = member(5, writes="a")
    grep, tee = member(6, reads="a", writes="b"), member(7, reads="b")
    assert working([tail, grep, tee]) == set()


def test_a_pipeline_of_a_background_job_does_not_work() -> None:
    """`(sort big | uniq > f) &`: the reader's parent is in the background."""
    assert working(
        [member(5), member(6, parent=5, writes="a"), member(7, parent=5, reads="a")]
    ) == (set())


def test_a_worker_beside_a_background_job_works() -> None:
    """As in `server & seq 9 | tee >(sort > f)`."""
    assert working([member(5, writes="output"), member(6, reads="a", writes="output")]) == {6}


def test_readers_that_feed_each_other_are_not_taken_for_the_background() -> None:
    assert working([member(5, reads="a", writes="b"), member(6, reads="b", writes="a")]) == {5, 6}


PIPES = st.none() | st.sampled_from("abcd")


@given(st.lists(st.tuples(st.integers(0, 9), PIPES, PIPES), max_size=10))
def test_nothing_in_the_background_feeds_or_starts_what_works(
    shape: list[tuple[int, str | None, str | None]],
) -> None:
    """Each process descends from the attendant, or from one that comes before it."""
    members: list[Member] = []
    for index, (parent, reads, writes) in enumerate(shape):
        above = ATTENDANT if not index or parent >= index else 10 + parent
        members.append(member(10 + index, parent=above, reads=reads, writes=writes))
    found = working(members)
    background = [each for each in members if each.pid not in found]
    fed = {pipe for each in background for pipe in each.writes}
    for each in members:
        if each.pid in found:
            assert each.reads is not None or each.parent in found
            assert each.reads not in fed
            assert each.parent == ATTENDANT or each.parent in found
