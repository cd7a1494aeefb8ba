"""What is done to a session beside talking to it: compact, undo, review, shell, name, archive."""

import json
import re
import signal

import pytest
import trio

from tests.cli.asks import asked, outside, questions
from tests.cli.harness import Line, Outcome, User
from turnlog.runtime.scripted_model.script import Item, Response, call, custom, message

GONE = "zzz"
COMMANDS = {
    "steer": ("hi",),
    "interrupt": (),
    "compact": (),
    "undo": (),
    "redo": (),
    "review": (),
    "shell": ("true",),
    "name": ("n",),
    "archive": (),
    "changes": (),
}
TALK = "word " * 400


def shell(command: str) -> Item:
    return call("exec_command", {"cmd": command, "login": False})


def patch(*lines: str) -> Item:
    return custom("apply_patch", "\n".join(("*** Begin Patch", *lines, "*** End Patch")))


def kinds(events: list[Line]) -> list[str]:
    return [event["kind"] for event in events]


def failed(outcome: Outcome, code: str) -> bool:
    """Say whether a command failed as it should, with one error on stderr."""
    told = outcome.err.rstrip().splitlines()[-1]
    return (outcome.code, outcome.out) == (1, "") and told.endswith(f"[{code}]")


async def sleeping(user: User) -> tuple[str, int]:
    """Begin a turn whose command sleeps; kill -9 the engine and return its session."""
    pipe = user.pipe()
    user.root.joinpath("sleep.sh").write_text(f"{pipe.writes_pid}; exec sleep 600")
    started = user.start("exec", "--json", "go")
    thread: str = (await started.read_line())["thread_id"]
    pid = await pipe.read_pid()
    await started.read_until("item.started")
    started.signal(signal.SIGKILL)
    await started.exit_code()
    return thread, pid


# --- all of them ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
async def test_an_unknown_session_is_an_error_and_no_store_comes_of_it(
    user: User, name: str
) -> None:
    outcome = await user.run(name, GONE, *COMMANDS[name])
    assert failed(outcome, "session_not_found")
    assert not list(user.home.iterdir())
    for words in ((name,), (name, GONE, *COMMANDS[name], "more", "x"), (name, "--no-such")):
        wrong = await user.run(*words)
        assert (wrong.code, wrong.out) == (2, "")
        assert wrong.err.startswith(f"Usage: turnlog {name} ")


async def test_a_turn_that_was_cut_off_is_not_ended_by_the_way(user: User) -> None:
    async with user.model([shell("sh ../sleep.sh")], "It was stopped."):
        thread, _ = await sleeping(user)
        for words in (("compact",), ("review",), ("shell", "true"), ("redo",)):
            outcome = await user.run(words[0], thread, *words[1:])
            assert failed(outcome, "turn_cut_off"), outcome
            assert f"`turnlog exec resume {thread}` finishes it" in outcome.err
        named = await user.run("name", thread, " the   cut\none ")
        assert (await user.run("archive", thread)).code == 0
        assert (await user.run("sessions")).out == ""
        (row,) = (await user.run("sessions", "--all", "--json")).lines
        assert (await user.run("archive", "--undo", thread)).code == 0
        resumed = await user.run("exec", "resume", thread)
        events = await user.show(thread)
        listed = await user.run("sessions")
    assert (named.code, named.out, named.err) == (0, "", "Named: the cut one\n")
    assert (row["name"], row["archived"], row["status"]) == ("the cut one", True, "cut off")
    assert (resumed.code, resumed.out) == (0, "It was stopped.\n")
    assert kinds(events).count("turn_opened") == kinds(events).count("turn_ended") == 1
    assert "the cut one" in listed.out


# --- compact ----------------------------------------------------------------------------------


async def test_an_idle_session_is_compacted_and_what_was_there_can_still_be_read(
    user: User,
) -> None:
    summary = Response(items=[message("SUMMARY: they talked.")], compaction=True)
    async with user.model(TALK, "Continue, then.", summary, summary) as server:
        thread = (await user.run("exec", "--json", "talk")).thread
        before = (await user.run("history", thread)).out
        end = (await user.show(thread))[-1]["sequence"]
        done = await user.run("compact", thread[:-2])
        again = await user.run("exec", "resume", thread, "and?")
        more = await user.run("compact", thread, "--json")
        sent = json.dumps(server.requests[2].body["input"])
        then = (await user.run("history", thread, "--at", str(end))).out
        shown = (await user.run("show", thread)).out
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("110 tokens became about ")
    assert done.out.endswith(" parts).\n")
    assert (again.code, again.out) == (0, "Continue, then.\n")
    (line,) = more.lines
    assert (more.code, line["kind"]) == (0, "compacted")
    assert "SUMMARY: they talked." in sent
    assert TALK not in sent
    assert "assistant: word word" in " ".join(before.split())
    assert then == before
    assert "compacted" in shown


