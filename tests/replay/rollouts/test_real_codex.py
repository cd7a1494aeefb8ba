"""The real Codex: what it recorded goes in, and what goes out it resumes."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.harness import Outcome, User
from tests.replay.rollouts import kit
from tests.replay.rollouts.codex import PATCH, Codex, Run, needs_codex
from turnlog.actors.core.texts import TURN_ABORTED
from turnlog.replay.verify.stored import replay_session
from turnlog.runtime.scripted_model.script import Response, call, custom, message
from turnlog.runtime.scripted_model.server import ScriptedServer

pytestmark = needs_codex


@pytest.fixture
def codex(tmp_path: Path) -> Codex:
    return Codex(tmp_path / "theirs")


@pytest.fixture
def user(tmp_path: Path) -> Any:  # noqa: ANN401
    user = User(tmp_path / "ours")
    user.root.mkdir()
    user.home.mkdir()
    user.cwd.mkdir()
    yield user
    user.leave()


async def imports(user: User, *files: Path) -> list[dict[str, Any]]:
    """Import files; return the line of each, once its session has replayed without a difference."""
    done = await user.run("import", "--json", *map(str, files))
    assert (done.code, done.err) == (0, "")
    for line in done.lines:
        await replays(user, line["session"])
    return done.lines


async def replays(user: User, session: str) -> None:
    report = replay_session(session, home=user.home)
    assert list(report.divergences) == []
    assert report.events > 0


async def conversation(user: User, session: str) -> list[dict[str, Any]]:
    done = await user.run("history", session, "--json")
    assert done.code == 0, done.err
    return [_nameless(one) for one in json.loads(done.out)]


def sent(server: ScriptedServer) -> list[dict[str, Any]]:
    """Return the conversation of the last request. Codex names some items again each time."""
    return [_nameless(one) for one in server.requests[-1].body["input"]]


def _nameless(one: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in one.items() if name not in ("id", "status")}


def same(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    """Check that two conversations are one.

    Of its own instructions, the first message, Codex takes some lines out as it sends them.
    """
    first, sent = (one[0]["content"][0]["text"].split("\n") for one in (ours, theirs))
    assert set(sent) <= set(first)
    assert len(first) - len(sent) < 5
    assert ours[1:] == theirs[1:]


def split(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a conversation in which a message of several parts is as many messages."""
    found: list[dict[str, Any]] = []
    for one in parts:
        pieces: list[dict[str, Any]] = one.get("content") or []
        if one["type"] == "message" and len(pieces) > 1:
            found += [kit.message(one["role"], piece["text"]) for piece in pieces]
        else:
            found.append(one)
    return found


async def resumed(codex: Codex, user: User, session: str) -> list[dict[str, Any]]:
    """Export a session to a Codex that knows nothing, resume it, and return what it then sent."""
    codex.forget()
    codex.sessions.mkdir()
    out = await user.run("export", session, "--format", "codex", "-o", str(codex.sessions))
    assert out.code == 0, out.err
    async with codex.model(message("resumed")) as server:
        run = await codex.run("resume", session, "continue")
        assert (run.code, run.thread) == (0, session), run.err
        return sent(server)


async def test_a_recorded_session_is_imported_forked_exported_and_resumed(
    codex: Codex, user: User
) -> None:
    async with codex.model(
        call("exec_command", {"cmd": "echo one", "login": False}),
        custom("apply_patch", PATCH),
        message("first done"),
        message("second done"),
    ) as server:
        first = await codex.run("first prompt")
        second: Run = await codex.run("resume", first.thread, "second prompt")
        last = sent(server)
    [rollout] = codex.rollouts()
    lines = [json.loads(line) for line in rollout.read_text().split("\n") if line]

    [line] = await imports(user, rollout)
    report = line["report"]
    assert line["session"] == first.thread
    assert report["turns"] == 2
    assert report["lines"] == len(lines)
    assert report["items"] == sum(one["type"] == "response_item" for one in lines)
    assert report["skipped"] == []
    assert {name: report["usage"][name] for name in second.usage} == second.usage
    ours = await conversation(user, first.thread)
    same(ours[:-1], split(last))
    assert ours[-1]["content"][0]["text"] == "second done"

    fork: Outcome = await user.run("fork", first.thread)
    await replays(user, fork.out.strip())
    for session in (first.thread, fork.out.strip()):
        theirs = await resumed(codex, user, session)
        same(ours, theirs[: len(ours)])
        assert theirs[-1] == kit.message("user", "continue")


async def test_a_fork_by_reference_and_an_interrupted_turn_go_in_and_out(
    codex: Codex, user: User
) -> None:
    async with codex.model(
        call("exec_command", {"cmd": "echo begun; sleep 600", "login": False}),
        message("in the fork"),
    ):
        await codex.interrupted("run something long", at="command_execution")
        [parent] = codex.rollouts()
        thread = json.loads(parent.read_text().split("\n")[0])["payload"]["id"]
        fork = await codex.run("fork", thread, "fork prompt")
    files = codex.rollouts()
    assert len(files) == 2

    child, _ = await imports(user, *reversed(files))
    assert (child["session"], child["report"]["forked_from"]) == (fork.thread, thread)
    ours = await conversation(user, fork.thread)
    assert kit.message("user", TURN_ABORTED) in ours
    theirs = await resumed(codex, user, fork.thread)
    same(ours, theirs[: len(ours)])


async def test_a_session_of_our_own_is_resumed_by_codex(codex: Codex, user: User) -> None:
    async with user.model(
        [call("exec_command", {"cmd": "echo from turnlog; exit 2"})],
        [custom("apply_patch", PATCH)],
        message("made"),
        Response(status=400),
        message("made again"),
    ):
        first = await user.run("exec", "--json", "make it")
        assert first.code == 0, first.err
        assert (await user.run("exec", "resume", first.thread, "this fails")).code == 1
        assert (await user.run("exec", "resume", first.thread, "again")).code == 0
    ours = await conversation(user, first.thread)
    async with codex.model(message("x")):
        pass
    theirs = await resumed(codex, user, first.thread)
    same(ours, theirs[: len(ours)])

    # And back: under the id that it has, it is there already.
    [rollout] = codex.rollouts()
    again = await user.run("import", str(rollout))
    assert (again.code, "session_exists" in again.err) == (1, True)
    copy = await user.run("import", "--new-id", str(rollout))
    assert (await conversation(user, copy.out.strip()))[: len(ours)] == ours
