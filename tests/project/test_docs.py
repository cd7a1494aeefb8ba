"""What the documentation shows is run, and prints what it is said to print."""

import ast
import os
import re
import subprocess
import sys
from importlib import import_module
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


PUBLIC = ("turnlog", "turnlog.events", "turnlog.ops", "turnlog.testing")


def blocks() -> list[str]:
    """Return every piece of Python that README and the pages show."""
    pages = [ROOT / "README.md", ROOT / "docs/testing-agents.md"]
    for kind in ("tutorial", "how-to", "topics"):
        pages += (ROOT / "docs" / kind).glob("*.md")
    shown = [
        block
        for page in pages
        for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    ]
    return shown + [path.read_text() for path in (ROOT / "docs/examples").glob("*.py")]


def names_used(code: str) -> set[tuple[str, str]]:
    """Return each module of turnlog that a program names, with the name that it takes of it."""
    used: set[tuple[str, str]] = set()
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.ImportFrom(module=str(module), names=names):
                used |= {(module, one.name) for one in names}
            case ast.Import(names=names):
                used |= {(one.name, "__name__") for one in names}
            case ast.Attribute(value=ast.Name(id="turnlog"), attr=name):
                used.add(("turnlog", name))
            case _:
                pass
    return {(module, name) for module, name in used if module.partition(".")[0] == "turnlog"}


def test_examples_use_public_names_only() -> None:
    offered = {(module, name) for module in PUBLIC for name in import_module(module).__all__}
    offered |= {(module, "__name__") for module in PUBLIC}
    used = set[tuple[str, str]]().union(*map(names_used, blocks()))
    assert used - offered == set()
    assert {module for module, _ in used} == set(PUBLIC)
