"""Readers take what one commit has left, while others write, without a lock of LMDB's."""

from pathlib import Path
from threading import Thread

import pytest

from tests.store.processes import running
from tests.store.support import start, texts
from turnlog.runtime.store.lmdb.environment import Environment
from turnlog.runtime.store.lmdb.log import open_log
from turnlog.runtime.store.lmdb.views import PageView


def commit(environment: Environment, times: int) -> None:
    for _ in range(times):
        environment.write(environment.touch)


@pytest.mark.parametrize(("commits", "looks"), [(0, 1), (1, 1), (2, 2), (3, 2)])
def test_a_reader_that_two_commits_have_overtaken_looks_again(
    tmp_path: Path, commits: int, looks: int
) -> None:
    writer = Environment.open(tmp_path)
    reader = Environment.open(tmp_path, read_only=True)
    seen: list[int] = []

    def look(view: PageView) -> int:
        seen.append(view.id())
        if len(seen) == 1:
            commit(writer, commits)
        return view.id()

    first = writer.states.read(lambda view: view.id())
    assert reader.states.read(look) == seen[-1]
    assert seen == [first, first + commits][:looks]


def test_a_reader_that_is_overtaken_again_and_again_makes_the_writers_wait(tmp_path: Path) -> None:
    writer = Environment.open(tmp_path)
    reader = Environment.open(tmp_path, read_only=True)
    first = writer.states.read(lambda view: view.id())
    seen: list[int] = []
    threads: list[Thread] = []

    def look(view: PageView) -> int:
        seen.append(view.id())
        threads.append(Thread(target=commit, args=(writer, 2)))
        threads[-1].start()
        threads[-1].join(None if len(seen) <= 2 else 0.2)
        return view.id()

    assert reader.states.read(look) == first + 4
    assert seen == [first, first + 2, first + 4]
    threads[-1].join()
    assert reader.states.read(lambda view: view.id()) == first + 6


def test_an_error_of_a_reader_that_was_overtaken_does_not_count(tmp_path: Path) -> None:
    writer = Environment.open(tmp_path)
    reader = Environment.open(tmp_path, read_only=True)
    looks: list[int] = []

    def look(view: PageView) -> str:
        looks.append(view.id())
        if len(looks) == 1:
            commit(writer, 2)
            raise KeyError("not there")
        return "there"

    assert reader.states.read(look) == "there"


async def test_a_killed_process_lets_the_writers_continue(tmp_path: Path) -> None:
    async with open_log(tmp_path) as log:
        stream, fence = await start(log, "a")
        async with running("hold", tmp_path) as holder:
            assert await holder.line() == "holding"
            ticket = log.append(stream.session, stream.batch("b"), fence=fence)
            await holder.kill()
            await ticket.settled()
        assert texts(await log.read(stream.session)) == ["a", "b"]
