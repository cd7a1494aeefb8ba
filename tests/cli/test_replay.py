"""`turnlog replay`: today's code against the store's sessions, and against exported ones."""

import fcntl
import os
import pty
import struct
import termios
from pathlib import Path

import lmdb
import pytest
from msgspec import structs

from tests.cli.harness import User, in_thread
from tests.replay.recordings import named, records_of
from tests.warm.client import start
from turnlog.protocol.events import RetryScheduled, TurnEnded
from turnlog.protocol.ids import TurnId
from turnlog.replay.files.portable import write_portable


def differing(folder: Path) -> Path:
    """Write a session in which each retry waits for as long as no code would have it wait."""
    path = folder / "differing.turnlog"
    with path.open("w") as stream:
        write_portable(
            (
                structs.replace(record, event=structs.replace(record.event, delay_ms=1))
                if isinstance(record.event, RetryScheduled)
                else record
                for record in records_of(named("retries"))
            ),
            stream,
        )
    return path


def retries() -> list[int]:
    return [r.sequence for r in records_of(named("retries")) if r.kind == "retry_scheduled"]


async def test_a_session_that_ran_replays_without_a_difference(user: User) -> None:
    async with user.model("done"):
        session = (await user.run("exec", "--json", "go")).thread
    done = await user.run("replay", session[:13])
    events = len(await user.show(session))
    assert (done.code, done.err) == (0, "")
    assert done.out == f"{session}: {events} events, no differences\n"
    (found, summary) = (await user.run("replay", session, "--json")).lines
    assert found == {
        "type": "session",
        "name": session,
        "status": "same",
        "session": session,
        "events": events,
        "divergences": 0,
        "by_kind": {},
        "first": None,
        "code": "",
        "message": "",
    }
    assert summary == {
        "type": "summary",
        "sessions": 1,
        "events": events,
        "by_status": {"same": 1},
        "by_kind": {},
    }


async def test_the_first_difference_is_shown_in_full_and_the_others_are_counted(
    user: User,
) -> None:
    done = await user.run("replay", str(differing(user.cwd)))
    first, *others = retries()
    assert (done.code, done.err) == (4, "")
    assert f"\nevent {first}: changed retry_scheduled: delay_ms\n" in done.out
    assert "\n  delay_ms\n    recorded  1\n    decided   " in done.out
    assert f"\n    {first - 1:>6} model_failed " in done.out
    assert "`turnlog check DIR --accept`" in done.out
    assert done.out.endswith(
        f"\n{len(others)} more:\n{len(others):>8}  changed retry_scheduled: delay_ms\n"
    )


async def test_differences_are_reported_from_an_event_on(user: User) -> None:
    path = str(differing(user.cwd))
    places = retries()
    found = (await user.run("replay", path, "--from", str(places[0] + 1), "--json")).lines[0]
    assert (found["divergences"], found["first"]["sequence"]) == (len(places) - 1, places[1])
    after = await user.run("replay", path, "--from", str(places[-1] + 1))
    assert after.code == 0
    assert after.out.endswith(f" events, no differences from event {places[-1] + 1} on\n")
    beyond = await user.run("replay", path, "--from", "9999")
    assert (beyond.code, beyond.out) == (1, "")
    assert beyond.err.endswith("[sequence_out_of_range]\n")


async def test_of_a_damaged_file_the_place_is_told_and_the_rest_was_checked(user: User) -> None:
    path = differing(user.cwd)
    path.write_bytes(path.read_bytes()[:-50])
    events = len(records_of(named("retries"))) - 1
    done = await user.run("replay", path.name)
    assert done.code == 4
    counts = f"{events} events, {len(retries())} differences"
    assert done.out.startswith(f"{path.name}: damaged; before that {counts}\n")
    assert f"{path.name}, line {events + 2}: the file ends in the middle of it." in done.out
    assert done.out.endswith("[portable_invalid]\n")


async def test_every_session_of_the_store_is_replayed(user: User) -> None:
    async with user.model("one", "two"):
        first = (await user.run("exec", "--json", "go")).thread
        second = (await user.run("exec", "--json", "go")).thread
    done = await user.run("replay", "--all")
    lines = done.out.splitlines()
    assert (done.code, done.err) == (0, "")
    assert [line.split()[:2] for line in lines[:2]] == [["ok", second], ["ok", first]]
    assert lines[2].startswith("2 sessions, ")
    assert lines[2].endswith(" events: 2 ok")
    *_, summary = (await user.run("replay", "--all", "--json")).lines
    assert (summary["sessions"], summary["by_status"]) == (2, {"same": 2})


async def test_damage_in_the_store_is_told_with_its_place(user: User) -> None:
    async with user.model("one", "two"):
        damaged = (await user.run("exec", "--json", "go")).thread
        sound = (await user.run("exec", "--json", "go")).thread
    _damage(user, damaged, 5)
    done = await user.run("replay", damaged)
    assert done.code == 4
    assert done.out.startswith(f"{damaged}: damaged; before that 4 events, no differences\n")
    assert done.out.endswith("[log_damaged]\n")
    every = await user.run("replay", "--all", "--json")
    assert every.code == 4
    found = {line["name"]: (line["status"], line["events"]) for line in every.lines[:2]}
    assert found[damaged] == ("damaged", 4)
    assert found[sound][0] == "same"


