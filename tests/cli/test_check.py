"""`turnlog check`: a folder of exported sessions, as CI runs it."""

import os
import shutil
import signal
from pathlib import Path

import pytest
import trio
from msgspec import structs

from tests.cli.harness import TURNLOG, Outcome, User
from tests.cli.test_replay import differing, retries
from tests.replay.recordings import FILES, FOLDER, exported, named, records_of
from turnlog.protocol.events import ToolDispatched
from turnlog.replay.files.portable import write_portable


@pytest.mark.parametrize("jobs", [[], ["-j", "2"]])
async def test_sessions_without_a_difference_pass(jobs: list[str], user: User) -> None:
    done = await user.run("check", str(FOLDER), *jobs)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert [line.split()[:2] for line in lines[:-1]] == [["ok", str(path)] for path in FILES]
    events = sum(len(records_of(path)) for path in FILES)
    assert lines[-1] == f"{len(FILES)} sessions, {events:,} events: {len(FILES)} ok"


async def test_a_difference_fails_the_check_and_is_counted_by_its_kind(user: User) -> None:
    path, number = differing(user.cwd), len(retries())
    (user.cwd / "same.turnlog").write_bytes(named("turns").read_bytes())
    done = await user.run("check", ".")
    assert done.code == 4
    kind = "changed retry_scheduled: delay_ms"
    first, second, summary, count, advice = done.out.splitlines()
    assert first.startswith(f"DIFFERENT {path.name}  ")
    assert first.endswith(f", from event {retries()[0]} on: {number} {kind}")
    assert second.startswith("ok        same.turnlog  ")
    assert summary.endswith("events: 1 DIFFERENT, 1 ok")
    assert count == f"{number:>8}  {kind}"
    assert advice == f"A difference in full: turnlog replay {path.name}"
    *found, total = (await user.run("check", ".", "--json")).lines
    assert [(line["name"], line["status"]) for line in found] == [
        (path.name, "different"),
        ("same.turnlog", "same"),
    ]
    assert found[0]["first"]["sequence"] == retries()[0]
    assert total["by_kind"] == {kind: number}


async def test_what_was_accepted_passes_and_changes_just_its_lines(user: User) -> None:
    path = differing(user.cwd)
    before = path.read_text().splitlines()
    done = await user.run("check", ".", "--accept")
    assert done.code == 0
    assert done.out.startswith(f"accepted  {path.name}  ")
    after = path.read_text().splitlines()
    pairs = zip(before, after, strict=True)
    changed = [number for number, (one, other) in enumerate(pairs) if one != other]
    assert changed == [0, *retries()]
    assert after == exported(records_of(named("retries"))).decode().splitlines()
    assert (await user.run("check", ".")).code == 0


async def test_what_cannot_be_accepted_is_left_alone_and_fails(user: User) -> None:
    records = records_of(named("tools"))
    at = next(i for i, record in enumerate(records) if isinstance(record.event, ToolDispatched))
    dispatched = records[at].event
    records[at] = structs.replace(
        records[at], event=structs.replace(dispatched, effect="99.tool.0")
    )
    path = user.cwd / "renamed.turnlog"
    with path.open("w") as stream:
        write_portable(records, stream)
    before = path.read_bytes()
    done = await user.run("check", ".", "--accept", "--json")
    assert done.code == 4
    assert (done.lines[0]["status"], done.lines[0]["code"]) == ("different", "rerecording_refused")
    assert path.read_bytes() == before


async def test_a_damaged_file_does_not_hide_the_others(user: User) -> None:
    shutil.copy(named("turns"), user.cwd / "b.turnlog")
    (user.cwd / "a.turnlog").write_bytes(named("turns").read_bytes()[:-9])
    done = await user.run("check", ".")
    assert done.code == 4
    first, second, _ = done.out.splitlines()
    assert first.startswith("DAMAGED   a.turnlog  ")
    assert first.endswith("[portable_invalid]")
    assert second.startswith("ok        b.turnlog")


async def run_without_privilege(user: User, *words: str) -> Outcome:
    """Run a command for which the modes of files count, though it may be root's."""
    drop = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
    done = await trio.run_process(
        [*(drop if os.geteuid() == 0 else ()), *TURNLOG, *words],
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        cwd=user.cwd,
        env=user.environment(),
    )
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())