async def test_with_nothing_to_sum_up_nothing_changes(user: User) -> None:
    async with user.model(Response(status=400, body="no")):
        run = await user.run("exec", "--json", "talk")
        done = await user.run("compact", run.thread)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("Nothing was changed: ")


async def test_a_session_that_another_process_runs_is_compacted_by_that_one(user: User) -> None:
    summary = Response(items=[message("SUMMARY")], compaction=True)
    async with user.model(TALK, [outside("touch made")], summary, "Done."):
        thread = (await user.run("exec", "--json", "talk")).thread
        started = user.start("exec", "--json", "-a", "on-request", "resume", thread, "go")
        (question,) = await asked(started)
        compacting = user.start("compact", thread)
        assert "A turn is running" in await compacting.read_note()
        assert [one["id"] for one in await questions(user)] == [question]
        assert (await user.run("approve", question)).code == 0
        done = await compacting.finished()
        outcome = await started.finished()
    assert (done.code, outcome.code, (user.cwd / "made").exists()) == (0, 0, True)
    assert "tokens became about" in done.out
    assert "SUMMARY" not in outcome.out
    assert [line["type"] for line in outcome.lines].count("turn.started") == 1


async def test_waiting_for_a_process_that_is_killed_ends(user: User) -> None:
    async with user.model([message(TALK), outside("touch made")]):
        started = user.start("exec", "--json", "-a", "on-request", "go")
        thread = (await started.read_line())["thread_id"]
        await asked(started)
        compacting = user.start("compact", thread)
        await compacting.read_note()
        started.signal(signal.SIGKILL)
        await started.exit_code()
        outcome = await compacting.finished()
    assert failed(outcome, "not_done")
    assert f"the process that ran session {thread} has ended" in outcome.err


async def test_what_a_busy_session_cannot_do_is_refused_and_what_it_can_is_done(
    user: User,
) -> None:
    async with user.model([outside("touch made")], "Done."):
        started = user.start("exec", "--json", "-a", "on-request", "go")
        thread = (await started.read_line())["thread_id"]
        (question,) = await asked(started)
        undone = await user.run("undo", thread)
        named = await user.run("name", thread, "busy one")
        (row,) = (await user.run("sessions", "--json")).lines
        shell = user.start("shell", thread, "echo mine; exit 3")
        assert "A turn is running" in await shell.read_note()
        assert (await user.run("approve", question, "--decline")).code == 0
        ran = await shell.finished()
        outcome = await started.finished()
    assert failed(undone, "turn_running")
    assert "interrupt it first [turn_running]" in undone.err
    assert (named.code, row["name"]) == (0, "busy one")
    assert (ran.code, ran.out) == (3, "mine\n")
    items = [line["item"] for line in outcome.lines if line["type"] == "item.completed"]
    assert items == [
        {"id": "item_0", "type": "agent_message", "text": "Done."},
        {
            "id": "item_1",
            "type": "command_execution",
            "command": "bash -lc 'echo mine; exit 3'",
            "aggregated_output": "mine\n",
            "exit_code": 3,
            "status": "failed",
        },
    ]
    assert outcome.code == 0


async def test_a_command_of_ones_own_is_not_taken_for_the_agents_that_runs_before_it(
    user: User,
) -> None:
    async with user.model([outside("echo the agent; exit 4")], "Done."):
        started = user.start("exec", "--json", "-a", "on-request", "go")
        thread = (await started.read_line())["thread_id"]
        (question,) = await asked(started)
        shell = user.start("shell", thread, "echo mine; exit 3")
        assert "A turn is running" in await shell.read_note()
        assert (await user.run("approve", question)).code == 0
        ran = await shell.finished()
        assert (await started.finished()).code == 0
    assert ran == Outcome(3, "mine\n", "")


async def test_a_summary_adds_no_line_to_a_run(user: User) -> None:
    summary = Response(items=[message("SUMMARY")], compaction=True)
    async with user.model(TALK, summary, "Continue, then."):
        limit = ("-c", "model_auto_compact_token_limit=50")
        thread = (await user.run("exec", "--json", *limit, "talk")).thread
        outcome = await user.run("exec", "--json", "resume", thread, "go")
        events = await user.show(thread)
    assert "compacted" in kinds(events)
    assert [line["type"] for line in outcome.lines] == [
        "thread.started",
        "turn.started",
        "item.completed",
        "turn.completed",
    ]
    assert outcome.lines[2]["item"]["text"] == "Continue, then."
    assert outcome.lines[3]["usage"]["input_tokens"] == 300


async def test_an_ambiguous_beginning_of_an_id_is_an_error(user: User) -> None:
    async with user.model("one", "two"):
        ids = [(await user.run("exec", "--json", "go")).thread for _ in range(2)]
    for name, more in COMMANDS.items():
        outcome = await user.run(name, "0", *more)
        assert failed(outcome, "ambiguous_session")
        assert all(session in outcome.err for session in ids)


