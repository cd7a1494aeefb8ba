"""Compaction over HTTP: it always ends, helps, and leaves the same conversation to every reader."""

import json
from pathlib import Path
from typing import Any, Final

import trio

from tests.engine.agents import holds
from tests.engine.kit import House, house, of, outputs, play, shell, the, until
from turnlog.actors.ports import EventLog
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.events import (
    ApprovalAsked,
    Compacted,
    CompactionAsked,
    CompactionGivenUp,
    CompactionWanted,
    ModelAsked,
    ModelFailed,
    ToolStarted,
    TurnEnded,
    TurnOpened,
)
from turnlog.protocol.notices import AgentMessageDelta
from turnlog.protocol.ops import Compact
from turnlog.protocol.usage import TokenUsage
from turnlog.runtime.config.home import STORE_FOLDER
from turnlog.runtime.engine.session import Session
from turnlog.runtime.scripted_model.player import COMPACTION_REQUEST
from turnlog.runtime.scripted_model.script import Failure, Item, Response, message
from turnlog.runtime.store.lmdb.log import open_log
from turnlog.runtime.store.memory.log import MemoryLog, MemoryStore

SUMMARY: Final = Response(items=[message("we sorted the list")], compaction=True)
BROKEN: Final = Response(status=500, compaction=True, repeat=20)
LONG: Final = "blah " * 4000
TOO_LONG: Final = Failure(code="context_length_exceeded", message="too long")


def using(tokens: int, *items: Item | str) -> Response:
    """Return a response after which the conversation has that many tokens."""
    made = [message(item) if isinstance(item, str) else item for item in items]
    return Response(items=made, usage=TokenUsage(input_tokens=tokens - 10, output_tokens=10))


async def compact(session: Session) -> list[Recorded]:
    return [recorded async for recorded in session.run(Compact())]


def sent(h: House, request: int = -1) -> str:
    return json.dumps(h.server.requests[request].body["input"])


def input_parts(h: House, request: int = -1) -> list[Item]:
    items: list[Item] = h.server.requests[request].body["input"]
    return items


async def test_by_hand_between_turns(tmp_path: Path) -> None:
    async with house(tmp_path, LONG, SUMMARY, "next") as h:
        session = await h.start()
        await play(session, "sort the list")
        events = await compact(session)
        assert the(TurnOpened, events).kind == "compact"
        compacted = the(Compacted, events)
        assert (compacted.trigger, compacted.method) == ("manual", "summary")
        assert compacted.tokens_after < compacted.tokens_before
        assert the(TurnEnded, events).status == "completed"
        request = h.server.requests[1].body
        assert COMPACTION_REQUEST in json.dumps(request["input"][-1])
        assert request["input"][:-2] == input_parts(h, 0)
        assert LONG in json.dumps(request["input"][-2])
        assert not request.get("tools")
        await play(session, "and now?")
        assert "we sorted the list" in sent(h)
        assert "sort the list" in sent(h)
        assert LONG not in sent(h)


async def test_with_nothing_to_sum_up_it_is_given_up(tmp_path: Path) -> None:
    async with house(tmp_path, SUMMARY, "hello") as h:
        session = await h.start()
        events = await compact(session)
        assert the(CompactionGivenUp, events).trigger == "manual"
        assert the(TurnEnded, events).status == "completed"
        assert h.server.requests == []
        assert the(TurnEnded, await play(session)).status == "completed"


async def test_inside_a_turn_when_the_limit_is_passed(tmp_path: Path) -> None:
    script = ("hello", using(9_000, shell("echo one; cat big")), SUMMARY, using(900, "done"))
    (tmp_path / "big").write_text(LONG)
    async with house(tmp_path, *script, model_auto_compact_token_limit=5_000) as h:
        session = await h.start()
        await play(session, "hello")
        events = await play(session, "sort the list")
        assert the(Compacted, events).trigger == "in_turn"
        assert the(TurnEnded, events).last_agent_message == "done"
        assert "we sorted the list" in sent(h)
        assert "blah" not in sent(h)
        assert len(outputs(h.server)) == 0


