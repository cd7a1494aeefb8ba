"""Continuing a session: after a kill, with and without a prompt, and from a branch."""

import signal

import pytest

from tests.cli.harness import Line, Started, User, is_running
from turnlog.runtime.scripted_model.script import Response, call, message


def kinds(events: list[Line]) -> list[str]:
    return [event["kind"] for event in events]


async def killed_while_a_command_runs(user: User) -> str:
    """Run a command that takes ten minutes, and kill -9 the engine. It is ended at the resume."""
    thread, _ = await left_running(user)
    return thread


async def left_running(user: User) -> tuple[str, int]:
    """As `killed_while_a_command_runs`; return the process of the command, too."""
    pipe = user.pipe()
    user.root.joinpath("command.sh").write_text(f"{pipe.writes_pid}; exec sleep 600")
    started = user.start("exec", "--json", "deploy")
    thread: str = (await started.read_line())["thread_id"]
    pid = await pipe.read_pid()
    await started.read_until("item.started")
    started.signal(signal.SIGKILL)
    await started.exit_code()
    return thread, pid


DEPLOY = [
    message("Deploying."),
    call("exec_command", {"cmd": "sh ../command.sh", "login": False}),
]


async def test_a_thread_that_is_announced_is_on_disk_with_its_prompt(user: User) -> None:
    async with user.model(Response(no_answer="stall")):
        started = user.start("exec", "--json", "where is it?")
        thread: str = (await started.read_line())["thread_id"]
        started.signal(signal.SIGKILL)
        await started.exit_code()
    prompts = [e["event"]["op"] for e in await user.show(thread) if e["kind"] == "op_received"]
    async with user.model("Here it is."):
        outcome = await user.run("exec", "resume", thread)
    assert prompts == [
        {
            "type": "user_turn",
            "items": [{"type": "text", "text": "where is it?"}],
            "update": {},
        }
    ]
    assert (outcome.code, outcome.out) == (0, "Here it is.\n")


async def test_without_a_prompt_the_turn_that_was_cut_off_is_continued(user: User) -> None:
    async with user.model(DEPLOY, "It was stopped.") as server:
        thread = await killed_while_a_command_runs(user)
        outcome = await user.run("exec", "--json", "resume", thread)
        told = server.requests[1].body["input"][-1]
        shown = await user.show(thread)
    assert outcome.code == 0
    assert outcome.lines == [
        {"type": "thread.started", "thread_id": thread},
        {"type": "turn.started"},
        {
            "type": "item.completed",
            "item": {"id": "item_0", "type": "agent_message", "text": "It was stopped."},
        },
        {"type": "turn.completed", "usage": outcome.lines[-1]["usage"]},
    ]
    assert outcome.lines[-1]["usage"]["input_tokens"] == 200
    assert "stopped while it was running" in told["output"]
    assert kinds(shown).count("tool_started") == 1
    assert kinds(shown).count("turn_opened") == 1


async def test_a_command_whose_engine_was_killed_is_gone_before_the_model_is_told_so(
    user: User,
) -> None:
    async with user.model(DEPLOY, "So it was.") as server:
        thread, pid = await left_running(user)
        outcome = await user.run("exec", "resume", thread)
        assert not is_running(pid)
    assert outcome.code == 0
    assert "stopped while it was running" in str(server.requests[1].body["input"])


async def test_a_prompt_comes_after_what_was_under_way(user: User) -> None:
    async with user.model(DEPLOY, "Stopped, I see.", "Leaving it.") as server:
        thread = await killed_while_a_command_runs(user)
        outcome = await user.run("exec", "--json", "resume", thread, "leave it")
        last = server.requests[-1].body["input"]
    texts = [line["item"]["text"] for line in outcome.lines if line["type"] == "item.completed"]
    assert (outcome.code, texts[-1]) == (0, "Leaving it.")
    assert [line["type"] for line in outcome.lines].count("turn.completed") == 1
    assert last[-1]["content"][-1]["text"] == "leave it"


async def test_a_turn_that_recovery_interrupts_does_not_fail_the_next(user: User) -> None:
    async with user.model(DEPLOY, "Another thing."):
        thread = await killed_while_a_command_runs(user)
        outcome = await user.run(
            "exec", "--json", "-c", "on_recovery=interrupt", "resume", thread, "else"
        )
    assert outcome.code == 0
    assert [line["type"] for line in outcome.lines] == [
        "thread.started",
        "turn.started",
        "item.completed",
        "turn.completed",
    ]


async def test_with_nothing_to_continue_the_session_is_not_touched(user: User) -> None:
    async with user.model("done"):
        first = await user.run("exec", "--json", "go")
        before = await user.show(first.thread)
        outcome = await user.run("exec", "resume", first.thread[:-2])
        after = await user.show(first.thread)
    assert (outcome.code, outcome.out, after) == (1, "", before)
    assert "there is nothing to continue. Give a prompt" in outcome.err
    assert outcome.err.endswith("[nothing_to_continue]\n")