# --- undo and redo ----------------------------------------------------------------------------


EDITS = (
    [patch("*** Add File: a.txt", "+one")],
    "First.",
    [patch("*** Update File: a.txt", "@@", "-one", "+two", "*** Add File: b.txt", "+b")],
    "Second.",
)


async def edited(user: User) -> str:
    """Run two turns that patch files; return their session."""
    thread = (await user.run("exec", "--json", "one")).thread
    assert (await user.run("exec", "resume", thread, "two")).code == 0
    return thread


async def test_undo_brings_back_files_and_conversation_and_redo_takes_it_back(user: User) -> None:
    a, b = user.cwd / "a.txt", user.cwd / "b.txt"
    async with user.model(*EDITS):
        thread = await edited(user)
        both = (await user.run("history", thread)).out
        preview = await user.run("undo", thread, "--preview")
        assert (a.read_text(), b.exists()) == ("two\n", True)
        done = await user.run("undo", thread)
        assert (a.read_text(), b.exists()) == ("one\n", False)
        one = (await user.run("history", thread)).out
        back = await user.run("redo", thread, "--json")
        again = await user.run("redo", thread)
        assert (a.read_text(), b.exists()) == ("two\n", True)
        assert (await user.run("history", thread)).out == both
    assert preview.out.splitlines() == [
        f"write        {a}  (It was changed.)",
        f"delete       {b}  (It was not there before.)",
    ]
    assert (preview.code, preview.err) == (0, "1 turn would be dropped.\n")
    assert (done.code, done.err) == (0, "Undone; `turnlog redo` takes it back.\n")
    assert [line.split()[:2] for line in done.out.splitlines()] == [
        ["restored", str(a)],
        ["deleted", str(b)],
    ]
    assert "First." in one
    assert "Second." not in one
    assert (back.code, back.err) == (0, "Taken back.\n")
    assert [(line["path"], line["outcome"]) for line in back.lines] == [
        (str(a), "restored"),
        (str(b), "restored"),
    ]
    assert failed(again, "nothing_to_redo")


async def test_undo_of_the_files_or_of_the_conversation_alone(user: User) -> None:
    a = user.cwd / "a.txt"
    async with user.model(*EDITS):
        thread = await edited(user)
        preview = await user.run("undo", thread, "--preview", "--no-files", "--turns", "2")
        assert (await user.run("undo", thread, "--no-files")).code == 0
        assert a.read_text() == "two\n"
        assert "Second." not in (await user.run("history", thread)).out
        assert (await user.run("redo", thread)).code == 0
        kept = await user.run("undo", thread, "--no-conversation")
        assert a.read_text() == "one\n"
        assert "Second." in (await user.run("history", thread)).out
        too_many = await user.run("undo", thread, "--turns", "9")
        no_preview = await user.run("undo", thread, "--turns", "9", "--preview")
        neither = await user.run("undo", thread, "--no-files", "--no-conversation")
    assert (preview.out, preview.err) == ("", "2 turns would be dropped.\n")
    assert kept.code == 0
    for outcome in (too_many, no_preview):
        assert failed(outcome, "nothing_to_undo")
        assert "2 turns can be undone here, not 9" in outcome.err
        assert "fork the session" in outcome.err
    assert (neither.code, neither.out) == (2, "")


async def test_what_somebody_else_changed_stays_unless_forced(user: User) -> None:
    a = user.cwd / "a.txt"
    async with user.model(*EDITS):
        thread = await edited(user)
        a.write_text("mine\n")
        preview = await user.run("undo", thread, "--preview")
        done = await user.run("undo", thread)
        assert a.read_text() == "mine\n"
        assert (await user.run("redo", thread)).code == 0
        forced = await user.run("undo", thread, "--force")
    assert preview.out.startswith(f"conflict     {a}  (It was changed by someone else since.)\n")
    assert done.out.startswith(f"conflict     {a}  (It was changed by someone else since.)\n")
    assert done.err == (
        "Undone; `turnlog redo` takes it back.\nNot restored: 1 file.\nTo replace also what "
        f"somebody else changed: `turnlog redo {thread}`, then this again with --force.\n"
    )
    assert (forced.code, a.read_text()) == (0, "one\n")


# --- changes ----------------------------------------------------------------------------------