async def test_before_a_turn_when_the_last_one_passed_the_limit(tmp_path: Path) -> None:
    script = (using(9_000, LONG), SUMMARY, using(900, "done"))
    async with house(tmp_path, *script, model_auto_compact_token_limit=5_000) as h:
        session = await h.start()
        first = await play(session, "sort the list")
        assert of(Compacted, first) == []
        events = await play(session, "and now?")
        assert the(Compacted, events).trigger == "before_turn"
        assert the(ModelAsked, events).attempt == 1
        assert "and now?" not in sent(h, 1)
        parts = input_parts(h)
        assert "we sorted the list" in json.dumps(parts[-2])
        assert "and now?" in json.dumps(parts[-1])


async def test_one_that_does_not_help_enough_leaves_the_word_to_the_provider(
    tmp_path: Path,
) -> None:
    over = using(9_000, shell("echo one"))
    script = (LONG, over, SUMMARY, over, over, "done")
    async with house(tmp_path, *script, model_auto_compact_token_limit=5_000) as h:
        session = await h.start()
        await play(session, "hello")
        events = await play(session, "sort the list")
        assert the(TurnEnded, events).last_agent_message == "done"
        assert len(of(Compacted, events)) == 1


async def test_a_summary_that_fails_gives_way_to_a_plain_cut(tmp_path: Path) -> None:
    async with house(tmp_path, LONG, BROKEN, "next") as h:
        session = await h.start()
        await play(session, "sort the list")
        events = await compact(session)
        assert the(Compacted, events).method == "truncation"
        assert len(of(ModelFailed, events)) == 3  # one, and the retries of a stream
        assert the(TurnEnded, events).status == "completed"
        await play(session, "and now?")
        assert LONG not in sent(h)
        assert "sort the list" in sent(h)


async def test_a_request_that_the_window_does_not_hold_is_rescued_once(tmp_path: Path) -> None:
    refused = Response(failed=TOO_LONG)
    async with house(tmp_path, LONG, refused, SUMMARY, "done") as h:
        session = await h.start()
        await play(session, "sort the list")
        events = await play(session, "and now?")
        assert the(Compacted, events).trigger == "overflow"
        assert the(TurnEnded, events).last_agent_message == "done"
        assert "and now?" in sent(h)
        assert LONG not in sent(h)


async def test_one_that_stays_too_long_fails_and_the_session_continues(tmp_path: Path) -> None:
    refused = Response(failed=TOO_LONG)
    async with house(tmp_path, LONG, refused, SUMMARY, refused, "fine") as h:
        session = await h.start()
        await play(session, "sort the list")
        ended = the(TurnEnded, await play(session, "and now?"))
        assert ended.error is not None
        assert ended.error.code == "context_window_exceeded"
        assert the(TurnEnded, await play(session, "and then?")).status == "completed"


async def test_a_summary_request_that_is_too_long_is_made_with_less(tmp_path: Path) -> None:
    refused = Response(failed=TOO_LONG, compaction=True)
    script = (LONG, "one", LONG, "two", refused, SUMMARY, "next")
    async with house(tmp_path, *script) as h:
        session = await h.start()
        for prompt in ("first", "second", "third", "fourth"):
            await play(session, prompt)
        events = await compact(session)
        assert the(Compacted, events).method == "summary"
        first, second = of(CompactionAsked, events)
        assert (first.skipped, second.attempt) == (0, 2)
        assert second.skipped > 0
        assert len(input_parts(h, -1)) < len(input_parts(h, -2))


async def test_while_a_question_is_open_which_is_answered_afterwards(tmp_path: Path) -> None:
    escalated = shell("echo ran > ran", sandbox_permissions="require_escalated")
    asking: dict[str, Any] = {"approval_policy": "on-request", "sandbox_mode": "read-only"}
    async with house(tmp_path, LONG, escalated, SUMMARY, "done", **asking) as h:
        session = await h.start()
        await play(session, "sort the list")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session, "and now?")
            asked = await until(session, ApprovalAsked, after=0)
            assert len(of(CompactionWanted, await session.submit(Compact()))) == 1
            await until(session, Compacted, after=0)
            await session.answer(asked.question, "approved")
        assert (tmp_path / "ran").read_text() == "ran\n"
        assert len(outputs(h.server)) == 1
        assert "we sorted the list" in sent(h)
        ended = of(TurnEnded, await h.events(session))
        assert [event.status for event in ended] == ["completed", "completed"]


