"""The commands that look: sessions, show, history, doctor, config, schema; and fork and delete."""

import json
import re
from typing import Any

import jsonschema
import pytest
import trio

from tests.cli.harness import User
from turnlog.protocol.schema import json_schema
from turnlog.runtime.scripted_model.script import call

FIELDS = ("sequence", "time", "role", "kind", "digest", "turn", "event")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[User, str]:
    """Return a user with one session: a turn with a command, whose output moves the cursor."""
    user = User(tmp_path_factory.mktemp("reading"))
    user.home.mkdir()
    user.cwd.mkdir()

    async def run() -> str:
        command = call("exec_command", {"cmd": "printf 'a\\033[2Jb'", "login": False})
        async with user.model([command], "All is well.\nSecond line."):
            return (await user.run("exec", "--json", "Look around, please.")).thread

    return user, trio.run(run)


async def test_sessions_are_listed_for_people_and_for_programs(told: tuple[User, str]) -> None:
    user, thread = told
    people = await user.run("sessions")
    [row] = (await user.run("sessions", "--json")).lines
    heading, line = people.out.splitlines()
    assert heading.split() == ["ID", "UPDATED", "TURNS", "STATUS", "TITLE"]
    assert line.startswith(f"{thread[-8:]}  ")
    assert line.endswith("1  idle         Look around, please.")
    times = row.pop("created"), row.pop("updated")
    assert times == tuple(sorted(times))
    assert row == {
        "id": thread,
        "title": "Look around, please.",
        "cwd": str(user.cwd),
        "model": "scripted",
        "turns": 1,
        "status": "idle",
        "parent": None,
        "cut": 0,
        "spawned_by": None,
        "name": "",
        "archived": False,
    }


async def test_events_are_lines_of_the_published_schema(told: tuple[User, str]) -> None:
    user, thread = told
    events = await user.show(thread)
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert {tuple(event) for event in events} == {FIELDS}
    schema: dict[str, Any] = json_schema()
    validator: Any = jsonschema.Draft202012Validator(
        {**schema["$defs"]["Record"], "$defs": schema["$defs"]}
    )
    for event in events:
        validator.validate(event)
    part = await user.run("show", thread, "--json", "--after", "3", "--limit", "2")
    assert part.lines == events[3:5]


async def test_the_timeline_has_a_line_for_each_event_and_obeys_no_escape(
    told: tuple[User, str],
) -> None:
    user, thread = told
    outcome = await user.run("show", thread[:20])
    day, *lines = outcome.out.splitlines()
    events = await user.show(thread)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", day)
    assert len(lines) == len(events)
    for line, event in zip(lines, events, strict=True):
        mark = "●" if event["role"] == "fact" else "→"
        assert line.split()[1:4] == [str(event["sequence"]), mark, event["kind"]]
    assert any("exit code 0" in line and "a\ufffd[2Jb" in line for line in lines)
    assert "\033" not in outcome.out


async def test_history_is_what_the_model_was_sent(user: User) -> None:
    async with user.model([call("exec_command", {"cmd": "true", "login": False})], "ok") as server:
        thread = (await user.run("exec", "--json", "go")).thread
        sent = [request.body["input"] for request in server.requests]
    asked = [e["sequence"] for e in await user.show(thread) if e["kind"] == "model_asked"]
    for sequence, expected in zip(asked, sent, strict=True):
        outcome = await user.run("history", thread, "--at", str(sequence), "--json")
        assert json.loads(outcome.out) == expected
    whole = await user.run("history", thread)
    assert whole.out.endswith("--- 7\nassistant: ok\n")
    last = await user.run("history", thread, "--at", "-1")
    assert last.out == whole.out
    none_yet = await user.run("history", thread, "--at", "1")
    assert (none_yet.code, none_yet.out) == (0, "Nothing: there is no conversation yet.\n")
    beyond = await user.run("history", thread, "--at", "999")
    assert (beyond.code, beyond.out) == (1, "")
    assert beyond.err.endswith("[sequence_out_of_range]\n")


async def test_a_fork_prints_its_id_and_says_where_it_was_cut(told: tuple[User, str]) -> None:
    user, thread = told
    events = await user.show(thread)
    inside = next(e["sequence"] for e in events if e["kind"] == "turn_opened")
    outcome = await user.run("fork", thread[:18], "--at", str(inside))
    child = outcome.out.removesuffix("\n")
    assert (len(child), "\n" in child) == (len(thread), False)
    assert f"Event {inside} is inside of a step; cut at its end, event {inside + 1}." in outcome.err
    assert (await user.show(child))[: inside + 1] == events[: inside + 1]
    ambiguous = await user.run("show", thread[0])
    assert (ambiguous.code, ambiguous.out) == (1, "")
    assert ambiguous.err.endswith("[ambiguous_session]\n")
    gone = await user.run("delete", "--yes", child)
    assert (gone.code, gone.out, gone.err) == (0, "", f"Deleted session {child}.\n")
    assert (await user.run("show", child)).err.endswith("[session_not_found]\n")


