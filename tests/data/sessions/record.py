"""Records sessions as this release runs them, each to a new file. See README.md."""

import json
import os
import sys
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import trio
from tests.engine.agents import Addressing, only, spawn
from tests.engine.kit import House, house, play, shell, until

from turnlog.actors.core.rules import RULES
from turnlog.protocol.envelope import SCHEMA, Recorded
from turnlog.protocol.events import (
    ApprovalAsked,
    ModelCompleted,
    ToolStarted,
    TurnEnded,
)
from turnlog.protocol.ops import (
    ApprovalAnswer,
    Archive,
    Compact,
    Op,
    Redo,
    Review,
    RunUserShellCommand,
    SetName,
    TextInput,
    Undo,
    UserTurn,
    prompt,
)
from turnlog.protocol.settings import SettingsUpdate, UnansweredPolicy
from turnlog.protocol.usage import RateLimits, RateLimitWindow
from turnlog.replay.files.portable import write_portable
from turnlog.runtime.config.schema import UndoSettings
from turnlog.runtime.engine.session import Session
from turnlog.runtime.scripted_model.script import (
    Failure,
    Response,
    call,
    custom,
    message,
    reasoning,
)
from turnlog.runtime.store.memory.log import MemoryLog, MemoryStore

Recipe = Callable[[Path], Coroutine[Any, Any, list[Recorded]]]
ASK: Final[dict[str, Any]] = {"approval_policy": "on-request", "sandbox_mode": "read-only"}
ESCALATED: Final = shell("echo ran", sandbox_permissions="require_escalated", justification="try")
PATCH: Final = "*** Begin Patch\n*** Add File: note.txt\n+hello\n*** End Patch\n"
WAITING: Final = shell("echo waiting; until [ -e go ]; do :; done; echo went")
CUT: Final = Response(items=[message("half of it")], cut_after=3)
LIMITS: Final = RateLimits(RateLimitWindow(12.5, 300, 1_800_000_000))


async def turns(folder: Path) -> list[Recorded]:
    """Prompts, answers, reasoning, rate limits, a plan, and settings that change."""
    steps = [{"step": "look", "status": "completed"}, {"step": "act", "status": "in_progress"}]
    plan = call("update_plan", {"plan": steps, "explanation": "two steps"})
    spoken = Response(items=[reasoning("think", encrypted_content="sealed"), message("hello")])
    limited = Response(items=[message("again")], rate_limits=LIMITS)
    async with house(folder, spoken, plan, limited) as h:
        session = await h.start()
        await play(session, "hi")
        update = SettingsUpdate(model="another-model", reasoning_effort="high")
        await session.submit(UserTurn((TextInput("go on"),), update))
        await until(session, TurnEnded, after=0, number=2)
        return await ended(h, session)


async def tools(folder: Path) -> list[Recorded]:
    """Calls at once and one by one, of a patch, of nothing that is there; a large output."""
    script = (
        [shell("echo a"), shell("echo b; exit 3"), custom("apply_patch", PATCH)],
        [call("no_such_tool"), call("exec_command", "{not json")],
        shell("seq 1 20000", max_output_tokens=500),
        "done",
    )
    async with house(folder, *script) as h:
        session = await h.start()
        await play(session, "use your tools")
        return await ended(h, session)


async def retries(folder: Path) -> list[Recorded]:
    """A request that fails, a stream that is cut, and a turn that is given up."""
    busy = Response(status=503, body={"error": {"message": "busy"}})
    limit = Response(status=429, headers={"retry-after": "0"}, body={"error": {"message": "slow"}})
    full = Response(failed=Failure(code="context_length_exceeded", message="too long"))
    async with house(folder, busy, CUT, limit, "at last", full) as h:
        session = await h.start()
        await play(session, "try")
        await play(session, "and fail")
        return await ended(h, session)


async def steering(folder: Path) -> list[Recorded]:
    """Input that comes while a call runs."""
    async with house(folder, WAITING, "both told") as h:
        session = await h.start()
        await session.submit(prompt("go"))
        await until(session, ToolStarted, after=0)
        await session.submit(prompt("and this"))
        (folder / "go").touch()
        await until(session, TurnEnded, after=0)
        return await ended(h, session)


async def interrupts(folder: Path) -> list[Recorded]:
    """A turn that is stopped while a call runs, and one while the model is waited for."""
    async with house(folder, WAITING, Response(no_answer="stall"), "now") as h:
        session = await h.start()
        await session.submit(prompt("go"))
        await until(session, ToolStarted, after=0)
        await session.interrupt()
        await until(session, TurnEnded, after=0)
        await session.submit(prompt("once more"))
        await h.server.wait_request(2)
        await session.interrupt()
        await until(session, TurnEnded, after=0, number=2)
        await play(session, "and now")
        return await ended(h, session)


