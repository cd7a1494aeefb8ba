"""`turnlog import`: ids on stdout, the report on stderr, and errors with their codes."""

import json
from pathlib import Path
from typing import Any

from tests.cli.harness import User
from tests.replay.recordings import named
from tests.replay.rollouts import kit
from turnlog.replay.verify.stored import replay_session

SESSION = "01a1fead-a762-7803-a037-d639367c21a2"  # of recorded_rollouts/session.jsonl


def rollout(name: str) -> str:
    return str(kit.named(name))


async def test_the_id_is_printed_and_the_report_is_told(user: User) -> None:
    path = rollout("session")
    done = await user.run("import", path)
    assert (done.code, done.out) == (0, f"{SESSION}\n")
    assert done.err.split("\n") == [
        f"{path}: paginated rollout, 38 lines: 2 turns, 12 items, 440 tokens; 36 events here",
        "  line 3: a message of 3 parts is as many messages here",
        "",
    ]
    [row] = (await user.run("sessions", "--json")).lines
    assert (row["id"], row["title"], row["turns"]) == (SESSION, "make a file", 2)
    assert list(replay_session(SESSION, home=user.home).divergences) == []


async def test_each_file_has_a_line_of_json_with_its_report(user: User) -> None:
    done = await user.run("import", "--json", rollout("fork"), rollout("compact-parent"))
    fork, compacted = done.lines
    assert (done.code, done.err) == (0, "")
    assert fork["session"] != SESSION
    assert fork["report"]["forked_from"] == SESSION  # found beside it
    assert fork["report"]["skipped"] == []
    assert len(compacted["report"]["earlier"]) == 2
    rows = (await user.run("sessions", "--json")).lines
    assert {row["id"] for row in rows} == {
        fork["session"],
        compacted["session"],
        *compacted["report"]["earlier"],
    }


async def test_an_id_that_is_there_is_refused_unless_a_new_one_is_asked_for(user: User) -> None:
    await user.run("import", rollout("session"))
    before = await user.show(SESSION)
    again = await user.run("import", rollout("session"))
    assert (again.code, again.out) == (1, "")
    assert again.err == (
        f"Error: {rollout('session')}: there is a session {SESSION} already; nothing was changed. "
        f"See it with `turnlog show {SESSION}`, or import the file under an id of its own with "
        "--new-id. [session_exists]\n"
    )
    assert await user.show(SESSION) == before
    copy = await user.run("import", "--new-id", rollout("session"))
    assert copy.code == 0
    assert copy.out.strip() != SESSION
    assert len(await user.show(copy.out.strip())) == len(before)


async def test_one_file_that_cannot_be_read_does_not_stop_the_others(user: User) -> None:
    empty = user.cwd / "empty.jsonl"
    empty.touch()
    other = user.cwd / "other.jsonl"
    other.write_text("hello\n")
    files = ("gone.jsonl", str(empty), rollout("text"), str(other))
    done = await user.run("import", *files)
    assert done.code == 1
    assert done.out.count("\n") == 1
    codes = [line.rpartition("[")[2] for line in done.err.split("\n") if line.startswith("Error")]
    assert codes == ["input_unreadable]", "rollout_empty]", "rollout_invalid]"]


async def test_a_file_of_a_newer_release_does_not_stop_the_others(user: User) -> None:
    newer = user.cwd / "newer.turnlog"
    header, rest = named("turns").read_bytes().split(b"\n", 1)
    newer.write_bytes(json.dumps({**json.loads(header), "schema": 999}).encode() + b"\n" + rest)
    done = await user.run("import", "--json", str(newer), rollout("text"))
    failed, imported = done.lines
    assert done.code == 1
    assert (failed["file"], failed["error"]["code"]) == (str(newer), "schema_too_new")
    assert imported["file"] == rollout("text")


async def test_programs_are_told_of_each_file_that_was_not_imported(user: User) -> None:
    done = await user.run("import", "--json", "gone.jsonl", rollout("text"))
    gone, text = done.lines
    assert done.code == 1
    assert (gone["file"], gone["error"]["code"]) == ("gone.jsonl", "input_unreadable")
    assert text["file"] == rollout("text")


async def test_a_file_name_that_is_not_utf_8_is_shown_as_json(user: User, tmp_path: Path) -> None:
    path = tmp_path / "not-utf-8-\udcff.jsonl"
    path.write_bytes(kit.named("text").read_bytes())
    done = await user.run("import", "--json", str(path), "gone-\udcff")
    imported, gone = done.lines
    assert (imported["file"], imported["report"]["file"]) == (str(path), str(path))
    assert (gone["file"], gone["error"]["code"]) == ("gone-\udcff", "input_unreadable")


async def test_a_torn_rollout_is_imported_and_said_to_be_torn(user: User, tmp_path: Path) -> None:
    path = tmp_path / "torn.jsonl"
    path.write_bytes(kit.named("session").read_bytes()[:-100])
    done = await user.run("import", str(path))
    assert done.code == 0
    assert "line 38: left out: torn: the file ends in the middle of it" in done.err


async def test_what_turnlog_exported_comes_back_just_as_it_was(user: User, tmp_path: Path) -> None:
    await user.run("import", rollout("interrupted"))
    [row] = (await user.run("sessions", "--json")).lines
    session: Any = row["id"]
    before = await user.show(session)
    file = tmp_path / "session.turnlog"
    assert (await user.run("export", session, "-o", str(file))).code == 0
    assert (await user.run("delete", "--yes", session)).code == 0
    done = await user.run("import", "--json", str(file))
    [line] = done.lines
    assert (line["session"], line["format"]) == (session, "turnlog")
    assert await user.show(session) == before


async def test_an_imported_session_continues_like_any_other(user: User) -> None:
    await user.run("import", rollout("session"))
    async with user.model("Here I am.") as server:
        done = await user.run("exec", "-C", str(user.cwd), "resume", SESSION, "are you there?")
        assert done.code == 0, done.err
        sent = server.requests[-1].body["input"]
    ours = kit.history(kit.imported(kit.named("session")))
    assert sent[: len(ours)] == ours
    assert sent[-1] == kit.message("user", "are you there?")