async def test_without_a_store_there_is_nothing_and_nothing_is_made(user: User) -> None:
    listed = await user.run("sessions")
    assert (listed.code, listed.out) == (0, "")
    assert listed.err.startswith("There are no sessions in ")
    assert (await user.run("sessions", "--json")).out == ""
    assert (await user.run("doctor")).code == 0
    for words in (("show", "x"), ("history", "x"), ("fork", "x"), ("delete", "x")):
        outcome = await user.run(*words)
        assert (outcome.code, outcome.out) == (1, "")
        assert outcome.err.endswith("`turnlog sessions` lists them. [session_not_found]\n")
    assert not list(user.home.iterdir())


def damage(user: User, text: bytes) -> None:
    """Overwrite a text in the store's file by one of the same length."""
    path = user.home / "store" / "data.mdb"
    data = path.read_bytes()
    assert text in data
    path.write_bytes(data.replace(text, text[::-1]))


async def test_damage_is_shown_at_its_place_and_what_precedes_it_is_shown(user: User) -> None:
    async with user.model("an unmistakable text"):
        thread = (await user.run("exec", "--json", "go")).thread
    events = await user.show(thread)
    damage(user, b"an unmistakable text")
    place = next(e["sequence"] for e in events if e["kind"] == "model_item_received")
    outcome = await user.run("show", thread, "--json")
    assert outcome.code == 1
    assert outcome.lines[:-1] == events[: place - 1]
    assert (outcome.lines[-1]["type"], outcome.lines[-1]["code"]) == ("error", "log_damaged")
    assert f"session {thread} is damaged at event {place}: " in outcome.err
    report = await user.run("doctor", "--json")
    found = json.loads(report.out)["findings"]
    assert report.code == 4
    assert {"kind": "event", "session": thread, "sequence": place} in [
        {name: finding[name] for name in ("kind", "session", "sequence")} for finding in found
    ]
    repaired = await user.run("doctor", "--repair")
    assert repaired.code == 4
    assert "What can be repaired has been." in repaired.out.splitlines()
    resumed = await user.run("exec", "resume", thread, "continue")
    assert (resumed.code, resumed.err.endswith("[log_damaged]\n")) == (1, True)


async def test_a_backup_is_a_store(told: tuple[User, str]) -> None:
    user, thread = told
    other = User(user.root / "restored")
    other.home.mkdir(parents=True)
    other.cwd.mkdir()
    outcome = await user.run("doctor", "--backup", str(other.home / "store"))
    assert (outcome.code, outcome.out.splitlines()[1].endswith("no damage.")) == (0, True)
    assert await other.show(thread) == await user.show(thread)


async def test_each_setting_says_where_it_comes_from(user: User) -> None:
    user.configure('model = "mine"\n[shell_environment_policy.set]\nAPI = "secret"')
    words = ("config", "--json", "-c", "sandbox_mode=workspace-write")
    rows = {row["key"]: row for row in (await user.run(*words)).lines}
    assert rows["model"] == {
        "key": "model",
        "value": "mine",
        "origin": f"{user.home}/config.toml (user)",
    }
    assert rows["sandbox_mode"]["origin"] == "-c sandbox_mode (command line)"
    assert rows["durability"]["origin"] == "default"
    people = await user.run("config")
    assert 'model = "mine"' in people.out
    assert "secret" not in people.out


async def test_the_schema_is_printed(user: User) -> None:
    assert json.loads((await user.run("schema")).out) == json.loads(json.dumps(json_schema()))


async def test_a_scripted_model_says_how_to_use_it(user: User) -> None:
    script = user.root / "script.json"
    script.write_text('["Served."]')
    started = user.start("scripted-model", str(script))
    text = [await started.read_text() for _ in range(8)]
    user.configure("".join(text[3:]))
    outcome = await user.run("exec", "go")
    started.process.kill()
    await started.exit_code()
    assert (outcome.code, outcome.out) == (0, "Served.\n")


async def test_a_wrong_command_is_answered_with_the_one_that_was_meant(user: User) -> None:
    outcome = await user.run("sesions")
    assert (outcome.code, outcome.out) == (2, "")
    assert "Did you mean 'sessions'?" in outcome.err
