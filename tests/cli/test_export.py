"""`turnlog export`: each form, to stdout, to a file and to a folder."""

import json
import os
from pathlib import Path

import pytest
import trio

from tests.cli.harness import User
from tests.replay.rollouts import kit

SESSION = "01a1fead-a762-7803-a037-d639367c21a2"  # of recorded_rollouts/session.jsonl
FORMS = ("turnlog", "codex", "markdown", "html")


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> User:
    """Return a user who has imported a session."""
    user = User(tmp_path_factory.mktemp("export"))
    user.home.mkdir()
    user.cwd.mkdir()
    assert trio.run(user.run, "import", str(kit.named("session"))).code == 0
    return user


async def test_the_portable_form_goes_to_stdout_if_nothing_is_said(user: User) -> None:
    done = await user.run("export", SESSION[:13])
    assert (done.code, done.err) == (0, "")
    assert done.lines[0]["session"] == SESSION
    assert len(done.lines) == 1 + len(await user.show(SESSION))


@pytest.mark.parametrize("form", FORMS)
async def test_equal_sessions_are_equal_files(user: User, form: str, tmp_path: Path) -> None:
    path = tmp_path / "out" / "file"
    first = await user.run("export", SESSION, "--format", form)
    second = await user.run("export", SESSION, "--format", form, "-o", str(path))
    assert (first.code, second.code, second.out) == (0, 0, "")
    assert second.err == f"Wrote {path}.\n"
    assert path.read_text() == first.out
    assert os.listdir(path.parent) == ["file"]
    assert "make a file" in first.out


async def test_a_folder_gets_a_file_of_the_usual_name(user: User, tmp_path: Path) -> None:
    for form in FORMS:
        await user.run("export", SESSION, "--format", form, "-o", str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == [
        f"{SESSION}.html",
        f"{SESSION}.md",
        f"{SESSION}.turnlog",
        f"rollout-2026-11-21T15-15-55-{SESSION}.jsonl",
    ]


async def test_codexs_own_folder_gets_one_for_the_day(user: User, tmp_path: Path) -> None:
    sessions = tmp_path / "sessions"
    sessions.mkdir()
    await user.run("export", SESSION, "--format", "codex", "-o", str(sessions))
    [path] = sessions.rglob("*.jsonl")
    assert path.parent == sessions / "2026/11/21"


@pytest.mark.parametrize("form", FORMS)
async def test_what_a_pattern_matches_is_in_no_form(user: User, form: str) -> None:
    words = ("--redact", "h[e]llo", "--redact", "make a \\w+")
    done = await user.run("export", SESSION, "--format", form, *words)
    assert done.code == 0
    assert "hello" not in done.out
    assert "make a file" not in done.out
    assert "[redacted-1]" in done.out.replace("\\", "")


async def test_a_rollout_is_lines_of_json(user: User) -> None:
    done = await user.run("export", SESSION, "--format", "codex")
    assert [line["ordinal"] for line in done.lines] == list(range(len(done.lines)))
    assert done.lines[0]["type"] == "session_meta"
    assert json.dumps(done.lines[0]["payload"]).count(SESSION) == 2


async def test_what_cannot_be_done_is_said_with_its_code(user: User, tmp_path: Path) -> None:
    gone = await user.run("export", "ffff")
    assert (gone.code, gone.out) == (1, "")
    assert gone.err.endswith("[session_not_found]\n")
    (tmp_path / "file").touch()
    blocked = await user.run("export", SESSION, "-o", str(tmp_path / "file" / "below"))
    assert blocked.code == 1
    assert blocked.err.endswith("[output_unwritable]\n")
    wrong = await user.run("export", SESSION, "--redact", "(")
    assert wrong.code == 2
    assert "is no regular expression" in wrong.err
    unset = await user.run("export", SESSION, "--redact", "")
    assert (unset.code, unset.out) == (2, "")
    assert "would take nothing out" in unset.err
