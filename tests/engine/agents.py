"""What tests of agents share: a scripted parent, its agents, and how to read what they did."""

import json
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from tests.engine.kit import House, Says, house, of, shell, until
from turnlog.actors.ports import ItemDone, ModelClient, ModelRequest, ModelSignal
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.events import CallSettled, ChildAsked, ChildEnded
from turnlog.protocol.ids import SessionId
from turnlog.protocol.items import JsonText
from turnlog.runtime.engine.session import Session
from turnlog.runtime.scripted_model.script import Item, Response, call, message

UNTIL_GO: Final = shell("until [ -e go ]; do sleep 0.02; done; echo gone")
LONG: Final = shell("echo $$ > pid; sleep 1000")
WAIT: Final = call("wait_agent", {"targets": ["AGENT1"], "timeout_ms": 60_000})


def only(mark: str, *items: Item | str, **fields: Any) -> Response:  # noqa: ANN401
    """Return a response for the agent whose prompt holds `mark`."""
    made = [message(item) if isinstance(item, str) else item for item in items]
    return Response(items=made, only_for=mark, **fields)


def spawn(prompt: str, **arguments: Any) -> Item:  # noqa: ANN401
    return call("spawn_agent", {"message": prompt, **arguments})


def requests_of(h: House, mark: str) -> list[dict[str, Any]]:
    """Return the bodies of the requests in which a user's message holds `mark`, in order."""
    return [request.body for request in h.server.requests if holds(request.body, mark)]


def holds(body: dict[str, Any], mark: str) -> bool:
    said = [item for item in body["input"] if item.get("role") == "user"]
    return mark in json.dumps(said)


def answers(records: Iterable[Recorded]) -> list[dict[str, Any]]:
    """Return what the session itself answered to calls for agents."""
    settled = of(CallSettled, records)
    return [json.loads(event.output) for event in settled if event.outcome == "answered"]


def children(records: Iterable[Recorded]) -> list[SessionId]:
    """Return a session's children, in the order in which they were made."""
    return list(dict.fromkeys(event.child for event in of(ChildAsked, records)))


def ends(records: Iterable[Recorded]) -> list[tuple[str, str | None]]:
    return [(event.status, event.output) for event in of(ChildEnded, records)]


@attrs.define(eq=False)
class Addressing:
    """A model client that puts agents' ids in the place of AGENT1, AGENT2, ... in calls.

    A script cannot know them. The session that asks has been told them, in answers to its calls.
    """

    model: ModelClient

    async def call(
        self, request: ModelRequest, emit: Callable[[ModelSignal], Awaitable[None]]
    ) -> None:
        said = "\n".join(part for part in request.input if '"function_call_output"' in part)
        agents = list(dict.fromkeys(re.findall(r'"agent_id\\": \\"([^\\]+)\\"', said)))

        async def addressed(signal: ModelSignal) -> None:
            if isinstance(signal, ItemDone):
                text = signal.item_json
                for number, agent in enumerate(agents, 1):
                    text = text.replace(f"AGENT{number}", agent)
                signal = ItemDone(JsonText(text))
            await emit(signal)

        await self.model.call(request, addressed)


@asynccontextmanager
async def led(folder: Path, *script: Says, **options: Any) -> AsyncGenerator[House]:  # noqa: ANN401
    async with house(folder, *script, wrap_model=Addressing, **options) as h:
        yield h


async def child_of(h: House, session: Session, number: int = 1) -> Session:
    """Return the parent's child, once it runs."""
    asked = await until(session, ChildAsked, after=0, number=number)
    await eventually(lambda: h.sessions.running(asked.child) is not None)
    return await h.engine.resume(asked.child)


def notifications(session: Session) -> list[str]:
    return [part for part in session.history() if "<subagent_notification>" in part]


async def eventually(is_so: Callable[[], bool]) -> None:
    """Wait for something that tells nobody when it comes, such as a file."""
    while not is_so():  # noqa: ASYNC110
        await trio.sleep(0.005)
