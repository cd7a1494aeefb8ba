"""Recorded sessions of the real Codex binary run through the engine, by their own scripts.

tests/data/rollouts holds the sessions; tests/data/exec what the binary printed for some of them.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.kit import House, assert_sound, house, of, play, the
from turnlog.frontends.cli.running.json_lines import ExecStream
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.events import ToolDispatched, ToolFinished, TurnEnded
from turnlog.protocol.exec_lines import encode_line
from turnlog.protocol.usage import TokenUsage
from turnlog.runtime.engine.session import Session
from turnlog.runtime.scripted_model.rollout import RecordedTurn, Rollout, load_rollout

DATA = Path(__file__).parent.parent / "data"
ROLLOUTS = sorted(path.stem for path in (DATA / "rollouts").glob("*.jsonl"))


def rollout(name: str) -> Rollout:
    return load_rollout(DATA / "rollouts" / f"{name}.jsonl")


def answers(turn: RecordedTurn) -> list[dict[str, Any]]:
    """Return the model's items of a turn, without those of compactions, which are not asked for."""
    return [
        item for response in turn.responses if not response.compaction for item in response.items
    ]


def last_message(turn: RecordedTurn) -> str | None:
    said = [item for item in answers(turn) if item["type"] == "message"]
    return "".join(part.get("text", "") for part in said[-1]["content"]) if said else None


async def run_all(h: House, recorded: Rollout) -> tuple[Session, list[list[Recorded]]]:
    """Run a recorded session's turns; return the session, and the events of each turn."""
    session = await h.start()
    return session, [await play(session, turn.prompt or "continue") for turn in recorded.turns]


@pytest.mark.parametrize("name", ROLLOUTS)
async def test_a_recorded_session_runs_through_the_engine(name: str, tmp_path: Path) -> None:
    recorded = rollout(name)
    async with house(tmp_path, *recorded.script().responses) as h:
        session, turns = await run_all(h, recorded)
        for turn, events in zip(recorded.turns, turns, strict=True):
            ended = the(TurnEnded, events)
            assert (ended.status, ended.last_agent_message) == ("completed", last_message(turn))
        asked = [
            response
            for turn in recorded.turns
            for response in turn.responses
            if not response.compaction
        ]
        assert len(h.server.requests) == len(asked)
        # What the model said is sent again as it said it.
        sent = h.server.requests[-1].body["input"]
        for item in [item for response in asked[:-1] for item in response.items]:
            assert any(item.items() <= part.items() for part in sent), item
        records = await h.events(session)
        assert_sound(records)
        assert len(of(ToolFinished, records)) == len(of(ToolDispatched, records))


# --- the line protocol ----------------------------------------------------------------------------


def printed(stream: ExecStream, events: Iterable[Recorded]) -> list[str]:
    lines = (line for recorded in events for line in stream.take(recorded))
    return [encode_line(line).decode() for line in lines]


def expected(name: str, folder: Path) -> list[str]:
    """Return what the binary printed after its first line, which names the thread."""
    text = (DATA / "exec" / f"{name}.jsonl").read_text().replace("$CWD", str(folder))
    return [f"{line}\n" for line in text.split("\n")[1:] if line]


def without_mcp(lines: Iterable[str]) -> Iterator[str]:
    """Leave the lines of MCP calls out, and number the items that stay from 0."""
    numbers: dict[str, str] = {}
    for line in lines:
        item = json.loads(line).get("item")
        if item is None:
            yield line
        elif item["type"] != "mcp_tool_call":
            # A web search has the key `id` twice; the first one is ours.
            old = line.split('"id":"', 1)[1].split('"', 1)[0]
            new = numbers.setdefault(old, f"item_{len(numbers)}")
            yield line.replace(f'"id":"{old}"', f'"id":"{new}"', 1)


@pytest.mark.parametrize("name", ["text", "mixed", "mcp"])
async def test_its_lines_are_those_that_the_binary_printed(name: str, tmp_path: Path) -> None:
    """MCP tools do not exist yet: the lines of MCP calls are left out, the rest is renumbered."""
    recorded = rollout(name)
    async with house(tmp_path, *recorded.script().responses) as h:
        _, turns = await run_all(h, recorded)
    lines = printed(ExecStream(TokenUsage()), turns[0])
    assert lines == list(without_mcp(expected(name, tmp_path)))


async def test_the_lines_of_a_resumed_session_continue_with_its_usage(tmp_path: Path) -> None:
    recorded = rollout("resume-parent")
    async with house(tmp_path, *recorded.script().responses) as h:
        session = await h.start()
        await play(session, recorded.turns[0].prompt)
        await session.close()
        again = await h.engine.resume(session.id)
        stream = ExecStream(again.usage)
        events = await play(again, recorded.turns[1].prompt)
    assert printed(stream, events) == expected("resume-2", tmp_path)
