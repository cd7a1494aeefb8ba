"""The launcher as a program: what it refuses, how it ends, and that it leaves nothing running."""

import subprocess
import sys

import pytest

from turnlog.runtime.processes.launch import PROGRAM


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no command was given after --"),
        (["--write", "/tmp"], "no command was given after --"),
        (["--wriet", "/tmp", "--", "true"], "'--wriet' is not an option of the launcher"),
    ],
)
def test_a_launcher_that_cannot_confine_does_not_run_the_command(
    arguments: list[str], said: str
) -> None:
    command = [sys.executable, "-I", "-S", PROGRAM, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (125, "")
    assert ended.stderr.startswith("turnlog: the command was not run: ")
    assert said in ended.stderr