async def test_the_last_session_is_the_newest_of_this_folder(user: User) -> None:
    other = user.root / "other"
    other.mkdir()
    async with user.model("one", "two", "three"):
        here = await user.run("exec", "--json", "one")
        await user.run("exec", "--json", "-C", str(other), "two")
        outcome = await user.run("exec", "--json", "resume", "--last", "three")
        nowhere = await user.run("exec", "-C", str(user.root), "resume", "--last", "four")
    assert (outcome.code, outcome.thread) == (0, here.thread)
    assert (nowhere.code, nowhere.out) == (1, "")
    assert f"no session has worked in {user.root}" in nowhere.err


async def test_neither_an_agent_nor_an_archived_session_is_the_last_one(user: User) -> None:
    agent = Response(items=[message("Dug.")], only_for="AGENT")
    spawn = [call("spawn_agent", {"message": "AGENT, dig"})]
    async with user.model(spawn, "Waiting.", "It dug.", "Archived.", "Here.", agent):
        wanted = (await user.run("exec", "--json", "go")).thread
        archived = (await user.run("exec", "--json", "later")).thread
        assert (await user.run("archive", archived)).code == 0
        outcome = await user.run("exec", "--json", "resume", "--last", "continue")
    assert (outcome.code, outcome.thread) == (0, wanted)


async def test_settings_of_the_command_line_hold_from_then_on_in_a_session_that_continues(
    user: User,
) -> None:
    chosen = {
        "agents.max_threads": "0",
        "developer_instructions": '"Be brief."',
        "model_verbosity": '"low"',
        "model_auto_compact_token_limit": "5000",
        "undo.scan_workspace": "true",
    }
    options = [word for key, value in chosen.items() for word in ("-c", f"{key}={value}")]
    async with user.model("one", "two", "three") as server:
        thread = (await user.run("exec", "--json", "one")).thread
        await user.run("exec", *options, "resume", thread, "two")
        await user.run("exec", "resume", thread, "three")
        first, *later = [request.body for request in server.requests]
        (shown,) = (await user.run("show", thread, "--at", "-1", "--json")).lines
    assert "spawn_agent" in str(first["tools"])
    assert "Be brief." not in str(first)
    assert len(later) == 2
    for body in later:
        assert "spawn_agent" not in str(body["tools"])
        assert "Be brief." in str(body["input"])
        assert body["text"] == {"verbosity": "low"}
    settings = shown["state"]["settings"]
    assert (settings["model_auto_compact_token_limit"], settings["scan_workspace"]) == (5000, True)


async def test_a_branch_continues_from_its_parents_usage_and_leaves_it_alone(user: User) -> None:
    async with user.model("one", "two"):
        parent = await user.run("exec", "--json", "one")
        before = await user.show(parent.thread)
        alone = await user.run("exec", "--json", "fork", parent.thread)
        branch = await user.run("exec", "--json", "fork", parent.thread, "--at", "12", "two")
        assert await user.show(parent.thread) == before
    assert alone.lines == [{"type": "thread.started", "thread_id": alone.thread}]
    assert branch.lines[-1]["usage"]["input_tokens"] == 200
    assert len({parent.thread, alone.thread, branch.thread}) == 3


async def test_a_session_that_another_process_runs_is_busy(user: User) -> None:
    pipe = user.pipe()
    user.root.joinpath("command.sh").write_text(f"{pipe.writes_pid}; exec sleep 600")
    async with user.model(DEPLOY):
        started: Started = user.start("exec", "--json", "deploy")
        thread: str = (await started.read_line())["thread_id"]
        await pipe.read_pid()
        outcome = await user.run("exec", "resume", thread, "me too")
        deleted = await user.run("delete", "--yes", thread)
        started.signal(signal.SIGTERM)
        assert await started.exit_code() == 143
    assert (outcome.code, outcome.out, deleted.code) == (1, "", 1)
    for told in (outcome.err, deleted.err):
        assert f"session {thread} is open in process {started.process.pid} on " in told
        assert told.rstrip().endswith("[session_busy]")


@pytest.mark.parametrize(
    "words",
    [
        ("resume",),
        ("fork",),
        ("fix", "it"),
        ("--last", "go"),
        ("--at", "3", "go"),
        ("--ephemeral", "resume", "x"),
        ("--sandbox", "open", "go"),
        ("--jsn", "go"),
    ],
)
async def test_a_wrong_command_line_is_a_usage_error(user: User, words: tuple[str, ...]) -> None:
    outcome = await user.run("exec", *words)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("Usage: turnlog exec ")
