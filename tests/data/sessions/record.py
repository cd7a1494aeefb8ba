"""Records sessions as this release runs them, each to a new file. See README.md."""

import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import trio
from tests.engine.kit import House, house, play, shell, until

from turnlog.protocol.envelope import SCHEMA, Recorded
from turnlog.protocol.events import (
    ApprovalAsked,
    ModelCompleted,
    ToolStarted,
    TurnEnded,
)
from turnlog.protocol.ops import ApprovalAnswer, TextInput, UserTurn, prompt
from turnlog.protocol.settings import SettingsUpdate
from turnlog.protocol.usage import RateLimits, RateLimitWindow
from turnlog.replay.portable import write_portable
from turnlog.runtime.scripted_model.script import (
    Failure,
    Response,
    call,
    custom,
    message,
    reasoning,
)
from turnlog.runtime.session import Session
from turnlog.runtime.store.memory import MemoryLog, MemoryStore

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
}


async def record(folder: Path) -> None:
    """Write `schema-N-NAME.turnlog` for each recipe into `folder`.

    Raises:
        FileExistsError: one of them is there; it is kept for ever.
    """
    for name, recipe in RECIPES.items():
        with TemporaryDirectory(prefix=f"turnlog-{name}-") as place:
            records = await recipe(Path(place))
        with (folder / f"schema-{SCHEMA}-{name}.turnlog").open("x") as stream:
            write_portable(records, stream)


if __name__ == "__main__":
    os.environ["TZ"] = "UTC"
    trio.run(record, Path(sys.argv[1]))