async def test_one_that_is_interrupted_changes_nothing(tmp_path: Path) -> None:
    slow = Response(items=[message("never")], compaction=True, stall_after=1)
    async with house(tmp_path, LONG, slow, "next") as h:
        session = await h.start()
        await play(session, "sort the list")
        before = session.history()
        await session.submit(Compact())
        await h.server.wait_request(2)
        await session.interrupt()
        await until(session, TurnEnded, after=0, number=2)
        assert session.history() == before
        assert the(TurnEnded, await play(session)).status == "completed"


async def test_what_the_summary_says_is_not_published_as_it_comes(tmp_path: Path) -> None:
    async with house(tmp_path, "hello", LONG, SUMMARY) as h:
        session = await h.start()
        await play(session, "sort the list")
        await play(session, "more")
        seen = [publication async for publication in session.watch_op(Compact())]
        assert [one for one in seen if isinstance(one, AgentMessageDelta)] == []
        assert len(of(Compacted, [one for one in seen if isinstance(one, Recorded)])) == 1


async def _resumed_sends_the_same(folder: Path, first: EventLog, second: EventLog) -> None:
    """Check that an engine that resumes the session sends what the first one would have."""
    async with house(folder, LONG, SUMMARY, "next", log=first) as h:
        session = await h.start()
        await play(session, "sort the list")
        await compact(session)
        twin = await session.fork()
        await play(twin, "and now?")
        expected = input_parts(h)
        name = session.id
    async with house(folder, "next", log=second) as h:
        session = await h.engine.resume(name)
        await play(session, "and now?")
        assert json.dumps(input_parts(h)) == json.dumps(expected)


async def test_after_a_resume_the_next_request_is_the_same_bytes(tmp_path: Path) -> None:
    store = MemoryStore()
    first, second = MemoryLog(store, "first"), MemoryLog(store, "second")
    await _resumed_sends_the_same(tmp_path, first, second)


async def test_after_a_resume_from_disk_the_next_request_is_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    async with open_log(tmp_path / "home" / STORE_FOLDER) as log:
        await _resumed_sends_the_same(tmp_path, log, log)


async def test_a_fork_from_before_has_the_old_conversation(tmp_path: Path) -> None:
    async with house(tmp_path, LONG, SUMMARY, "next") as h:
        session = await h.start()
        await play(session, "sort the list")
        before, head = session.history(), session.head
        await compact(session)
        fork = await session.fork(at=head)
        assert fork.history() == before
        await play(fork, "and now?")
        assert LONG in sent(h)
        assert "we sorted the list" not in sent(h)


async def test_a_kill_during_the_summary_asks_for_it_again(tmp_path: Path) -> None:
    store = MemoryStore()
    log = MemoryLog(store, "first")
    slow = Response(items=[message("never")], compaction=True, stall_after=1)
    async with house(tmp_path, LONG, slow, log=log, checked=False) as h:
        session = await h.start()
        await play(session, "sort the list")
        await session.submit(Compact())
        await h.server.wait_request(2)
        log.kill()
    second = MemoryLog(store, "second")
    async with house(tmp_path, SUMMARY, "next", log=second) as h:
        session = await h.engine.resume(session.id)
        await until(session, TurnEnded, after=0, number=2)
        records = await h.events(session)
        assert the(Compacted, records).method == "summary"
        await play(session, "and now?")
        assert "we sorted the list" in sent(h)


async def test_one_that_is_asked_for_while_a_tool_runs_comes_before_the_next_request(
    tmp_path: Path,
) -> None:
    waits = shell("until [ -e go ]; do sleep 0.02; done; echo gone")
    async with house(tmp_path, LONG, waits, SUMMARY, "done") as h:
        session = await h.start()
        await play(session, "sort the list")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session, "and now?")
            await until(session, ToolStarted, after=0)
            assert len(of(CompactionWanted, await session.submit(Compact()))) == 1
            (tmp_path / "go").touch()
        records = await h.events(session)
        assert the(Compacted, records).trigger == "manual"
        assert of(TurnEnded, records)[-1].last_agent_message == "done"
        assert holds(h.server.requests[-1].body, "and now?")
