"""What varies at the front of a request costs everything after it: nothing does here."""

from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.engine.kit import House, house, of, play, shell, the
from tests.scenarios.kit import (
    Look,
    assert_each_begins_with_the_one_before,
    says,
    sums_up,
    talks,
)
from turnlog.protocol.events import Compacted, ModelCompleted, PrefixChanged
from turnlog.protocol.ops import OverrideTurnContext
from turnlog.protocol.settings import SettingsUpdate
from turnlog.protocol.usage import TokenUsage
from turnlog.runtime.config.schema import Agents
from turnlog.runtime.scripted_model.script import Response, call, message
from turnlog.runtime.store.lmdb.log import open_log

LOOK: Final = says(call("look"))


def tools(h: House) -> list[str]:
    """Return the list of tools of each request."""
    return [msgspec.json.encode(r.body["tools"]).decode() for r in h.server.requests]


def keys(h: House) -> list[str]:
    return [request.body["prompt_cache_key"] for request in h.server.requests]


async def test_each_request_begins_with_the_one_before_over_resume_and_fork(
    tmp_path: Path,
) -> None:
    script = (shell("echo a"), "one", [shell("echo b"), shell("echo c")], "two", "three")
    requests = list[list[str]]()
    async with open_log(tmp_path / "store") as log:
        async with house(tmp_path, *script, log=log) as h:
            session = await h.start()
            for words in ("a", "b", "c"):
                await play(session, words)
            requests += talks(h.server)
        async with house(tmp_path, shell("echo d"), "four", log=log) as h:
            again = await h.engine.resume(session.id)
            await play(again, "d")
            requests += talks(h.server)
            assert_each_begins_with_the_one_before(requests)
        async with house(tmp_path, "five", log=log) as h:
            branch = await h.engine.fork(session.id)
            await play(branch, "e")
            assert_each_begins_with_the_one_before([requests[-1], *talks(h.server)])
            assert of(PrefixChanged, await h.events(branch)) == []


async def test_only_a_compaction_breaks_it_and_that_is_an_event(tmp_path: Path) -> None:
    script = (LOOK, says("seen"), sums_up("in short"))
    async with house(
        tmp_path, *script, more_tools=[Look()], loop=True, model_auto_compact_token_limit=3_000
    ) as h:
        session = await h.start()
        for _ in range(12):
            await play(session)
        requests = talks(h.server)
        breaks = sum(after[: len(before)] != before for before, after in pairwise(requests))
        records = await h.events(session)
        assert breaks == len(of(Compacted, records)) >= 2
        assert of(PrefixChanged, records) == []


async def test_an_output_that_was_sent_is_never_shortened_later(tmp_path: Path) -> None:
    long = shell("seq 1 20000")
    async with house(tmp_path, long, "one", long, "two", "three") as h:
        session = await h.start()
        for _ in range(3):
            await play(session)
        assert_each_begins_with_the_one_before(talks(h.server))


async def test_tools_are_in_one_order_in_every_request(tmp_path: Path) -> None:
    async with open_log(tmp_path / "store") as log:
        seen = list[str]()
        name = ""
        for _ in range(3):
            async with house(tmp_path, shell("echo a"), "one", log=log) as h:
                session = await (h.engine.resume(name) if name else h.start())
                name = session.id
                await play(session)
                seen += tools(h)
        assert len(seen) == 6
        assert len(set(seen)) == 1
        names = [tool["name"] for tool in msgspec.json.decode(seen[0])]
        assert names[:3] == ["exec_command", "apply_patch", "update_plan"]


async def test_nothing_volatile_is_in_tools_or_instructions(tmp_path: Path) -> None:
    async with house(tmp_path, "hello", loop=True) as h:
        for _ in range(3):
            session = await h.start()
            await play(session)
            assert session.id not in "".join([*talks(h.server)[-1], tools(h)[-1]])
        assert len(set(tools(h))) == 1
        assert talks(h.server)[0] == talks(h.server)[1] == talks(h.server)[2]


async def test_each_break_of_the_prefix_is_an_event_with_its_cause(tmp_path: Path) -> None:
    async with open_log(tmp_path / "store") as log:
        async with house(tmp_path, "one", "two", "three", log=log) as h:
            session = await h.start(model="scripted-1")
            await play(session)
            await session.submit(OverrideTurnContext(SettingsUpdate(model="scripted-2")))
            (change,) = of(PrefixChanged, await play(session))
            assert change == PrefixChanged(("model",))
            assert of(PrefixChanged, await play(session)) == []
            assert_each_begins_with_the_one_before(talks(h.server))
        async with house(tmp_path, "four", "five", log=log, more_tools=[Look()]) as h:
            again = await h.engine.resume(session.id)
            assert the(PrefixChanged, await play(again)) == PrefixChanged(("tools",))
            assert of(PrefixChanged, await play(again)) == []


async def test_a_tool_that_is_new_is_after_those_that_were_there(tmp_path: Path) -> None:
    options: dict[str, Any] = {"agents": Agents(max_threads=0)}
    async with house(tmp_path, "one", **options) as h:
        await play(await h.start())
        before = msgspec.json.decode(tools(h)[0])
    async with house(tmp_path, "one", more_tools=[Look()], **options) as h:
        await play(await h.start())
        after = msgspec.json.decode(tools(h)[0])
    assert after[: len(before)] == before
    assert [tool["name"] for tool in after[len(before) :]] == ["look"]


async def test_the_cache_key_is_the_sessions_and_not_the_runs_nor_a_forks(tmp_path: Path) -> None:
    async with open_log(tmp_path / "store") as log:
        async with house(tmp_path, shell("echo a"), "one", log=log) as h:
            session = await h.start()
            await play(session)
            first = keys(h)
        async with house(tmp_path, "two", "three", "four", log=log) as h:
            await play(await h.engine.resume(session.id))
            fork = await h.engine.fork(session.id)
            await play(fork)
            await play(await h.engine.fork(fork.id))
            assert [*first, *keys(h)] == [session.id] * 5


async def test_how_much_came_from_the_cache_is_in_the_log(tmp_path: Path) -> None:
    usage = TokenUsage(input_tokens=900, cached_input_tokens=800, output_tokens=5)
    async with house(tmp_path, Response(items=[message("hi")], usage=usage)) as h:
        session = await h.start()
        events = await play(session)
        assert the(ModelCompleted, events).usage == usage
        assert session.usage.cached_input_tokens == 800
