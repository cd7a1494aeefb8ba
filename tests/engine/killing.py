"""One kill: a process in the middle of a turn of twelve calls, and what is left of its work."""

import os
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from random import Random

import attrs
import msgspec
import trio

from tests.engine.kill_child import config
from tests.engine.kit import assert_sound, of, play, shell, told
from tests.warm.client import Fork, start
from tests.warm.request import Program
from turnlog.actors.core.model_input import model_input
from turnlog.actors.core.rebuild import rebuild
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.events import (
    CallSettled,
    ToolDispatched,
    ToolFinished,
    TurnEnded,
    TurnOpened,
)
from turnlog.protocol.ids import SessionId
from turnlog.protocol.items import FunctionCall, FunctionCallOutput, JsonText, read_item
from turnlog.runtime.assembly import Assembly, open_assembly
from turnlog.runtime.config.home import STORE_FOLDER
from turnlog.runtime.scripted_model.script import Response, Script, message
from turnlog.runtime.scripted_model.server import serve_script
from turnlog.runtime.store.lmdb.log import open_log

CALLS = [f"call-{number}" for number in range(1, 13)]
EFFECTS = "effects"  # each call adds its id, as a line
MOST_LINES = 92  # what a process that is not killed prints
LONGEST_PAUSE = 0.03  # seconds from the line that was waited for to the kill
ROOT = Path(__file__).parents[2]


class Printed(msgspec.Struct, frozen=True):
    """An event that the process had published before it was killed."""

    sequence: int
    digest: str
    kind: str


@attrs.frozen
class Report:
    """How one kill went. What must hold has been checked."""

    last: str  # the last kind of event that was printed; nothing: before the first
    finished: bool  # the process had closed its session before the kill
    published: int
    outcomes: tuple[str, ...]  # of the calls that were running: stopped or unknown
    ran: int  # calls whose effect is there


def script(calls: Sequence[str]) -> Script:
    """Return a model that makes these calls one after the other, then ends the turn."""
    commands = [
        {**shell(f"echo {call} >> {EFFECTS}; sync {EFFECTS}; echo {call} done"), "call_id": call}
        for call in calls
    ]
    return Script(
        [*(Response(items=[item]) for item in commands), Response(items=[message("all done")])]
    )


async def kill_once(place: Path, random: Random) -> Report:
    """Run the process in an empty folder, kill it at a random moment, and check what is left.

    Raises:
        AssertionError: a promise was broken.
    """
    folder, home = place / "work", place / "home"
    folder.mkdir(parents=True)
    async with serve_script(script(CALLS)) as server:
        name, printed = await _run_and_kill(home, folder, server.base_url, random)
    if name is None:
        return Report("", finished=False, published=0, outcomes=(), ran=0)
    ran_before = effects(folder)
    async with open_log(home / STORE_FOLDER) as log:
        left = await log.read(name, limit=10_000)
    check_left(left, printed, ran_before)
    said = _items(model_input(rebuild(left)))
    asked = {item.call_id for item in said if isinstance(item, FunctionCall)}
    todo = [call for call in CALLS if call not in asked]
    async with (
        serve_script(script(todo)) as server,
        open_assembly(home=home, config=config(server.base_url)) as assembly,
    ):
        records, sent = await _continue(assembly, name, bool(of(TurnOpened, left)))
    check_continued(left, records, sent, effects(folder))
    return Report(
        printed[-1].kind if printed else "",
        finished=bool(printed) and printed[-1].kind == "session_closed",
        published=len(printed),
        outcomes=tuple(event.outcome for event in of(CallSettled, records)),
        ran=len(effects(folder)),
    )


def start_child(home: Path, folder: Path, url: str, *more: str) -> Fork:
    """Start the program that is to be killed."""
    words = (str(home), str(folder), url, *more)
    return start(Program(str(ROOT), dict(os.environ), words, "tests.engine.kill_child"))


async def _run_and_kill(
    home: Path, folder: Path, url: str, random: Random
) -> tuple[SessionId | None, list[Printed]]:
    """Run the process until it has printed a random number of lines, and a moment longer."""
    lines_until, pause = random.randint(1, MOST_LINES), random.uniform(0, LONGEST_PAUSE)
    output = bytearray()
    with start_child(home, folder, url) as process:
        async with process.output() as stream:
            try:
                with trio.fail_after(60):
                    while output.count(b"\n") < lines_until:
                        chunk = await stream.receive_some()
                        if not chunk:
                            break
                        output += chunk
                await trio.sleep(pause)
            finally:
                process.kill()
            async for rest in stream:  # the pipe may hold more; a tool's process has it not
                output += rest
    first, *lines = output.decode().split("\n")[:-1] or [""]  # the last line may be torn
    printed = [Printed(int(n), digest, kind) for n, digest, kind in map(str.split, lines)]
    return (SessionId(first) if first else None), printed


async def _continue(
    assembly: Assembly, name: SessionId, has_turn: bool
) -> tuple[list[Recorded], list[JsonText]]:
    """Let the session run to the end of its turn; return its events, and its conversation."""
    session = await assembly.engine.resume(name)
    with trio.fail_after(60):
        if not has_turn:
            await play(session, "count")
        else:
            async with aclosing(session.watch(after=0)) as publications:
                async for publication in publications:
                    if isinstance(publication, Recorded) and isinstance(
                        publication.event, TurnEnded
                    ):
                        break
    return await assembly.log.read(name, limit=10_000), session.history()


def effects(folder: Path) -> Counter[str]:
    path = folder / EFFECTS
    return Counter(path.read_text().split()) if path.exists() else Counter()


def check_left(left: list[Recorded], printed: list[Printed], ran: Counter[str]) -> None:
    """Check the log that the killed process left."""
    assert_sound(left)
    stored = {record.sequence: (record.digest.hex(), record.kind) for record in left}
    for event in printed:  # what was acknowledged is there, as it was
        assert stored.get(event.sequence) == (event.digest, event.kind)
    dispatched = {event.call_id for event in of(ToolDispatched, left)}
    assert ran.keys() <= dispatched, "an effect without a logged call"
    assert max(ran.values(), default=0) <= 1


def check_continued(
    left: list[Recorded], records: list[Recorded], sent: list[JsonText], ran: Counter[str]
) -> None:
    """Check the session at the end of its turn."""
    assert_sound(records)
    assert records[: len(left)] == left
    ended = of(TurnEnded, records)
    assert [(event.status, event.last_agent_message) for event in ended] == [
        ("completed", "all done")
    ]
    outputs = {
        item.call_id: item.output for item in _items(sent) if isinstance(item, FunctionCallOutput)
    }
    assert sorted(outputs) == sorted(CALLS)
    calls = {event.effect: event.call_id for event in of(ToolDispatched, records)}
    assert len(calls) == len(set(calls.values())) == len(CALLS), "a call was dispatched twice"
    finished = {calls[event.effect]: told(event) for event in of(ToolFinished, records)}
    for call, text in finished.items():  # a result that was stored is what the model is told
        assert outputs[call] == text
        assert text.endswith(f"{call} done\n")
        assert ran[call] == 1
    settled = {event.call_id: event.outcome for event in of(CallSettled, records)}
    assert settled.keys() | finished.keys() == set(CALLS)
    assert len(settled) <= 1, "only one call ran at a time"
    assert set(settled.values()) <= {"stopped", "unknown"}
    assert max(ran.values()) == 1, "a call ran twice"


def _items(parts: Sequence[JsonText]) -> list[object]:
    return [read_item(part) for part in parts]