def _damage(user: User, session: str, sequence: int) -> None:
    """Change one byte of a stored event."""
    with lmdb.open(str(user.home / "store"), max_dbs=16) as environment:
        events = environment.open_db(b"events", create=False)
        with environment.begin(db=events, write=True) as txn:
            key = bytes.fromhex(session.replace("-", "")) + sequence.to_bytes(8)
            value = bytearray(txn.get(key, b""))
            value[-1] ^= 1
            txn.put(key, bytes(value))


async def test_an_empty_store_has_nothing_to_replay(user: User) -> None:
    done = await user.run("replay", "--all")
    assert (done.code, done.out) == (0, "0 sessions, 0 events: nothing to replay\n")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["ffff"], "session_not_found"),
        (["no/such/file"], "input_unreadable"),
        (["missing.turnlog"], "input_unreadable"),
        (["text.txt"], "portable_invalid"),
    ],
)
async def test_an_error_is_1_and_goes_to_stderr(words: list[str], code: str, user: User) -> None:
    (user.cwd / "text.txt").write_text("hello\n")
    done = await user.run("replay", *words)
    assert (done.code, done.out) == (1, "")
    assert done.err.endswith(f"[{code}]\n")


@pytest.mark.parametrize("words", [[], ["abc", "--all"], ["--all", "--from", "3"]])
async def test_a_wrong_command_line_is_2(words: list[str], user: User) -> None:
    done = await user.run("replay", *words)
    assert (done.code, done.out) == (2, "")
    assert "Usage: turnlog replay" in done.err


async def test_a_terminal_sees_how_far_a_long_work_is_and_a_pipe_sees_nothing_of_it(
    user: User,
) -> None:
    async with user.model("one"):
        await user.run("exec", "go")
    code, out, shown = await in_thread(lambda: _in_a_terminal(user, "replay", "--all"))
    assert code == 0
    assert b"replay" in shown
    assert b"100%" in shown
    assert b"1 session, " in out


def _in_a_terminal(user: User, *words: str) -> tuple[int, bytes, bytes]:
    """Run a command whose stderr is a terminal; return its code, its stdout and its stderr."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with start(user.program(*words, env={"TERM": "xterm"}), stderr=theirs) as process:
        os.close(theirs)
        shown = _read_all(ours)
        assert process.stdout is not None
        out = process.stdout.read()
    os.close(ours)
    return process.wait(), out, shown


def _read_all(terminal: int) -> bytes:
    found = b""
    try:
        while piece := os.read(terminal, 65536):
            found += piece
    except OSError:  # its other end is closed
        pass
    return found


async def test_the_actors_run_again_over_what_was_recorded(user: User) -> None:
    async with user.model("done"):
        session = (await user.run("exec", "--json", "go")).thread
    events = len(await user.show(session))
    await user.run("export", session, "-o", "it.turnlog")
    for arguments in ((session[:13],), (session, "--seed", "7"), ("it.turnlog", "--seed", "1")):
        done = await user.run("replay", *arguments, "--actors")
        assert (done.code, done.err) == (0, "")
        assert done.out.endswith(f": {events} events, no differences\n")


async def test_the_first_step_in_which_the_actors_differ_is_shown(user: User) -> None:
    async with user.model("done"):
        session = (await user.run("exec", "--json", "go")).thread
    await user.run("export", session, "-o", "it.turnlog")
    records = records_of(user.cwd / "it.turnlog")
    at = next(index for index, record in enumerate(records) if record.kind == "turn_ended")
    ended = structs.replace(records[at], event=TurnEnded(1, TurnId("another"), "completed"))
    with (user.cwd / "altered.turnlog").open("w") as stream:
        write_portable([*records[:at], ended, *records[at + 1 :]], stream)
    done = await user.run("replay", "altered.turnlog", "--actors", "--seed", "3")
    assert (done.code, done.err) == (4, "")
    assert f"\nevent {at + 1}: changed turn_ended\n  recorded  turn_ended " in done.out
    assert "The same seed shows the same: --seed 3." in done.out
    (found, _) = (await user.run("replay", "altered.turnlog", "--actors", "--json")).lines
    assert (found["status"], found["first"]["sequence"]) == ("different", at + 1)
    assert found["first"]["recorded"]["event"]["turn_id"] == "another"
    assert found["first"]["seed"] == 0


async def test_a_damaged_file_is_not_acted_out(user: User) -> None:
    path = differing(user.cwd)
    path.write_bytes(path.read_bytes()[:-50])
    done = await user.run("replay", path.name, "--actors")
    assert done.code == 4
    assert done.out.startswith(f"{path.name}: damaged; nothing was compared\n")
    assert done.out.endswith("[portable_invalid]\n")


@pytest.mark.parametrize("arguments", [(), ("--actors",)])
async def test_a_file_that_holds_no_session_is_an_error(
    user: User, arguments: tuple[str, ...]
) -> None:
    (user.cwd / "empty.turnlog").touch()
    done = await user.run("replay", "empty.turnlog", *arguments)
    assert (done.code, done.out) == (1, "")
    assert done.err.endswith("[portable_invalid]\n")


async def test_for_a_folder_there_is_another_command(user: User) -> None:
    for arguments in ((), ("--actors",)):
        done = await user.run("replay", ".", *arguments)
        assert (done.code, done.out) == (1, "")
        assert "`turnlog check`" in done.err


@pytest.mark.parametrize(
    "arguments", [("x", "--seed", "1"), ("--all", "--actors"), ("x", "--actors", "--from", "3")]
)
async def test_options_of_acting_that_do_not_go_together(
    user: User, arguments: tuple[str, ...]
) -> None:
    done = await user.run("replay", *arguments)
    assert (done.code, done.out) == (2, "")
