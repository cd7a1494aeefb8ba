"""The demo holds what it says, and leaves nothing behind."""

import os
import re
import subprocess
import sys
from pathlib import Path


def test_the_demo_shows_every_chapter_and_finds_no_difference(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)}
    argv = [sys.executable, "-m", "turnlog", "demo"]
    done = subprocess.run(argv, env=environ, capture_output=True, timeout=120, check=False)
    shown = done.stdout.decode()
    assert (done.returncode, done.stderr.decode()) == (0, "")
    assert re.findall(r"^ (\d)  ", shown, re.MULTILINE) == ["1", "2", "3", "4", "5", "6"]
    assert shown.count("; 0 differences, digest ") == 2
    assert "call_0004 stopped: aborted: this was stopped while it was running" in shown
    assert list(tmp_path.iterdir()) == []
