"""`turnlog serve-model`: a recorded session is a model that any client can be replayed against."""

import os
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from tests.cli.harness import Line, Started, User
from turnlog.runtime.scripted_model.script import Response, call, message

SHELL = call("exec_command", {"cmd": "cat data", "login": False})
CODEX = os.environ.get("TURNLOG_TEST_CODEX") or shutil.which("codex")


@asynccontextmanager
async def served(user: User, thread: str, *words: str) -> AsyncGenerator[tuple[str, Started]]:
    """Serve a session, and make its server this user's model; yield the base URL."""
    started = user.start("serve-model", thread, *words)
    with trio.fail_after(60):
        text = [await started.read_text() for _ in range(9)]
        user.configure('sandbox_mode = "danger-full-access"\n' + "".join(text[2:]))
        yield text[0].strip(), started
    started.process.kill()
    await started.exit_code()


def without_identity(lines: list[Line]) -> list[Line]:
    return [line for line in lines if line["type"] != "thread.started"]


async def recorded(user: User, *prompts: str) -> str:
    (user.cwd / "data").write_text("what it holds\n")
    async with user.model([SHELL], "All is well.", "And again.", "Still."):
        first, *more = prompts or ("Look around.",)
        thread = (await user.run("exec", "--json", first)).thread
        for prompt in more:
            await user.run("exec", "resume", thread, prompt)
        return thread


async def test_a_client_that_does_the_same_gets_the_same(user: User) -> None:
    (user.cwd / "data").write_text("what it holds\n")
    async with user.model([message("Let me see."), SHELL], "All is well."):
        original = await user.run("exec", "--json", "Look around.")
    async with served(user, original.thread):
        again = await user.run("exec", "--json", "Look around.")
    assert (again.code, again.err) == (0, original.err)
    assert without_identity(again.lines) == without_identity(original.lines)
    assert again.thread != original.thread


async def test_a_session_of_several_turns_is_replayed_turn_by_turn(user: User) -> None:
    thread = await recorded(user, "Look around.", "Once more.", "And again.")
    async with served(user, thread):
        again = [await user.run("exec", "Look around.")]
        for prompt in ("Once more.", "And again."):
            again.append(await user.run("exec", "resume", "--last", prompt))
    assert [outcome.out for outcome in again] == ["All is well.\n", "And again.\n", "Still.\n"]


async def test_another_prompt_gets_409_with_the_place_where_it_differs(user: User) -> None:
    thread = await recorded(user)
    async with served(user, thread) as (url, started):
        body = {"stream": True, "model": "any", "input": "Look away."}
        async with httpx.AsyncClient() as client:
            answer = await client.post(f"{url}/responses", json=body)
        note = await started.read_note()
    assert answer.status_code == 409
    error: dict[str, Any] = answer.json()["error"]
    asked = next(e for e in await user.show(thread) if e["kind"] == "model_asked")
    assert error["code"] == "recording_miss"
    assert (error["miss"]["nearest"], error["miss"]["common"]) == (asked["sequence"], 0)
    assert error["miss"]["what"] == "part 1"
    assert "Look around." in error["miss"]["recorded"]
    assert "Look away." in error["miss"]["asked"]
    assert note.startswith("Miss: the recording holds no such request of the model.")


async def test_each_answer_is_given_once_unless_any_order_is_allowed(user: User) -> None:
    thread = await recorded(user)
    body = {"stream": True, "model": "any", "input": "Look around."}
    async with served(user, thread) as (url, _), httpx.AsyncClient() as client:
        given, again = [await client.post(f"{url}/responses", json=body) for _ in range(2)]
    assert (given.status_code, again.status_code) == (200, 409)
    told = again.json()["error"]["message"]
    assert "recorded: answered already" in told
    assert told.endswith("--any-order answers in any, and again.")
    async with (
        served(user, thread, "--any-order") as (url, _),
        httpx.AsyncClient() as client,
    ):
        answers = [await client.post(f"{url}/responses", json=body) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].text == answers[1].text


async def test_a_recorded_failure_comes_again(user: User) -> None:
    fault = Response(status=503, body={"error": {"message": "no room"}})
    async with user.model(fault) as model:
        original = await user.run("exec", "--json", "go")
        address = model.base_url
    async with served(user, original.thread) as (url, _):
        config = user.home / "config.toml"
        config.write_text(config.read_text() + "request_max_retries = 0\nstream_max_retries = 0\n")
        again = await user.run("exec", "--json", "go")
    assert again.code == original.code == 1
    assert again.out.replace(url, address).split("\n")[1:] == original.out.split("\n")[1:]


@pytest.mark.skipif(CODEX is None, reason="there is no codex: set TURNLOG_TEST_CODEX to one")
async def test_the_real_codex_is_replayed_against_a_recorded_session(
    user: User, tmp_path: Path
) -> None:
    (user.cwd / "data").write_text("what it holds\n")
    quiet = call("exec_command", {"cmd": "cat data", "login": False})
    async with user.model([message("Let me see."), quiet], "All is well."):
        thread = (await user.run("exec", "--json", "Look around.")).thread
    home = tmp_path / "codex-home"
    home.mkdir()
    async with served(user, thread) as (_, started):
        shutil.copy(user.home / "config.toml", home / "config.toml")
        assert CODEX is not None
        done = await trio.run_process(
            [CODEX, "exec", "--skip-git-repo-check", "Look around."],
            cwd=user.cwd,
            env={**user.environment(), "CODEX_HOME": str(home), "PATH": os.environ["PATH"]},
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
        started.process.kill()
    assert done.stdout.decode() == "All is well.\n", done.stderr.decode()
    assert done.returncode == 0
    assert b"what it holds" in done.stderr
