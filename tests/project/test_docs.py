"""What the documentation shows is run, and prints what it is said to print."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def run_python(source: Path, cwd: Path) -> list[str]:
    environ = {"HOME": str(cwd), "PATH": os.environ["PATH"]}
    argv = [sys.executable, str(source)]
    done = subprocess.run(argv, cwd=cwd, env=environ, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.decode()) == (0, "")
    return done.stdout.decode().splitlines()


def test_the_first_session_runs_and_branches(tmp_path: Path) -> None:
    lines = run_python(ROOT / "docs/examples/first_session.py", tmp_path)
    assert lines[0] == "3 fact op_received"
    assert lines[-2:] == ["17 decision turn_ended", "7 parts, and 9 in the branch"]


def test_a_question_is_answered(tmp_path: Path) -> None:
    lines = run_python(ROOT / "docs/examples/answer_a_question.py", tmp_path)
    assert lines == ["asked: To show a question.", "it printed: outside"]


def test_a_recorded_session_is_replayed_offline(tmp_path: Path) -> None:
    lines = run_python(ROOT / "docs/examples/replay_offline.py", tmp_path)
    assert lines == ["13 events, 0 differences"]


def test_the_readme_s_lines_of_python_run(tmp_path: Path) -> None:
    printed: list[list[str]] = []
    for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        (tmp_path / "readme.py").write_text(code)
        printed.append(run_python(tmp_path / "readme.py", tmp_path))
    tool, idea = printed
    assert [line.partition(" ")[2] for line in tool if "tool" in line] == [
        "tool_dispatched",
        "tool_started",
        "tool_finished",
    ]
    assert idea == ["turn_opened, tool_dispatched, turn_ended", "no difference in 19 events"]


def test_examples_use_public_names_only() -> None:
    pages = [ROOT / "README.md", ROOT / "docs/testing-agents.md"]
    for kind in ("tutorial", "how-to", "topics"):
        pages += (ROOT / "docs" / kind).glob("*.md")
    code = "\n".join(
        block
        for page in pages
        for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    )
    code += "\n".join(path.read_text() for path in (ROOT / "docs/examples").glob("*.py"))
    modules = set(re.findall(r"^\s*(?:from|import) (turnlog[\w.]*)", code, re.MULTILINE))
    assert modules == {"turnlog", "turnlog.events", "turnlog.ops", "turnlog.testing"}
