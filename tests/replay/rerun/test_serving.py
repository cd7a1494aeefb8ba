"""A recorded session as a server: a real client reads from it what it read from the real one."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec import structs

from tests.engine.kit import House, configured, house, of, play, shell, until
from turnlog.protocol.calls import ModelFailure
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.events import (
    Compacted,
    ModelCompleted,
    ModelFailed,
    ModelItemReceived,
    RateLimitsReceived,
    TurnEnded,
)
from turnlog.protocol.ops import Compact
from turnlog.protocol.usage import RateLimits, RateLimitWindow, TokenUsage
from turnlog.replay.rerun.recording import record_ports
from turnlog.replay.rerun.serve import RecordedPlayer, serve_recording
from turnlog.runtime.assembly import model_client
from turnlog.runtime.scripted_model.script import Failure, Response, message, reasoning

LIMITS = RateLimits(RateLimitWindow(12.5, 300, 1_800_000_000), None)


async def recorded(h: House) -> list[Recorded]:
    session = await h.start()
    await play(session)
    return await h.events(session)


async def served_again(folder: Path, records: list[Recorded]) -> list[Recorded]:
    """Run the same session against what is served of it; return its events."""
    missed: list[str] = []
    player = RecordedPlayer(record_ports(records).exchanges, report=missed.append)
    async with serve_recording(player) as server:
        address = model_client(configured(server.base_url), {}, "test")
        async with house(folder, wrap_model=lambda _: address) as h:
            again = await recorded(h)
    assert missed == []
    return again


def said(failure: ModelFailure) -> ModelFailure:
    """Return a failure without the address that it names."""
    return structs.replace(failure, message=failure.message.partition(", url: ")[0])


def heard(records: list[Recorded]) -> list[Any]:
    """Return what the client was told, attempt by attempt."""
    found: list[Any] = []
    for record in records:
        match record.event:
            case ModelItemReceived(item_json=text):
                found.append(text)
            case ModelFailed(failure=failure, partial_text=partial):
                found.append((said(failure), partial))
            case ModelCompleted(response_id=response_id, usage=usage):
                found.append((response_id, usage))
            case _:
                pass
    return found


@pytest.mark.parametrize(
    "fault",
    [
        Response(items=[message("cut off in the middle of it, and more")], cut_after=6),
        Response(items=[message("whole"), message("never seen")], cut_after=8),
        Response(items=[shell("echo acted on"), message("cut")], cut_after=9),
        Response(status=500),
        Response(status=503, body={"error": {"message": "no room"}}),
        Response(status=429, headers={"retry-after-ms": "15"}),
        Response(status=401),
        Response(status=418, body="a teapot"),
        Response(status=400, body="not like that"),
        Response(status=429, body={"error": {"type": "usage_limit_reached", "message": "no"}}),
        Response(failed=Failure(code="rate_limit_exceeded", message="try again in 20ms")),
        Response(failed=Failure(code="context_length_exceeded", message="too long")),
        Response(failed=Failure(code="insufficient_quota", message="no money")),
        Response(failed=Failure(code="invalid_prompt", message="not that")),
        Response(failed=Failure(code="server_is_overloaded", message="busy")),
        Response(items=[message("some of it")], failed=Failure(code="whatever", message="so")),
        Response(items=[message("a")], incomplete="max_output_tokens"),
        Response(no_answer="cut"),
        Response(items=[shell("echo one")], garbage_after=4),
    ],
)
async def test_a_failure_comes_again(tmp_path: Path, fault: Response) -> None:
    async with house(tmp_path, fault, "done") as h:
        records = await recorded(h)
    assert of(ModelFailed, records)
    again = await served_again(tmp_path, records)
    assert heard(again) == heard(records)


async def test_items_usage_and_limits_come_again(tmp_path: Path) -> None:
    first = Response(
        items=[reasoning("a", "b", encrypted_content="xyz"), message("so"), shell("echo x")],
        usage=TokenUsage(1, 2, 3, 4, 5),
        rate_limits=LIMITS,
    )
    async with house(tmp_path, first, Response(items=[message("done")], usage=None)) as h:
        records = await recorded(h)
    again = await served_again(tmp_path, records)
    assert heard(again) == heard(records)
    assert [fact.limits for fact in of(RateLimitsReceived, again)] == [LIMITS]


async def test_the_models_of_the_recording_are_listed(tmp_path: Path) -> None:
    async with house(tmp_path, "hello") as h:
        records = await recorded(h)
    player = RecordedPlayer(record_ports(records).exchanges)
    model = player.exchanges[0].settings.session.model
    async with serve_recording(player) as server, httpx.AsyncClient() as client:
        answer = await client.get(f"{server.base_url}/models")
    assert answer.json() == {"object": "list", "data": [{"id": model, "object": "model"}]}


async def test_a_summary_is_served_again(tmp_path: Path) -> None:
    async def compacted(h: House) -> list[Recorded]:
        session = await h.start()
        await play(session)
        head = session.head
        await session.submit(Compact())
        await until(session, TurnEnded, after=head)
        return await h.events(session)

    summary = Response(items=[message("what matters")], compaction=True)
    async with house(tmp_path, "a long story " * 100, summary) as h:
        records = await compacted(h)
    player = RecordedPlayer(record_ports(records).exchanges)
    async with serve_recording(player) as server:
        address = model_client(configured(server.base_url), {}, "test")
        async with house(tmp_path, wrap_model=lambda _: address) as h:
            again = await compacted(h)
    assert [one.parts for one in of(Compacted, again)] == [
        one.parts for one in of(Compacted, records)
    ]
