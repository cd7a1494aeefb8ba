"""Resuming or compacting silently loses what the model knew: not here."""

from pathlib import Path
from typing import Any, Final

from tests.engine.kit import actor_of, house, of, play, shell, the
from tests.scenarios.kit import Look, do, says, sums_up, talks
from turnlog.actors.core.rebuild import rebuild
from turnlog.protocol.envelope import GENESIS, chain
from turnlog.protocol.events import ModelAsked, OpReceived, TurnEnded
from turnlog.protocol.ops import Compact, Undo, op_name
from turnlog.runtime.scripted_model.script import call, reasoning
from turnlog.runtime.store.lmdb.log import open_log

LOOK: Final = says(call("look"))
RULE: Final = "Never commit to the main branch."


async def test_a_resumed_session_is_sent_as_one_that_was_never_closed(tmp_path: Path) -> None:
    thought = [reasoning("hm", encrypted_content="secret"), shell("echo a")]
    script = (thought, "one", shell("echo b"), "two", "three", "more")
    async with open_log(tmp_path / "store") as log:
        async with house(tmp_path, *script, log=log) as h:
            session = await h.start()
            await play(session, "a")
            await play(session, "b")
            history = session.history()
            twin = await session.fork()
            await play(twin, "c")
            never_closed = talks(h.server)[-1]
        for _ in range(3):
            async with house(tmp_path, "three", log=log) as h:
                again = await h.engine.resume(session.id)
                assert again.history() == history
        async with house(tmp_path, "three", log=log) as h:
            again = await h.engine.resume(session.id)
            await play(again, "c")
            assert talks(h.server) == [never_closed]
            assert actor_of(again).state == rebuild(await h.events(again))


async def test_each_request_is_what_the_log_says_of_it(tmp_path: Path) -> None:
    async with open_log(tmp_path / "store") as log:
        async with house(tmp_path, shell("echo a"), "one", log=log) as h:
            session = await h.start()
            await play(session, "a")
            first = h.server
        async with house(tmp_path, shell("echo b"), "two", log=log) as h:
            again = await h.engine.resume(session.id)
            await play(again, "b")
            asked = of(ModelAsked, await h.events(again))
            requests = [*talks(first), *talks(h.server)]
            assert len(asked) == len(requests) == 4
            for event, parts in zip(asked, requests, strict=True):
                digest = GENESIS
                for part in parts:
                    digest = chain(digest, part.encode())
                assert (event.parts, event.input_digest) == (len(parts), digest.hex())


async def test_instructions_still_stand_after_a_compaction(tmp_path: Path) -> None:
    (tmp_path / "AGENTS.md").write_text(RULE)
    script = (LOOK, says("seen"), sums_up("in short"), says("yes"))
    async with house(
        tmp_path, *script, more_tools=[Look()], developer_instructions="Be brief."
    ) as h:
        session = await h.start()
        await play(session, "look around")
        told = talks(h.server)[0][:-1]
        await do(session, Compact())
        await play(session, "and now")
        sent = talks(h.server)[-1]
        assert sent[: len(told)] == told
        assert sum(RULE in part for part in sent) == 1
        assert sum("Be brief." in part for part in sent) == 1
        assert any("in short" in part for part in sent)
        assert any("look around" in part for part in sent)


async def test_instructions_stand_after_many_compactions_and_a_resume(tmp_path: Path) -> None:
    (tmp_path / "AGENTS.md").write_text(RULE)
    script = (LOOK, says("seen"), sums_up("in short"))
    limit: dict[str, Any] = {"model_auto_compact_token_limit": 3_000}
    async with open_log(tmp_path / "store") as log:
        name = ""
        for _ in range(3):
            async with house(
                tmp_path, *script, more_tools=[Look()], loop=True, log=log, **limit
            ) as h:
                session = await (h.engine.resume(name) if name else h.start())
                name = session.id
                for _ in range(5):
                    assert the(TurnEnded, await play(session)).status == "completed"
                for parts in talks(h.server):
                    assert sum(RULE in part for part in parts) == 1


async def test_instructions_that_have_changed_are_told_after_the_old_ones(tmp_path: Path) -> None:
    rules = tmp_path / "AGENTS.md"
    async with house(tmp_path, "one", "two", "three") as h:
        rules.write_text(RULE)
        session = await h.start()
        await play(session, "a")
        rules.write_text("Commit wherever you like.")
        await play(session, "b")
        await play(session, "c")
        first, second, third = talks(h.server)
        assert second[: len(first)] == first
        assert [RULE in part for part in second].count(True) == 1
        assert ["wherever you like" in part for part in second].index(True) > len(first)
        assert third[: len(second)] == second


async def test_an_undo_after_a_compaction_brings_the_whole_conversation_back(
    tmp_path: Path,
) -> None:
    script = (LOOK, says("seen"), says("two"), sums_up("in short"), says("three"))
    async with open_log(tmp_path / "store") as log:
        async with house(tmp_path, *script, more_tools=[Look()], log=log) as h:
            session = await h.start()
            await play(session, "a")
            whole = session.history()
            await play(session, "b")
            await do(session, Compact())
        async with house(tmp_path, says("three"), more_tools=[Look()], log=log) as h:
            again = await h.engine.resume(session.id)
            await do(again, Undo())
            assert again.history() == whole
            await play(again, "c")
            assert talks(h.server)[0][: len(whole)] == whole


async def test_every_word_that_was_ever_said_can_be_read_in_its_order(tmp_path: Path) -> None:
    script = (LOOK, says("the first answer"), sums_up("in short"), says("the second answer"))
    async with open_log(tmp_path / "store") as log:
        async with house(tmp_path, *script, more_tools=[Look()], log=log) as h:
            session = await h.start()
            await play(session, "a")
            await do(session, Compact())
        async with house(tmp_path, *script[3:], more_tools=[Look()], log=log) as h:
            again = await h.engine.resume(session.id)
            await play(again, "b")
            records = await h.events(again)
            answers = [event.last_agent_message for event in of(TurnEnded, records)]
            assert answers == ["the first answer", None, "the second answer"]
            said = [op_name(event.op) for event in of(OpReceived, records)]
            assert said == ["user_turn", "compact", "shutdown", "user_turn"]
