"""`exec --json` prints what Codex prints: whole outputs are compared with recorded ones."""

import json
import re
from pathlib import Path

import pytest

from tests.cli.harness import Line, User
from turnlog.protocol.version import VERSION
from turnlog.runtime.scripted_model.script import Item, Response, call, custom, message, reasoning

SAMPLES = Path(__file__).parent.parent / "data" / "exec"


def shell(command: str) -> Item:
    return call("exec_command", {"cmd": command})


def patch(*lines: str) -> Item:
    return custom("apply_patch", "\n".join(("*** Begin Patch", *lines, "*** End Patch")))


def plan(*steps: tuple[str, str]) -> Item:
    listed = [{"step": step, "status": status} for step, status in steps]
    return call("update_plan", {"plan": listed})


def web_search(search_id: str, action: Item) -> Item:
    return {"type": "web_search_call", "id": search_id, "status": "completed", "action": action}


SCRIPTS: dict[str, list[Response | list[Item]]] = {
    "text": [[message("Plain answer.")]],
    "reasoning": [[reasoning("**Thinking**\n\nabout it"), message("Answer.")]],
    "shell-fail": [[shell("echo out; echo err >&2; exit 3")], [message("failed")]],
    "patch": [
        [patch("*** Add File: hello.txt", "+hello")],
        [
            patch(
                "*** Update File: hello.txt",
                "@@",
                "-hello",
                "+hello world",
                "*** Add File: sub/new.txt",
                "+new",
            )
        ],
        [
            patch(
                "*** Delete File: sub/new.txt",
                "*** Update File: hello.txt",
                "*** Move to: moved.txt",
                "@@",
                "-hello world",
                "+moved",
            )
        ],
        [message("patched")],
    ],
    "plan": [
        [plan(("look", "in_progress"), ("write", "pending"))],
        [plan(("look", "completed"), ("write", "in_progress"))],
        [message("planned")],
    ],
    "web-search": [
        [
            web_search(
                "ws_1",
                {
                    "type": "search",
                    "query": "trio nursery",
                    "queries": ["trio nursery", "trio cancel scope"],
                },
            ),
            web_search("ws_2", {"type": "open_page", "url": "https://example.com/a"}),
            message("found"),
        ]
    ],
    "fail-500": [Response(status=500, repeat=6)],
    "fail-cut": [Response(items=[message("lost")], cut_after=1, repeat=3)],
}


def sample(name: str, cwd: Path) -> str:
    """Return a recorded output for work in `cwd`, without its thread's id."""
    text = (SAMPLES / f"{name}.jsonl").read_text()
    return without_id(text.replace("$CWD", str(cwd)))


def without_id(out: str) -> str:
    thread_id = json.loads(out.partition("\n")[0])["thread_id"]
    return out.replace(thread_id, "ID")


def without_codes(out: str) -> str:
    """Return an output without the one field that Codex does not print: an error's code."""
    return re.sub(r',"code":"[a-z_]+"(?=}+$)', "", out, flags=re.MULTILINE)


@pytest.mark.parametrize("name", SCRIPTS)
async def test_a_run_prints_exactly_the_recorded_lines(user: User, name: str) -> None:
    async with user.model(*SCRIPTS[name], request_retries=1, stream_retries=2):
        outcome = await user.run("exec", "--json", "go")
    assert without_codes(without_id(outcome.out)) == sample(name, user.cwd)
    assert outcome.code == (1 if name.startswith("fail") else 0)


async def test_each_error_of_a_run_has_its_code(user: User) -> None:
    overloaded = Response(status=500, repeat=6)
    async with user.model(overloaded, request_retries=1, stream_retries=2):
        lines = (await user.run("exec", "--json", "go")).lines
    said = [(line["type"], line.get("error", line)["code"]) for line in lines[2:]]
    assert said == [*[("error", "server_error")] * 3, ("turn.failed", "server_error")]


