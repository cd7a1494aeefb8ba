"""Reading at a terminal: its width, the pager, dates, and one text whole."""

import re

import pytest
import trio

from tests.cli.harness import User, in_thread
from tests.cli.terminal import in_a_terminal
from turnlog.runtime.scripted_model.script import call

LONG = "word " * 60
MARKS = {"PAGER": "sed s/^/P:/", "NO_COLOR": "1"}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[User, str]:
    """Return a user with one session, whose command printed 30 long lines."""
    user = User(tmp_path_factory.mktemp("pager"))
    user.home.mkdir()
    user.cwd.mkdir()

    async def run() -> str:
        command = {"cmd": f"for i in $(seq 30); do echo $i {LONG}; done", "login": False}
        async with user.model([call("exec_command", command)], f"Done. {LONG}"):
            return (await user.run("exec", "--json", f"Go. {LONG}")).thread

    return user, trio.run(run)


async def shown(user: User, *words: str, **env: str) -> tuple[int, list[str]]:
    """Return the exit code and the lines of a command on a terminal."""
    code, text = await in_thread(lambda: in_a_terminal(user, *words, env=env))
    return code, text.splitlines()


@pytest.mark.parametrize("words", [("sessions",), ("show",), ("history",), ("tree",), ("config",)])
async def test_lists_go_through_the_pager_on_a_terminal(
    told: tuple[User, str], words: tuple[str, ...]
) -> None:
    user, thread = told
    asked = (*words, thread) if words[0] in ("show", "history") else words
    code, lines = await shown(user, *asked, **MARKS)
    assert (code, {line[:2] for line in lines}) == (0, {"P:"})
    plain = (await user.run(*asked, "--no-pager", env=MARKS)).out
    code, lines = await shown(user, *asked, "--no-pager", **MARKS)
    assert (code, len(lines)) == (0, len(plain.splitlines()))
    assert "P:" not in {line[:2] for line in lines}


@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {"PAGER": ""}, {"PAGER": "cat"}])
async def test_a_pager_can_be_done_without(told: tuple[User, str], env: dict[str, str]) -> None:
    code, lines = await shown(told[0], "sessions", **{**MARKS, **env})
    assert (code, lines[0][:2]) == (0, "ID")


async def test_colours_reach_the_pager_and_nothing_else_that_is_obeyed(
    told: tuple[User, str],
) -> None:
    _, lines = await shown(told[0], "sessions", PAGER="sed s/^/P:/")
    assert lines[0].startswith("P:\x1b[1mID")
    _, plain = await shown(told[0], "sessions", **MARKS)
    assert not any("\x1b" in line for line in plain)


async def test_a_reader_who_leaves_early_is_no_error(told: tuple[User, str]) -> None:
    user, thread = told
    code, lines = await shown(user, "show", thread, PAGER="head -n 1", NO_COLOR="1")
    assert (code, len(lines)) == (0, 1)


async def test_an_error_is_told_after_the_pager(told: tuple[User, str]) -> None:
    code, lines = await shown(told[0], "show", "nothing", **MARKS)
    assert code == 1
    assert lines[-1].endswith("[session_not_found]")


@pytest.mark.parametrize("width", [60, 90, 200])
async def test_lines_fit_the_terminal(told: tuple[User, str], width: int) -> None:
    user, thread = told
    for words in (("sessions",), ("show", thread), ("history", thread)):
        _, lines = await shown(user, *words, PAGER="cat", NO_COLOR="1", COLUMNS=str(width))
        assert max(len(line) for line in lines) <= width, words
    _, lines = await shown(user, "sessions", PAGER="cat", NO_COLOR="1", COLUMNS=str(width))
    assert lines[1].endswith("…") is (width < 200)


async def test_the_timeline_says_each_day_once(told: tuple[User, str]) -> None:
    user, thread = told
    out = (await user.run("show", thread)).out
    assert len(re.findall(r"^\d{4}-\d\d-\d\d$", out, re.MULTILINE)) == 1
    assert re.match(r"\d{4}-\d\d-\d\d\n\d\d:\d\d:\d\d\.\d{3}     1 ● session_started", out)


async def test_a_text_is_read_whole_by_its_number(told: tuple[User, str]) -> None:
    user, thread = told
    events = {event["kind"]: event["sequence"] for event in await user.show(thread)}
    output = await user.run("show", thread, "--at", str(events["tool_finished"]), "--full")
    assert output.out.endswith(f"30 {LONG.rstrip()}\n")
    assert output.out.count("\n") >= 30
    item = await user.run("show", thread, "--at", str(events["model_item_received"]), "--full")
    assert item.out == f"assistant: Done. {LONG}\n"
    wrong = await user.run("show", thread, "--full")
    assert (wrong.code, "--full goes with --at SEQ" in wrong.err) == (2, True)
    beyond = await user.run("show", thread, "--at", "999", "--full")
    assert (beyond.code, beyond.err.endswith("[sequence_out_of_range]\n")) == (1, True)
