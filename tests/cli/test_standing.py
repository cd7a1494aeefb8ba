"""The lists say the status of a session: what it does, what it waits for, or how it ended."""

import io
import signal
from pathlib import Path

from tests.cli.asks import outside
from tests.cli.harness import User
from tests.core.play import SESSION, Play
from tests.replay.recordings import written
from turnlog.frontends.sessions.status import standings
from turnlog.protocol.ids import SessionId
from turnlog.protocol.summary import SessionSummary
from turnlog.replay.files.loading import load_portable
from turnlog.replay.files.portable import read_portable
from turnlog.runtime.engine.new_id import new_id
from turnlog.runtime.scripted_model.script import Response, call
from turnlog.runtime.store.lmdb.log import open_log

WAITS = call("exec_command", {"cmd": "until [ -e go ]; do sleep 0.05; done", "login": False})
PARK = ("-a", "on-request", "-c", "approval_timeout_ms=100", "-c", "unanswered.command=park")


async def standing(user: User, thread: str) -> set[str]:
    """Return what the lists say of a session, each for people and for programs."""
    said = {row["status"] for row in (await user.run("sessions", "--json")).lines}
    said |= {row["status"] for row in (await user.run("tree", "--json")).lines}
    said |= {row["status"] for row in (await user.run("show", thread, "--tree", "--json")).lines}
    (status,) = said
    for words in (("sessions",), ("tree",), ("show", thread, "--tree")):
        assert status in (await user.run(*words)).out
    return said


async def test_a_session_is_idle_or_running_or_cut_off(user: User) -> None:
    async with user.model("done", WAITS, "went"):
        thread = (await user.run("exec", "--json", "go")).thread
        assert await standing(user, thread) == {"idle"}
        started = user.start("exec", "--json", "resume", thread, "and wait")
        await started.read_until("item.started")
        assert await standing(user, thread) == {"running"}
        started.signal(signal.SIGKILL)
        await started.exit_code()
        assert await standing(user, thread) == {"cut off"}
        await user.run("exec", "resume", thread)
        assert await standing(user, thread) == {"idle"}


async def test_a_session_whose_question_nobody_answered_is_parked(user: User) -> None:
    async with user.model(outside("touch one")):
        parked = await user.run("exec", "--json", *PARK, "go")
        assert await standing(user, parked.thread) == {"parked"}


async def test_a_session_whose_process_waits_for_an_answer_is_waiting(user: User) -> None:
    async with user.model(outside("touch one"), "done"):
        started = user.start("exec", "--json", "-a", "on-request", "go")
        thread = (await started.read_line())["thread_id"]
        while not (asked := (await user.run("approvals", "--json")).lines):
            pass
        assert await standing(user, thread) == {"waiting"}
        assert (await user.run("approve", asked[0]["id"])).code == 0
        assert (await started.finished()).code == 0


async def test_the_list_tells_how_the_last_turn_ended_and_can_be_narrowed(user: User) -> None:
    async with user.model("done", Response(status=400), WAITS, "fine"):
        completed = (await user.run("exec", "--json", "Write the docs")).thread
        failed = (await user.run("exec", "--json", "fail")).thread
        started = user.start("exec", "--json", "wait")
        interrupted = (await started.read_line())["thread_id"]
        await started.read_until("item.started")
        started.signal(signal.SIGINT)
        await started.exit_code()
        (user.cwd / "other").mkdir()
        other = (await user.run("exec", "--json", "-C", "other", "elsewhere")).thread

    async def listed(*words: str) -> dict[str, str]:
        rows = (await user.run("sessions", "--json", *words)).lines
        return {row["id"]: row["status"] for row in rows}

    every = {other: "idle", interrupted: "interrupted", failed: "failed", completed: "idle"}
    assert list((await listed()).items()) == list(every.items())
    assert await listed("--status", "failed", "--status", "interrupted") == {
        failed: "failed",
        interrupted: "interrupted",
    }
    here = {session: status for session, status in every.items() if session != other}
    assert await listed("--here") == here
    assert await listed("--grep", "DOCS") == {completed: "idle"}
    assert await listed("--status", "idle", "--limit", "1") == {other: "idle"}
    none = await user.run("sessions", "--status", "cut-off")
    assert (none.code, none.out) == (0, "")
    assert none.err == "No session fits. `turnlog sessions` lists all.\n"


async def test_one_that_was_deleted_since_it_was_listed_is_idle_and_the_others_are_told(
    tmp_path: Path,
) -> None:
    play = Play.started()
    play.ask("hi")
    gone = SessionSummary(SessionId(new_id()), status="running")
    async with open_log(tmp_path / "store") as log:
        await load_portable(log, read_portable(io.BytesIO(written(play.records))))
        listed = await log.sessions()
        assert await standings(log, [gone, *listed]) == {
            gone.session: "idle",
            SESSION: "cut off",
        }