async def test_a_file_that_cannot_be_read_is_an_error_and_the_others_are_checked(
    user: User,
) -> None:
    for name in ("a.jsonl", "b.turnlog", "c.turnlog"):
        shutil.copy(named("turns"), user.cwd / name)
    (user.cwd / "a.jsonl").chmod(0)
    (user.cwd / "b.turnlog").chmod(0)
    done = await run_without_privilege(user, "check", ".", "--json")
    assert done.code == 1
    assert [line["status"] for line in done.lines[:-1]] == ["error", "error", "same"]


async def test_a_link_to_a_file_that_is_gone_is_missed(user: User) -> None:
    (user.cwd / "same.turnlog").write_bytes(named("turns").read_bytes())
    (user.cwd / "lost.turnlog").symlink_to("gone.turnlog")
    done = await user.run("check", ".")
    assert done.code == 1
    assert done.out.startswith("ERROR     lost.turnlog")


async def test_a_folder_that_cannot_be_read_does_not_pass(user: User) -> None:
    shutil.copy(named("turns"), user.cwd / "a.turnlog")
    (user.cwd / "sub").mkdir(mode=0)
    done = await run_without_privilege(user, "check", ".")
    assert (done.code, done.out) == (1, "")
    assert done.err == "Error: ./sub cannot be read: Permission denied. [input_unreadable]\n"


@pytest.mark.parametrize(("mode", "of_folder"), [(0o444, 0o755), (0o644, 0o555)])
async def test_what_may_not_be_written_is_not_accepted(
    user: User, mode: int, of_folder: int
) -> None:
    path = differing(user.cwd)
    before = path.read_bytes()
    path.chmod(mode)
    user.cwd.chmod(of_folder)
    done = await run_without_privilege(user, "check", ".", "--accept", "--json")
    user.cwd.chmod(0o755)
    assert done.code == 1
    found = done.lines[0]
    assert (found["status"], found["divergences"]) == ("error", len(retries()))
    assert found["message"] == f"{path.name} cannot be written: Permission denied."
    assert path.read_bytes() == before


async def test_a_file_has_one_line_whatever_its_name_is(user: User) -> None:
    (user.cwd / "a\nb.turnlog").write_text("no session\n")
    shutil.copy(named("turns"), user.cwd / "c\nd.turnlog")
    done = await user.run("check", ".")
    first, second, summary = done.out.splitlines()
    assert first.startswith("DAMAGED   a\\nb.turnlog  0 events, a\\nb.turnlog, line 1: ")
    assert second.startswith("ok        c\\nd.turnlog  ")
    assert summary.startswith("2 sessions, ")


async def test_an_interrupt_of_all_its_processes_is_told_by_none(user: User) -> None:
    for number in range(200):
        shutil.copy(named("long"), user.cwd / f"{number}.turnlog")
    started = user.start("check", ".", "-j", "2")
    await started.read_text()
    os.killpg(started.process.pid, signal.SIGINT)
    done = await started.finished()
    assert (done.code, done.err.strip()) == (130, "")


async def test_its_processes_end_with_it_when_it_is_killed(user: User) -> None:
    for number in range(200):
        shutil.copy(named("long"), user.cwd / f"{number}.turnlog")
    started = user.start("check", ".", "-j", "2")
    await started.read_text()
    started.process.kill()
    with trio.fail_after(60):
        await started.finished()  # its pipes are closed: nobody is left who could write to them


async def test_a_file_of_a_later_schema_is_an_error_and_the_others_are_checked(user: User) -> None:
    text = named("turns").read_text()
    (user.cwd / "a.turnlog").write_text(text.replace('"schema":1', '"schema":99', 1))
    (user.cwd / "b.turnlog").write_text(text)
    done = await user.run("check", ".", "--json")
    assert done.code == 1
    assert [(line["status"], line["code"]) for line in done.lines[:2]] == [
        ("error", "schema_too_new"),
        ("same", ""),
    ]


async def test_a_check_that_looks_at_nothing_does_not_pass(user: User) -> None:
    done = await user.run("check", ".")
    assert (done.code, done.out) == (1, "")
    assert "there is no exported session below ." in done.err


async def test_what_is_no_folder_is_an_error(user: User, tmp_path: Path) -> None:
    done = await user.run("check", str(tmp_path / "nowhere"))
    assert (done.code, done.out) == (1, "")
    assert done.err.endswith("[input_unreadable]\n")
