"""What the documentation shows is run, and prints what it is said to print."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
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
    assert lines[-2:] == ["17 decision turn_ended", "7 parts, and 7 in the branch"]


def test_a_question_is_answered(tmp_path: Path) -> None:
    lines = run_python(ROOT / "docs/examples/answer_a_question.py", tmp_path)
    assert lines == ["asked: To show a question.", "it printed: outside"]


def test_a_recorded_session_is_replayed_offline(tmp_path: Path) -> None:
    lines = run_python(ROOT / "docs/examples/replay_offline.py", tmp_path)
    assert lines == ["13 events, 0 differences"]


def test_the_readme_s_lines_of_python_run(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / "readme.py").write_text(code)
    lines = run_python(tmp_path / "readme.py", tmp_path)
    assert lines == ["turn_opened, tool_dispatched, turn_ended", "no difference in 19 events"]
