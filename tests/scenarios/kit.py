"""What the scenarios share: what the model was really sent, and what an engine leaves."""

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, Final

import attrs
import msgspec

from turnlog.actors.core import texts
from turnlog.actors.ports import ToolMonitor, ToolOrder, ToolResult
from turnlog.protocol.calls import ToolPlan
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.items import ToolCallItem, text_message
from turnlog.protocol.ops import Op
from turnlog.protocol.settings import TurnSettings
from turnlog.runtime.engine.session import Session
from turnlog.runtime.scripted_model.player import COMPACTION_REQUEST
from turnlog.runtime.scripted_model.script import Item, Response, message
from turnlog.runtime.scripted_model.server import ScriptedServer
from turnlog.runtime.store.lmdb.log import LmdbLog, open_log

_CALLS: Final = ("function_call", "custom_tool_call")
_OUTPUTS: Final = ("function_call_output", "custom_tool_call_output")


@attrs.define(eq=False)
class Look:
    """A tool that shows so many characters, others each time."""

    characters: int = 2_000
    name: str = "look"
    spec: dict[str, Any] = attrs.field(
        factory=lambda: {"type": "function", "name": "look", "parameters": {}}
    )
    looks: int = 0
    _random: Random = attrs.field(factory=lambda: Random(0))

    def plan(self, call: ToolCallItem, settings: TurnSettings) -> ToolPlan:
        return ToolPlan(self.name)

    async def run(self, order: ToolOrder, monitor: ToolMonitor) -> ToolResult:
        await monitor.started()
        self.looks += 1
        return ToolResult("done", "", self._random.randbytes(self.characters // 2).hex())


def says(*items: Item | str, **fields: Any) -> Response:  # noqa: ANN401
    """Return a response whose usage is not told, so that what is sent is counted."""
    made = [message(item) if isinstance(item, str) else item for item in items]
    return Response(items=made, usage=None, **fields)


def sums_up(text: str | Item = "in short", **fields: Any) -> Response:  # noqa: ANN401
    return says(text, compaction=True, **fields)


async def do(session: Session, op: Op) -> list[Recorded]:
    """Send an op that is a turn; return the turn's events."""
    return [recorded async for recorded in session.run(op)]


@asynccontextmanager
async def abandoned(log: LmdbLog, folder: Path) -> AsyncGenerator[LmdbLog]:
    """Open what an engine that is killed at this moment leaves on disk: a copy of its store."""
    await log.backup(folder)
    async with open_log(folder) as left:
        left.place = log.place  # the copy stands for the store itself: it is no other machine's
        yield left


# --- what the model was sent ----------------------------------------------------------------------


def sent(server: ScriptedServer) -> list[list[str]]:
    """Return the input of each request, an item a text."""
    return [
        [msgspec.json.encode(item).decode() for item in request.body["input"]]
        for request in server.requests
    ]


def asks_for_summary(parts: Sequence[str]) -> bool:
    return COMPACTION_REQUEST in parts[-1]


def talks(server: ScriptedServer) -> list[list[str]]:
    """Return the inputs of the requests that do not ask for a summary."""
    return [parts for parts in sent(server) if not asks_for_summary(parts)]


def summaries(server: ScriptedServer) -> list[list[str]]:
    """Return the inputs of the requests that ask for a summary."""
    return [parts for parts in sent(server) if asks_for_summary(parts)]


def size_of(parts: Iterable[str]) -> int:
    return sum(len(part.encode()) for part in parts)


def ledger(*lines: str) -> str:
    """Return the part that tells after a compaction what was done."""
    return text_message("user", texts.LEDGER.format(lines="\n".join(lines)))


def assert_valid(parts: Sequence[str]) -> None:
    """Check that each call has one output after it, and each output its call, in call order."""
    open_calls = list[str]()
    seen = set[str]()
    for part in parts:
        item = msgspec.json.decode(part)
        if item["type"] in _OUTPUTS:
            assert item["call_id"] == open_calls.pop(0)
        elif item["type"] in _CALLS:
            assert item["call_id"] not in seen
            seen.add(item["call_id"])
            open_calls.append(item["call_id"])
        else:
            assert open_calls == [] or item["type"] == "message"
    assert open_calls == []


def assert_each_begins_with_the_one_before(requests: Sequence[Sequence[str]]) -> None:
    """Check that a provider's cache of a request holds for all of the next one's begin."""
    for before, after in pairwise(requests):
        assert list(after[: len(before)]) == list(before)