async def approvals(folder: Path) -> list[Recorded]:
    """Questions that are answered in each way, and an answer to none."""
    script = (
        ESCALATED,
        "one",
        ESCALATED,
        "two",
        shell("echo other"),
        ESCALATED,
        "three",
        ESCALATED,
    )
    async with house(folder, *script, **ASK) as h:
        session = await h.start()
        answers: tuple[ApprovalAnswer, ...] = ("denied", "approved", "approved_for_session")
        for answer in answers:
            await answered(session, answer)
        return await ended(h, session)


async def answered(session: Session, answer: ApprovalAnswer) -> None:
    head = session.head
    async with trio.open_nursery() as nursery:
        nursery.start_soon(play, session)
        asked = await until(session, ApprovalAsked, after=head)
        await session.answer(asked.question, answer)


async def crashes(folder: Path) -> list[Recorded]:
    """An engine that dies while a call runs, and the next one, which goes on."""
    store = MemoryStore()
    log = MemoryLog(store, "the first engine")
    async with house(folder, WAITING, log=log, checked=False) as h:
        session = await h.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, session)
            await until(session, ModelCompleted, after=0)
            await until(session, ToolStarted, after=0)
            log.kill()
            nursery.cancel_scope.cancel()
    log = MemoryLog(store, "the second engine")
    async with house(folder, "went on", log=log) as h:
        again = await h.engine.resume(session.id)
        await until(again, TurnEnded, after=0)
        return await ended(h, again)


async def forks(folder: Path) -> list[Recorded]:
    """A branch from the middle of a turn that runs."""
    async with house(folder, "one", WAITING, "from the branch", "from the source") as h:
        session = await h.start()
        await play(session, "first")
        await session.submit(prompt("second"))
        await until(session, ToolStarted, after=0)
        branch = await session.fork()
        await play(branch, "and you")
        (folder / "go").touch()
        await until(session, TurnEnded, after=0, number=2)
        return await ended(h, branch)


async def long(folder: Path) -> list[Recorded]:
    """Many turns with calls, one after the other."""
    async with house(folder, shell("echo x"), "ok", loop=True) as h:
        session = await h.start()
        for number in range(8):
            await play(session, f"turn {number}")
        return await ended(h, session)


async def compactions(folder: Path) -> list[Recorded]:
    """A conversation that is summed up, and one that is cut, since no summary comes."""
    story = "a long story " * 120
    summary = Response(items=[message("what matters")], compaction=True)
    no = Response(status=400, body="no", compaction=True)
    counts = shell("seq 400")
    script = (story, counts, story, story, counts, story, "at the end", summary, no)
    async with house(folder, *script) as h:
        session = await h.start()
        await play(session, "one")
        await play(session, "two")
        await done(session, Compact())
        await play(session, "three")
        await play(session, "four")
        await done(session, Compact())
        await play(session, "five")
        return await ended(h, session)


async def undos(folder: Path) -> list[Recorded]:
    """Turns that are undone with their files, and done again; one across a compaction."""
    summary = Response(items=[message("a note was made")], compaction=True)
    story = "a long story " * 120
    script = (story, custom("apply_patch", PATCH), shell("echo more >> other.txt"), "done", "on")
    async with house(folder, *script, summary, undo=UndoSettings(scan_workspace=True)) as h:
        session = await h.start()
        await play(session, "tell me")
        await play(session, "make a note")
        await done(session, Undo())
        await done(session, Redo())
        await done(session, Compact())
        await done(session, Undo())
        await play(session, "and now")
        return await ended(h, session)


async def agents(folder: Path) -> list[Recorded]:
    """Agents that are set to work, told something, waited for, listed, closed, and stopped."""
    wait = call("wait_agent", {"targets": ["AGENT1"], "timeout_ms": 60_000})
    script = (
        [spawn("count", nickname="counter"), spawn("look")],
        only("count", "7"),
        only("look", shell("until [ -e go ]; do sleep 0.02; done")),
        only("look", "seen", repeat=2),
        wait,
        call("send_input", {"target": "AGENT1", "message": "count again"}),
        only("count", "8"),
        [wait, call("list_agents", {}), call("close_agent", {"target": "AGENT2"})],
        Response(items=[message("so it is")], repeat=8),
    )
    async with house(folder, *script, wrap_model=Addressing) as h:
        session = await h.start()
        await play(session, "lead")
        await play(session, "and on")
        return await ended(h, session)


