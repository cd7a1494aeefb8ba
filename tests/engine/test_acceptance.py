"""Cases of the acceptance lists that need a whole engine: docs/acceptance.md."""

from contextlib import aclosing
from pathlib import Path

import pytest
import trio

from tests.engine.kit import house, kinds, of, outputs, play, shell, the, until
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.events import ApprovalAsked, SessionForked, TurnEnded
from turnlog.protocol.notices import ToolOutputDelta
from turnlog.protocol.ops import prompt
from turnlog.runtime.store.lmdb.log import open_log

DEAF = "trap '' TERM INT HUP; echo ready; while :; do sleep 1000; done"
WILLING = "trap 'exit 0' TERM; echo ready; sleep 1000"


@pytest.mark.parametrize("command", [DEAF, WILLING], ids=["deaf", "willing"])
async def test_an_interrupted_command_gives_one_end_and_no_error(
    command: str, tmp_path: Path
) -> None:
    async with house(tmp_path, shell(command)) as h:
        session = await h.start()
        await session.submit(prompt("go"))
        await until(session, ToolOutputDelta, after=0)
        head = session.head
        with trio.fail_after(60):
            await session.interrupt()
            ended = await until(session, TurnEnded, after=0)
        assert (ended.status, ended.error) == ("interrupted", None)
        after = [kind for kind in kinds(await h.events(session))[head:] if kind != "op_received"]
        assert after[-4:] == ["turn_stopping", "tool_finished", "items_recorded", "turn_ended"]


async def test_a_refused_escalation_names_the_policy_and_the_plain_command_runs(
    tmp_path: Path,
) -> None:
    escalated = shell("echo hi >> ran; cat ran", sandbox_permissions="require_escalated")
    plain = shell("echo hi >> ran; cat ran")
    async with house(tmp_path, escalated, plain, "done", approval_policy="on-failure") as h:
        events = await play(await h.start())
        assert of(ApprovalAsked, events) == []
        refused, ran = outputs(h.server)
        assert refused.startswith("approval policy is on-failure; reject command")
        assert "Process exited with code 0\n" in ran
        assert ran.endswith("Output:\nhi\n")


async def test_a_watcher_sees_the_session_itself_first(tmp_path: Path) -> None:
    async with house(tmp_path, "done") as h:
        session = await h.start()
        await play(session)
        seen: list[str] = []
        async with aclosing(session.watch(after=0)) as publications:
            async for publication in publications:
                if isinstance(publication, Recorded):
                    seen.append(publication.kind)
                    if publication.kind == "turn_ended":
                        break
        assert seen[:2] == ["session_started", "session_opened"]


async def test_a_new_session_can_be_forked_at_once(tmp_path: Path) -> None:
    async with open_log(tmp_path / "store") as log, house(tmp_path, "done", log=log) as h:
        session = await h.start()
        branch = await session.fork()
        records = await h.events(branch)
        assert the(SessionForked, records).parent == session.id
        assert the(TurnEnded, await play(branch)).last_agent_message == "done"
        assert kinds(await h.events(session)) == ["session_started", "session_opened"]


async def test_once_a_session_has_closed_its_log_is_whole(tmp_path: Path) -> None:
    async with house(tmp_path, shell("echo hi"), "done") as h:
        session = await h.start()
        await play(session)
        seen: list[Recorded] = []
        read: list[Recorded] = []

        async def watch() -> None:
            async for publication in session.watch(after=0):
                if isinstance(publication, Recorded):
                    seen.append(publication)
                    if publication.kind == "session_closed":
                        read.extend(await h.events(session))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await session.close()
        assert read == seen
        assert seen[-1].kind == "session_closed"