async def test_parallel_commands_are_shown_as_recorded_whatever_their_order(user: User) -> None:
    commands = ("sleep 0.5; echo one", "sleep 0.2; echo two", "echo three")
    async with user.model([shell(command) for command in commands], "three ran"):
        outcome = await user.run("exec", "--json", "go")
    recorded = [json.loads(line) for line in sample("shell-parallel", user.cwd).splitlines()]
    ours = [json.loads(line) for line in without_id(outcome.out).splitlines()]
    assert ours[:2] + ours[-2:] == recorded[:2] + recorded[-2:]

    def by_command(lines: list[Line], kind: str) -> dict[str, Line]:
        items = [line["item"] for line in lines if line["type"] == kind and "command" in str(line)]
        return {item["command"]: {**item, "id": ""} for item in items}

    for kind in ("item.started", "item.completed"):
        assert by_command(ours, kind) == by_command(recorded, kind)
    started = [line["item"]["id"] for line in ours if line["type"] == "item.started"]
    assert started == ["item_0", "item_1", "item_2"]


async def test_a_resumed_thread_continues_with_its_usage_and_counts_items_again(user: User) -> None:
    longer = Response(items=[message("turn one")]), Response(items=[message("turn two")], repeat=2)
    async with user.model(*longer):
        first = await user.run("exec", "--json", "one")
        second = await user.run("exec", "--json", "resume", first.thread, "two")
        third = await user.run("exec", "--json", "resume", "--last", "two again")
    assert {first.thread, second.thread, third.thread} == {first.thread}
    assert without_id(third.out) == sample("resume-2", user.cwd)
    assert second.lines[-1]["usage"]["input_tokens"] == 200


async def test_options_stand_before_resume_and_images_after_it_as_an_sdk_writes_them(
    user: User,
) -> None:
    image = user.root / "dot.png"
    image.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(8))
    other = user.root / "elsewhere"
    other.mkdir()
    async with user.model("one", "two") as server:
        first = await user.run("exec", "--experimental-json", stdin=b"first")
        second = await user.run(
            *("exec", "--experimental-json", "--model", "other", "--sandbox", "read-only"),
            *("--cd", str(other), "--skip-git-repo-check"),
            *(
                "--config",
                'model_reasoning_effort="high"',
                "--config",
                'approval_policy="untrusted"',
            ),
            *("resume", first.thread, "--image", str(image)),
            stdin=b"second",
            env={"CODEX_INTERNAL_ORIGINATOR_OVERRIDE": "codex_sdk_ts"},
        )
        asked = server.requests[1]
    assert (second.code, second.thread) == (0, first.thread)
    assert (asked.body["model"], asked.body["reasoning"]["effort"]) == ("other", "high")
    assert asked.headers["originator"] == "codex_sdk_ts"
    parts = asked.body["input"][-1]["content"]
    assert [part["type"] for part in parts] == [
        *("input_text", "input_image", "input_text", "input_text")
    ]
    assert parts[-1]["text"] == "second"
    received = next(
        e
        for e in (await user.show(first.thread))[::-1]
        if e["kind"] == "op_received" and "items" in e["event"]["op"]
    )
    update = received["event"]["op"]["update"]
    assert (update["cwd"], update["sandbox"]["mode"]) == (str(other), "read-only")
    assert update["approval_policy"] == "never"


async def test_an_output_schema_goes_to_the_model_and_the_answer_to_a_file(user: User) -> None:
    schema, last = user.root / "schema.json", user.root / "last.txt"
    schema.write_text('{"type": "object"}')
    words = ("exec", "--output-schema", str(schema), "-o", str(last), "go")
    async with user.model('{"a": 1}', Response(status=400)) as server:
        outcome = await user.run(*words)
        failed = await user.run(*words)
        sent = server.requests[0].body["text"]["format"]
    assert sent == {
        "type": "json_schema",
        "strict": True,
        "schema": {"type": "object"},
        "name": "codex_output_schema",
    }
    assert (outcome.code, outcome.out, failed.code, failed.out) == (0, '{"a": 1}\n', 1, "")
    assert last.read_text() == '{"a": 1}'