async def stopped_agents(folder: Path) -> list[Recorded]:
    """An agent that is stopped with the turn that has set it to work."""
    script = (spawn("count"), only("count", shell("sleep 1000")), "sent", "well")
    async with house(folder, *script, wrap_model=Addressing) as h:
        session = await h.start()
        await session.submit(prompt("lead"))
        await h.server.wait_request(3)
        await session.interrupt()
        await until(session, TurnEnded, after=0)
        await play(session, "and now")
        return await ended(h, session)


async def reviews(folder: Path) -> list[Recorded]:
    """A review with a finding, and one that is interrupted."""
    place = {"absolute_file_path": "/work/a.py", "line_range": {"start": 3, "end": 5}}
    finding = {"title": "Close the file", "body": "It leaks.", "code_location": place}
    found = {"findings": [finding], "overall_correctness": "patch is incorrect"}
    script = (
        "hello",
        only("look at it", json.dumps(found)),
        Response(no_answer="stall", only_for="once more"),
        "so it is",
    )
    async with house(folder, *script) as h:
        session = await h.start()
        await play(session, "hi")
        await done(session, Review("look at it"))
        await session.submit(Review("once more"))
        await h.server.wait_request(3)
        head = session.head
        await session.interrupt()
        await until(session, TurnEnded, after=head)
        await play(session, "is it?")
        return await ended(h, session)


async def commands(folder: Path) -> list[Recorded]:
    """Commands of the user's, one of them stopped; a session that is named and archived."""
    async with house(folder, "hello", "again") as h:
        session = await h.start()
        await play(session, "hi")
        await done(session, RunUserShellCommand("echo mine; exit 3"))
        await session.submit(RunUserShellCommand("echo begun; sleep 1000"))
        await until(session, ToolStarted, after=0, number=2)
        head = session.head
        await session.interrupt()
        await until(session, TurnEnded, after=head)
        await session.submit(SetName("my work"))
        await play(session, "and now")
        await session.submit(Archive())
        return await ended(h, session)


async def parked(folder: Path) -> list[Recorded]:
    """A question that nobody answers in time, and an answer days later, in another engine."""
    store = MemoryStore()
    keys: dict[str, Any] = ASK | {
        "unanswered": UnansweredPolicy(command="park", patch="park"),
    }
    first = MemoryLog(store, "the first engine")
    async with house(folder, ESCALATED, log=first, approval_timeout_ms=30, **keys) as h:
        session = await h.start()
        await session.submit(prompt("go"))
        async with aclosing(session.watch(after=0)) as publications:
            async for _ in publications:
                pass
    log = MemoryLog(store, "the second engine")
    async with house(folder, "done", log=log, **keys) as h:
        again = await h.engine.resume(session.id)
        asked = await until(again, ApprovalAsked, after=0, number=2)
        await again.answer(asked.question, "approved")
        await until(again, TurnEnded, after=0)
        return await ended(h, again)


async def done(session: Session, op: Op) -> None:
    """Submit an op that is a turn of its own, and wait for the turn's end."""
    head = session.head
    await session.submit(op)
    await until(session, TurnEnded, after=head)


async def ended(h: House, session: Session) -> list[Recorded]:
    await session.close()
    return await h.events(session.id)


RECIPES: Final[dict[str, Recipe]] = {
    "turns": turns,
    "tools": tools,
    "retries": retries,
    "steering": steering,
    "interrupts": interrupts,
    "approvals": approvals,
    "crashes": crashes,
    "forks": forks,
    "long": long,
    "compactions": compactions,
    "undos": undos,
    "agents": agents,
    "stopped-agents": stopped_agents,
    "reviews": reviews,
    "commands": commands,
    "parked": parked,
}


async def record(folder: Path) -> None:
    """Write `schema-N-NAME.turnlog` for each recipe into `folder`.

    Raises:
        FileExistsError: one of them is there; it is kept for ever.
    """
    for name, recipe in RECIPES.items():
        with TemporaryDirectory(prefix=f"turnlog-{name}-") as place:
            records = await recipe(Path(place))
        with (folder / f"schema-{SCHEMA}-rules-{RULES}-{name}.turnlog").open("x") as stream:
            write_portable(records, stream)


if __name__ == "__main__":
    os.environ["TZ"] = "UTC"
    trio.run(record, Path(sys.argv[1]))