async def test_the_changes_of_a_turn_are_a_diff_that_git_applies(user: User) -> None:
    async with user.model(*EDITS, "Nothing."):
        thread = await edited(user)
        first = await user.run("changes", thread, "1")
        last = await user.run("changes", thread[:-1])
        assert (await user.run("exec", "resume", thread, "three")).code == 0
        none = await user.run("changes", thread)
        beyond = await user.run("changes", thread, "7")
    other = user.root / "other"
    other.mkdir()
    for diff in (first, last):
        await trio.run_process(["git", "apply", "-"], cwd=other, stdin=diff.out.encode())
    assert (other / "a.txt").read_text() + (other / "b.txt").read_text() == "two\nb\n"
    assert (none.code, none.out, none.err) == (0, "", "No patch of turn 3 changed anything.\n")
    assert failed(beyond, "turn_not_found")
    assert "has turns 1 to 3" in beyond.err


# --- review -----------------------------------------------------------------------------------

FINDINGS = {
    "findings": [
        {
            "title": "Off by one",
            "body": "It reads too far.",
            "confidence_score": 0.9,
            "priority": 1,
            "code_location": {
                "absolute_file_path": "/work/a.py",
                "line_range": {"start": 3, "end": 4},
            },
        }
    ],
    "overall_correctness": "patch is incorrect",
    "overall_explanation": "It fails on the last line.",
    "overall_confidence_score": 0.8,
}


async def test_a_review_shows_its_findings_and_the_session_hears_of_them(user: User) -> None:
    answer = json.dumps(FINDINGS)
    async with user.model("Done.", answer, answer) as server:
        thread = (await user.run("exec", "--json", "go")).thread
        text = await user.run("review", thread, "Look at the loop.")
        asked_for = json.dumps(server.requests[1].body["input"])
        as_json = await user.run("review", thread, "--json")
        history = (await user.run("history", thread)).out
    assert (text.code, text.err) == (0, "")
    assert text.out == (
        "[P1] Off by one  /work/a.py:3-4\nIt reads too far.\n\n"
        "It fails on the last line.\npatch is incorrect\n"
    )
    assert "Look at the loop." in asked_for
    assert json.loads(as_json.out) == FINDINGS
    assert "Off by one" in history


async def test_a_review_that_fails_says_why(user: User) -> None:
    async with user.model("Done.", Response(status=400, body={"error": {"message": "no way"}})):
        thread = (await user.run("exec", "--json", "go")).thread
        outcome = await user.run("review", thread)
    assert failed(outcome, "bad_request")
    assert "there is no review: " in outcome.err
    assert "no way" in outcome.err


# --- shell ------------------------------------------------------------------------------------


async def test_a_command_of_the_users_is_logged_and_the_model_never_hears_of_it(
    user: User,
) -> None:
    async with user.model("Hello.", "Again.") as server:
        thread = (await user.run("exec", "--json", "go")).thread
        good = await user.run("shell", thread, "pwd; echo to stderr >&2")
        bad = await user.run("shell", thread, "echo secret-word; exit 7")
        killed = await user.run("shell", thread, "kill -9 $$")
        empty = await user.run("shell", thread, "  ")
        history = (await user.run("history", thread)).out
        shown = (await user.run("show", thread)).out
        assert (await user.run("exec", "resume", thread, "and?")).code == 0
        sent = json.dumps(server.requests[-1].body)
    assert (good.code, good.err) == (0, "")
    assert good.out == f"{user.cwd}\nto stderr\n"
    assert (bad.code, bad.out) == (7, "secret-word\n")
    assert (killed.code, killed.out) == (137, "")
    assert failed(empty, "empty_input")
    assert "secret-word" not in history
    assert "secret-word" in shown
    assert "secret-word" not in sent


# --- lines ------------------------------------------------------------------------------------


async def test_each_event_of_such_work_is_one_readable_line(user: User) -> None:
    summary = Response(items=[message("SUMMARY")], compaction=True)
    async with user.model(*EDITS, summary, json.dumps(FINDINGS)):
        thread = await edited(user)
        for words in (("shell", "true"), ("undo",), ("redo",), ("compact",), ("review",)):
            assert (await user.run(words[0], thread, *words[1:])).code == 0
        for words in (("name", "mine"), ("archive",)):
            assert (await user.run(words[0], thread, *words[1:])).code == 0
        events = await user.show(thread)
        shown = (await user.run("show", thread)).out.splitlines()
    shown = [line for line in shown if not re.fullmatch(r"\d{4}-\d\d-\d\d", line)]  # its days
    assert len(shown) == len(events)
    told: dict[str, str] = {}
    for line, event in zip(shown, events, strict=True):
        kind = event["kind"]
        told[kind] = line.split(kind, 1)[1].strip()
        assert kind.startswith("model") or "{" not in told[kind], line
    for kind in (
        "files_saved",
        "user_shell_asked",
        "undo_asked",
        "turns_restored",
        "turns_dropped",
        "compaction_asked",
        "compacted",
        "child_asked",
        "child_ended",
    ):
        assert told[kind], kind
    assert told["child_ended"].endswith(" completed: Off by one (patch is incorrect)")
    assert "op_received         set_name mine" in "\n".join(shown)
