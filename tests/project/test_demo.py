"""The demo does what it promises wherever it runs, and leaves nothing on the machine.

A run takes seconds. `tests.surroundings`, which CI runs, has one for each sandbox.
"""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

DEMO = (sys.executable, "-m", "turnlog", "demo")
WITHOUT = (sys.executable, "-m", "tests.surroundings.without")
ROOT = Path(__file__).parents[2]
# A session that ends at once, so that nothing of what the demo waits for comes.
OTHER_STORY = """
import sys
from turnlog.frontends.cli import main
from turnlog.frontends.demo import story
from turnlog.runtime.scripted_model.script import Failure, Response, Script

story.script = lambda: Script.of({response})
sys.exit(main())
"""


def run_demo(
    argv: Sequence[str], folder: Path, more: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    environ = {"HOME": str(folder), "PATH": os.environ["PATH"], "TMPDIR": str(folder)}
    environ |= {"PYTHONPATH": str(ROOT), **(more or {})}
    return subprocess.run(
        argv, env=environ, capture_output=True, encoding="utf-8", timeout=240, check=False
    )


def check_shown(done: "subprocess.CompletedProcess[str]", folder: Path) -> None:
    assert (done.returncode, done.stderr) == (0, "")
    assert re.findall(r"^ (\d)  ", done.stdout, re.MULTILINE) == ["1", "2", "3", "4", "5", "6"]
    assert done.stdout.count("; 0 differences") == 2
    assert "call_0004 stopped: aborted: this was" in done.stdout
    assert list(folder.iterdir()) == []


def test_without_any_sandbox_the_demo_says_so_and_holds_what_it_says(tmp_path: Path) -> None:
    done = run_demo((*WITHOUT, "landlock", "namespaces", "--", *DEMO), tmp_path)
    check_shown(done, tmp_path)
    assert "Commands run WITHOUT a sandbox" in done.stdout


def test_the_demo_shows_every_chapter_whatever_the_person_has_set(tmp_path: Path) -> None:
    theirs = {
        "COLUMNS": "80",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "SSL_CERT_FILE": "/gone",
        "TURNLOG_MODEL": "another",
        "TURNLOG_HOME": str(tmp_path / "theirs"),
    }
    done = run_demo(DEMO, tmp_path, theirs)
    check_shown(done, tmp_path)
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        ('"Nothing to do."', "the session ended before it could be killed:\nexit code 0"),
        (
            'Response(failed=Failure(code="invalid_prompt", message="a" + " long" * 60))',
            "a" + " long" * 60,
        ),
    ],
    ids=["another answer", "an error"],
)
def test_a_demo_that_fails_ends_with_its_session_and_says_why_in_full(
    response: str, reason: str, tmp_path: Path
) -> None:
    program = OTHER_STORY.format(response=response)
    done = run_demo((sys.executable, "-c", program, "demo"), tmp_path)
    assert done.returncode == 1
    assert reason in done.stderr
    assert done.stderr.rstrip().endswith("[demo_failed]")
    assert "bug in turnlog" not in done.stderr
    assert list(tmp_path.iterdir()) == []