async def test_for_a_person_only_the_last_message_goes_to_stdout(user: User) -> None:
    said = [message("Let me look."), shell("echo seen; exit 3")]
    async with user.model(said, [plan(("look", "completed"))], "It is there."):
        outcome = await user.run("exec", "look")
    assert (outcome.code, outcome.out) == (0, "It is there.\n")
    (row,) = (await user.run("sessions", "--json")).lines
    assert outcome.err.splitlines() == [
        "Reading additional input from stdin...",
        f"turnlog {VERSION}",
        "--------",
        f"workdir: {user.cwd}",
        "model: scripted",
        "provider: local",
        "approval: never",
        "sandbox: danger-full-access",
        f"session id: {row['id']}",
        "--------",
        "Let me look.",
        "$ /bin/bash -lc 'echo seen; exit 3'",
        "seen",
        "exit code 3",
        "[x] look",
        "tokens: 300 in (120 cached), 30 out",
        f"To continue this session: turnlog exec resume {row['id']}",
    ]


async def test_a_person_is_told_of_each_call_that_failed_or_was_refused_and_why(user: User) -> None:
    calls = [
        call("no_such_tool", {}),
        call("exec_command", {"wrong": 1}),
        custom("apply_patch", "*** Begin Patch\n*** Delete File: none\n*** End Patch"),
    ]
    async with user.model(calls, "All done."):
        outcome = await user.run("exec", "go")
    assert (outcome.code, outcome.out) == (0, "All done.\n")
    told = outcome.err
    assert "no_such_tool refused: unsupported call: no_such_tool\n" in told
    assert "exec_command refused: " in told
    assert "apply_patch failed: " in told or "apply_patch refused: " in told


async def test_the_header_says_what_a_resumed_session_works_with_now(user: User) -> None:
    async with user.model("one", "two"):
        thread = (await user.run("exec", "--json", "go")).thread
        outcome = await user.run("exec", "resume", thread, "on", "-m", "other", "-s", "read-only")
    assert "model: other\nprovider: local\napproval: never\nsandbox: read-only\n" in outcome.err


async def test_what_is_not_kept_is_not_said_to_be_resumable(user: User) -> None:
    async with user.model("one"):
        outcome = await user.run("exec", "--ephemeral", "go")
    assert "To continue" not in outcome.err


async def test_a_failed_turn_is_an_error_with_a_code_and_nothing_on_stdout(user: User) -> None:
    async with user.model(Response(status=500, repeat=2), stream_retries=1):
        outcome = await user.run("exec", "go")
    (row,) = (await user.run("sessions", "--json")).lines
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.splitlines()[-3:] == [
        "Reconnecting... 1/1 (We\u2019re currently experiencing high demand, which may cause "
        "temporary errors.)",
        f"To continue this session: turnlog exec resume {row['id']}",
        "Error: We\u2019re currently experiencing high demand, which may cause temporary errors. "
        "[server_error]",
    ]


async def test_warnings_are_items_before_the_turn_begins(user: User) -> None:
    (user.cwd / ".turnlog").mkdir()
    (user.cwd / ".turnlog" / "config.toml").write_text('model = "of the project"')
    async with user.model("done"):
        outcome = await user.run("exec", "--json", "go")
    kinds = [(line["type"], line.get("item", {}).get("type")) for line in outcome.lines]
    assert kinds == [
        ("thread.started", None),
        ("item.completed", "error"),
        ("turn.started", None),
        ("item.completed", "agent_message"),
        ("turn.completed", None),
    ]
    assert [line["item"]["id"] for line in outcome.lines if "item" in line] == ["item_0", "item_1"]
    assert "is not trusted" in outcome.lines[1]["item"]["message"]


async def test_an_ephemeral_run_leaves_no_store(user: User) -> None:
    async with user.model("done"):
        outcome = await user.run("exec", "--json", "--ephemeral", "go")
    assert (outcome.code, outcome.lines[-1]["type"]) == (0, "turn.completed")
    assert not (user.home / "store").exists()


@pytest.mark.parametrize("separator", ["\u2028", "\x85"])
async def test_only_a_line_feed_ends_a_line(user: User, separator: str) -> None:
    async with user.model(f"a{separator}ü"):
        outcome = await user.run("exec", "--json", "go")
    assert f'"text":"a{separator}ü"' in outcome.out
    assert outcome.lines[2]["item"]["text"] == f"a{separator}ü"
